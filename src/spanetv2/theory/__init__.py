"""Graph spectral analysis of token mixers. numpy in float64; nothing else of the package.

``grid`` has the graph and its Fourier basis, ``convolution``, ``attention`` and ``spam`` the
operators, ``response`` their measurement, ``laws`` the closed forms, ``ensembles`` the random
mixers and ``study`` the whole argument. docs/spectral_analysis.md teaches the ideas.
"""

from spanetv2.theory.attention import attention, attention_response, check_stochastic
from spanetv2.theory.convolution import convolution, convolution_response, residual, window_graph
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import (
    FrequencyResponse,
    frequency_response,
    frequency_response_of,
    radial_profile,
)
from spanetv2.theory.spam import spam_head, spam_head_response, srf

__all__ = [
    "FrequencyResponse",
    "Grid",
    "attention",
    "attention_response",
    "check_stochastic",
    "convolution",
    "convolution_response",
    "frequency_response",
    "frequency_response_of",
    "radial_profile",
    "residual",
    "spam_head",
    "spam_head_response",
    "srf",
    "window_graph",
]
