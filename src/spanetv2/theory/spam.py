"""SPAM's parts as operators: the spectral re-scaling filter (SRF), a head, and the modulation.

The SRF multiplies the half spectrum of a field by a gate in (0, 1) and transforms back. As the
inverse transform of real fields reads only the real part on the columns that are their own mirror
image (frequency 0 and, for even W, W / 2), the gain there is the mean of the gate at rows p and -p.
So it is an exact graph filter on the torus: real, even, of zero phase.

Shapes: H x W the grid, N = H W tokens, K = W // 2 + 1 columns of the half spectrum.
"""

import numpy as np
from numpy.typing import ArrayLike

from spanetv2.theory.convolution import (
    convolution,
    convolution_response,
    convolve,
)
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import FrequencyResponse, frequency_response_of

__all__ = [
    "gate",
    "modulation",
    "rescale",
    "spam_head",
    "spam_head_response",
    "srf",
    "srf_freedom",
    "srf_gain",
]


def gate(theta: ArrayLike, alpha: float = 1.0) -> np.ndarray:
    """The gate sigmoid(alpha theta). Between theta = a and -a it makes a contrast of exp(a)."""
    return 1 / (1 + np.exp(-alpha * np.asarray(theta, dtype=np.float64)))


def srf_gain(gate_HK: np.ndarray, grid: Grid) -> np.ndarray:
    """The gain that a gate on the half spectrum really has on every wave, (H, W), zero first.

    Raises:
        ValueError: the gate's shape is not (H, W // 2 + 1).

    Example: a gate that differs between p and -p on the zero column acts by its mean.
        >>> gate_HK = np.zeros((3, 2))
        >>> gate_HK[1, 0] = 1.0
        >>> srf_gain(gate_HK, Grid(3, 3))[:, 0].tolist()
        [0.0, 0.5, 0.5]
    """
    height, width = grid.shape
    half = width // 2 + 1
    if gate_HK.shape != (height, half):
        raise ValueError(
            f"got a gate of shape {gate_HK.shape}, expected {(height, half)} for a grid of "
            f"{height}x{width} tokens"
        )
    mirror = -np.arange(height) % height
    gain = np.empty((height, width))
    gain[:, :half] = gate_HK
    gain[:, half:] = gate_HK[mirror][:, width - np.arange(half, width)]
    for column in {0, width // 2} if width % 2 == 0 else {0}:
        gain[:, column] = (gate_HK[:, column] + gate_HK[mirror, column]) / 2
    return gain


def srf_freedom(grid: Grid) -> int:
    """How many of the gate's H (W // 2 + 1) values act independently.

    Example:
        >>> srf_freedom(Grid(14, 14)), 14 * 8
        (100, 112)
    """
    height, width = grid.shape
    own = {0, width // 2} if width % 2 == 0 else {0}
    return height * (width // 2 + 1 - len(own)) + len(own) * (height // 2 + 1)


def rescale(fields_MHW: np.ndarray, gate_HK: np.ndarray, grid: Grid) -> np.ndarray:
    """Apply the filter to real fields as the network does: irfft2(rfft2(x) * gate). (M, H, W)."""
    srf_gain(gate_HK, grid)  # refuses a gate of another grid
    return np.fft.irfft2(np.fft.rfft2(fields_MHW) * gate_HK, s=grid.shape)


def srf(gate_HK: np.ndarray, grid: Grid) -> np.ndarray:
    """The filter as a matrix, (N, N): real and symmetric."""
    basis = Grid(*grid.shape).fourier_basis()
    return np.real((basis * srf_gain(gate_HK, grid).ravel()) @ basis.conj().T)


def spam_head(kernel: ArrayLike, gate_HK: np.ndarray, grid: Grid) -> np.ndarray:
    """One channel of a SPAM head as a matrix, (N, N): the filter after the convolution.

    The network pads with zeros: that is a grid with a free boundary. The filter is circular in
    either case.
    """
    return srf(gate_HK, grid) @ convolution(kernel, grid)


def spam_head_response(kernel: ArrayLike, gate_HK: np.ndarray, grid: Grid) -> FrequencyResponse:
    """Response of a SPAM head without its matrix.

    On the torus it is the product H(w) = g(w) h(w) of the filter's gain and the kernel's profile.
    """
    if grid.boundary == "torus":
        phi = srf_gain(gate_HK, grid) * convolution_response(kernel, grid).phi
        return FrequencyResponse(grid=grid, phi=phi, gain=np.abs(phi))
    return frequency_response_of(
        lambda fields: rescale(convolve(fields, kernel, grid), gate_HK, grid), grid
    )


def modulation(query_HW: np.ndarray, C: np.ndarray) -> np.ndarray:
    """Multiply the mixed tokens by a query: diag(q) C, (N, N).

    For a convolution C on the torus: g^2 = mean(q^2) |H|^2, phi = mean(q) H, and the leakage is
    var(q) / mean(q^2).
    """
    return query_HW.reshape(-1, 1) * C
