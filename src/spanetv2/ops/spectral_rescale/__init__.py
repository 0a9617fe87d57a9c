"""Spectral re-scaling (SRF): a learnable, zero-phase filter of maps in the Fourier domain."""

from spanetv2.ops.spectral_rescale.channels_first import spectral_rescale_channels_first
from spanetv2.ops.spectral_rescale.choice import (
    prefer_products,
    prefer_products_on_gpu,
    spectral_rescale_on_gpu,
)
from spanetv2.ops.spectral_rescale.hartley import (
    hartley_gain,
    keep_grid,
    prefer_hartley,
    spectral_rescale_hartley,
)
from spanetv2.ops.spectral_rescale.products import fourier_bases, spectral_rescale_products
from spanetv2.ops.spectral_rescale.reference import (
    half_spectrum,
    resize_theta,
    spectral_gain,
    spectral_rescale,
)

__all__ = [
    "fourier_bases",
    "half_spectrum",
    "hartley_gain",
    "keep_grid",
    "prefer_hartley",
    "prefer_products",
    "prefer_products_on_gpu",
    "resize_theta",
    "spectral_gain",
    "spectral_rescale",
    "spectral_rescale_channels_first",
    "spectral_rescale_hartley",
    "spectral_rescale_on_gpu",
    "spectral_rescale_products",
]
