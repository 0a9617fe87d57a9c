"""Spectral re-scaling as its definition reads: FFT, multiply by a gate in (0, 1), inverse FFT.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1 the columns of the
real FFT's half spectrum. Entry (p, q) of a spectrum is the frequency 2 pi (p / H, q / W) in radians
per token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["half_spectrum", "resize_theta", "spectral_gain", "spectral_rescale"]


def half_spectrum(grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the half spectrum of a grid: (H, W // 2 + 1).

    Example:
        >>> half_spectrum((56, 56))
        (56, 29)
    """
    return grid[0], grid[1] // 2 + 1


def resize_theta(theta_CHK: Tensor, height: int, width: int) -> Tensor:
    """Resize the filter's parameters to the half spectrum of another grid.

    Bicubic, corners aligned, as the published checkpoints expect; nothing happens on the grid that
    the parameters were made for.

    Args:
        theta_CHK: parameters before the gate, (C, H0, K0), any floating dtype.
        height: rows H of the wanted grid, in tokens.
        width: columns W of the wanted grid, in tokens.

    Returns:
        float32 tensor (C, H, W // 2 + 1).

    Source: SPANetV2, spectral re-scaling on inputs of another size.
    """
    theta_CHK = theta_CHK.float()
    columns = width // 2 + 1
    if not torch.jit.is_scripting() and not isinstance(height, int):
        return _resize_symbolic(theta_CHK, height, columns)
    if theta_CHK.shape[1] == height and theta_CHK.shape[2] == columns:
        return theta_CHK
    return F.interpolate(
        theta_CHK[None], size=[height, columns], mode="bicubic", align_corners=True
    )[0]


@torch.jit.unused
def _resize_symbolic(theta_CHK: Tensor, height: int, columns: int) -> Tensor:
    """The same resizing as two matrix products, for a graph of any size.

    ``interpolate`` compares the sizes, which would tie an exported graph to the sizes it saw.
    """
    rows_HP = _cubic_weights(theta_CHK.shape[1], height, theta_CHK.device)
    columns_KQ = _cubic_weights(theta_CHK.shape[2], columns, theta_CHK.device)
    # products of two dimensions, the only ones that OpenVINO 2026.4 computes of open sizes
    channels, before, _ = theta_CHK.shape
    wide = torch.matmul(theta_CHK.flatten(0, 1), columns_KQ.t()).unflatten(0, (channels, before))
    wide_CKP = wide.transpose(1, 2)
    tall = torch.matmul(wide_CKP.flatten(0, 1), rows_HP.t())
    return tall.unflatten(0, (channels, columns)).transpose(1, 2)


def _cubic_weights(source: int, target: int, device: torch.device) -> Tensor:
    """Weights (target, source) of cubic convolution (Keys, a = -3/4), corners aligned."""
    place = torch.arange(target, device=device, dtype=torch.float32)
    place = place * (source - 1) / place[-1:].clamp_min(1)
    left = torch.floor(place)
    t = place - left
    a = -0.75
    taps = (
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
        ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
    )
    index = torch.arange(source, device=device)
    total = torch.zeros_like(place)[:, None] * index
    for offset, weight in enumerate(taps):
        tap = (left.long() + (offset - 1)).clamp(0, source - 1)
        total = total + (tap[:, None] == index) * weight[:, None]
    return total


def spectral_gain(
    theta_CHK: Tensor, height: int, width: int, alpha: Tensor | None = None
) -> Tensor:
    """The filter's gain g(theta) in (0, 1) on a grid.

    ``g = sigmoid(theta)``, or the scaled sigmoid ``sigmoid(alpha * theta)`` if ``alpha`` is given.

    Args:
        theta_CHK: parameters, (C, H0, K0).
        height: rows H of the grid, in tokens.
        width: columns W of the grid, in tokens.
        alpha: slope of the scaled sigmoid, one value of shape (1,).

    Returns:
        float32 tensor (C, H, W // 2 + 1).

    Source: SPANetV2, the SRF's gate (sigmoid: March 2025; scaled sigmoid: November 2025).
    """
    theta_CHK = resize_theta(theta_CHK, height, width)
    if alpha is not None:
        theta_CHK = alpha.float() * theta_CHK
    return torch.sigmoid(theta_CHK)


def spectral_rescale(x_BCHW: Tensor, gain_CHK: Tensor) -> Tensor:
    """Multiply each channel's spectrum by a real gain: ``irfft2(rfft2(x) * gain)``.

    The transforms are orthonormal and run in float32 whatever the dtype of ``x``: half-precision
    FFTs do not exist on CPUs, and on GPUs only for powers of two. As the inverse transform reads
    only the real part on the self-conjugate columns (0, and W / 2 for even W), the effective gain
    there is the mean of the gains at rows p and -p.

    Args:
        x_BCHW: feature maps, (B, C, H, W), any floating dtype and memory layout.
        gain_CHK: gain per channel and frequency, (C, H, W // 2 + 1), float32.

    Returns:
        Tensor (B, C, H, W) in the dtype of ``x``.

    Example:
        >>> x = torch.arange(12.0).reshape(1, 1, 3, 4)
        >>> half = torch.full((1, 3, 3), 0.5)
        >>> bool(torch.allclose(spectral_rescale(x, half), x / 2, atol=1e-5))
        True

    Source: SPANetV2, spectral re-scaling filter.
    """
    spectrum_BCHK = torch.fft.rfft2(x_BCHW.float(), norm="ortho")
    size = [x_BCHW.shape[2], x_BCHW.shape[3]]
    y_BCHW = torch.fft.irfft2(spectrum_BCHK * gain_CHK, s=size, norm="ortho")
    return y_BCHW.to(x_BCHW.dtype)
