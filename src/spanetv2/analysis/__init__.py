"""The questions of the theory asked of trained models: SPANetV2 and any timm model."""
