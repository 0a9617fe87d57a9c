"""The auxiliary head: a second, shallow opinion that only training uses."""

from collections.abc import Sequence

from torch import Tensor, nn

from spanetv2.tasks.segmentation.heads.layers import ConvNormReLU, PixelClassifier

__all__ = ["AuxiliaryHead"]


class AuxiliaryHead(nn.Module):
    """3 x 3 convolution, batch norm and ReLU on one map of the backbone, then the classes.

    Args:
        channels: of the backbone's maps, finest first.
        num_classes: classes K.
        width: channels of the convolution.
        stage: the map it looks at, counted from 0; the paper's is the third.
        dropout: probability that a channel is left out.

    Source: SPANetV2's UPerNet configuration; the FCN head of Long et al., arXiv:1411.4038.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        *,
        width: int = 256,
        stage: int = -2,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.stage = stage
        self.conv = ConvNormReLU(channels[stage], width, 3)
        self.classifier = PixelClassifier(width, num_classes, dropout=dropout)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The backbone's maps (B, C, H, W), to scores (B, K, H, W) at the stage's size."""
        return self.classifier(self.conv(maps[self.stage]))
