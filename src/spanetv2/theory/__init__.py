"""Graph spectral analysis of token mixers. numpy in float64; nothing else of the package.

``grid`` has the graph and its Fourier basis, ``convolution``, ``attention`` and ``spam`` the
operators, ``response`` their measurement, ``laws`` the closed forms, ``ensembles`` the random
mixers and ``study`` the whole argument. docs/spectral_analysis.md teaches the ideas.
"""

from spanetv2.theory.grid import Grid
from spanetv2.theory.response import (
    FrequencyResponse,
    frequency_response,
    frequency_response_of,
    radial_profile,
)

__all__ = [
    "FrequencyResponse",
    "Grid",
    "frequency_response",
    "frequency_response_of",
    "radial_profile",
]
