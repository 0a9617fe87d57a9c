"""Token mixers: modules that exchange information between the tokens of a grid."""

from spanetv2.mixers.attention import Attention
from spanetv2.mixers.channels_first import ChannelsFirst
from spanetv2.mixers.dynamic_filter import DynamicFilter
from spanetv2.mixers.local import LocalMixing
from spanetv2.mixers.spam import SPAM
from spanetv2.mixers.spectral import SpectralRescale
from spanetv2.mixers.table import MIXERS, Mixer, WrittenMixer, read_mixers

__all__ = [
    "MIXERS",
    "SPAM",
    "Attention",
    "ChannelsFirst",
    "DynamicFilter",
    "LocalMixing",
    "Mixer",
    "SpectralRescale",
    "WrittenMixer",
    "read_mixers",
]
