"""The SPANetV2 backbone, its variants, and their weights. Importing it registers them with timm."""

from spanetv2.models.backbone import SPANetV2
from spanetv2.models.factory import create_model, load_model
from spanetv2.models.implementation import set_form, set_implementation
from spanetv2.models.variants import VARIANTS, Variant

__all__ = [
    "VARIANTS",
    "SPANetV2",
    "Variant",
    "create_model",
    "load_model",
    "set_form",
    "set_implementation",
]
