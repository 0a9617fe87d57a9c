"""Spectral re-scaling (SRF): a learnable, zero-phase filter of maps in the Fourier domain."""

from spanetv2.ops.spectral_rescale.reference import (
    half_spectrum,
    resize_theta,
    spectral_gain,
    spectral_rescale,
)

__all__ = ["half_spectrum", "resize_theta", "spectral_gain", "spectral_rescale"]
