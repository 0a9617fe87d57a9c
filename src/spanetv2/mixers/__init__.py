"""Token mixers: modules that exchange information between the tokens of a grid."""

from spanetv2.mixers.attention import Attention
from spanetv2.mixers.channels_first import ChannelsFirst, pooling, separable_convolution
from spanetv2.mixers.local import LocalMixing
from spanetv2.mixers.spam import SPAM
from spanetv2.mixers.spectral import SpectralRescale

__all__ = [
    "SPAM",
    "Attention",
    "ChannelsFirst",
    "LocalMixing",
    "SpectralRescale",
    "pooling",
    "separable_convolution",
]
