"""Building blocks that are not token mixers."""

from spanetv2.layers.activation import SquaredReLU, StarReLU
from spanetv2.layers.downsampling import Downsampling, Stem, conv_output_size
from spanetv2.layers.head import ClassifierHead
from spanetv2.layers.mlp import Mlp
from spanetv2.layers.residual import ResidualScale

__all__ = [
    "ClassifierHead",
    "Downsampling",
    "Mlp",
    "ResidualScale",
    "SquaredReLU",
    "StarReLU",
    "Stem",
    "conv_output_size",
]
