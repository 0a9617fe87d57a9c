"""What token mixers must do, in closed form: the laws that the simulations are held against.

Frequencies are in radians per token. k is the side of a window and M = k^2 its tokens, B_k(w) the
response of its mean, N the tokens of the grid, tau the standard deviation of attention's logits,
M_eff = N / ||C||^2 the effective connectivity, and S = 1 / M_eff the mean over rows of the sum of
their squared weights. docs/spectral_analysis.md says where the laws come from.
"""

import numpy as np
from numpy.typing import ArrayLike

from spanetv2.theory.convolution import kernel_offsets
from spanetv2.theory.grid import Grid, frequencies

__all__ = [
    "box_cutoff",
    "box_response",
    "centroid_spread",
    "complement_centroid",
    "correlated_power",
    "dc_to_nyquist",
    "default_variance",
    "global_connectivity",
    "global_gain",
    "head_power_shares",
    "mean_power_without_dc",
    "padded_box_dc",
    "padded_profile",
    "random_kernel_power",
    "softmax_leakage",
    "softmax_power",
    "window_centroid",
]


def box_response(k: int, wy: ArrayLike, wx: ArrayLike) -> np.ndarray:
    """B_k(w) = D(wy) D(wx) with D(w) = sin(k w / 2) / (k sin(w / 2)): the k x k mean's profile.

    Example:
        >>> float(box_response(3, 0.0, 0.0)), round(float(box_response(3, np.pi, 0.0)), 6)
        (1.0, -0.333333)
    """
    return _dirichlet(k, wy) * _dirichlet(k, wx)


def box_cutoff(k: int) -> float:
    """Frequency along an axis where B_k^2 first falls to one half (-3 dB); about 2.78 / k.

    Example:
        >>> round(box_cutoff(3), 4)
        0.9756
    """
    if k < 2:
        raise ValueError(f"got a window of {k}, expected at least 2: one token passes everything")
    low, high = 0.0, 2 * np.pi / k  # B_k falls from 1 to its first zero in between
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _dirichlet(k, middle) > np.sqrt(0.5) else (low, middle)
    return (low + high) / 2


def window_centroid(k: int) -> float:
    """Spectral centroid of the window graph A_k on a torus wider than k: 1 / k."""
    return 1 / k


def complement_centroid(k: int) -> float:
    """Spectral centroid of I - A_k on a torus wider than k: (k^2 - k + 1) / (k (k - 1))."""
    return (k**2 - k + 1) / (k * (k - 1))


def mean_power_without_dc(m_eff: ArrayLike, tokens: int) -> np.ndarray:
    """Mean g^2 over all waves but the constant, of any row-stochastic C: (N / M_eff - 1) / (N - 1).

    It holds exactly, for every boundary, and for trained attention maps too.
    """
    return (tokens / np.asarray(m_eff) - 1) / (tokens - 1)


def default_variance(k: int) -> float:
    """Variance of a depthwise k x k convolution's weights as PyTorch starts them: 1 / (3 k^2)."""
    return 1 / (3 * k**2)


def random_kernel_power(
    k: int, *, mean: float, variance: float, wy: ArrayLike, wx: ArrayLike
) -> np.ndarray:
    """E|phi|^2 of a kernel of independent weights: M variance + M^2 mean^2 B_k^2."""
    return k**2 * variance + (k**2 * mean * box_response(k, wy, wx)) ** 2


def dc_to_nyquist(k: int, *, mean: float, variance: float) -> float:
    """Ratio of E|phi|^2 at the constant to that at (pi, pi), about 1 + M (mean / sigma)^2."""
    at = random_kernel_power(
        k, mean=mean, variance=variance, wy=np.array([0, np.pi]), wx=np.array([0, np.pi])
    )
    return float(at[0] / at[1])


def centroid_spread(k: int) -> float:
    """Standard deviation of the spectral centroid of single signed kernels, about."""
    return float(np.sqrt((k - 1) / (2 * k**3)))


def softmax_power(S: ArrayLike, k: int, wy: ArrayLike, wx: ArrayLike) -> np.ndarray:
    """E g^2(w) of softmax mixers in a window whose logits are exchangeable.

    S + (1 - S) (M B_k^2 - 1) / (M - 1): the same for attention and for a convolution whose kernel
    goes through a softmax.

    Args:
        S: expected sum of squared weights of a row, 1 / M_eff.
        k: side of the window.
        wy: vertical frequencies.
        wx: horizontal frequencies.
    """
    count = k**2
    S = np.asarray(S)
    return S + (1 - S) * (count * box_response(k, wy, wx) ** 2 - 1) / (count - 1)


def softmax_leakage(m_eff: ArrayLike, window_tokens: int) -> np.ndarray:
    """Leakage of softmax attention with exchangeable logits, about: 1 - M_eff / M."""
    return 1 - np.asarray(m_eff) / window_tokens


def global_connectivity(tau: ArrayLike, tokens: int) -> np.ndarray:
    """M_eff of global attention, about N exp(-tau^2) for tau <= 1."""
    return tokens * np.exp(-(np.asarray(tau) ** 2))


def global_gain(tau: ArrayLike, tokens: ArrayLike) -> np.ndarray:
    """Gain of global attention off the constant: sqrt((exp(tau^2) - 1) / N), for tau <= 1."""
    return np.sqrt((np.exp(np.asarray(tau) ** 2) - 1) / np.asarray(tokens))


def correlated_power(tau: float, spectrum_HW: np.ndarray) -> np.ndarray:
    """g^2(w) off the constant of global attention on given tokens, for small tau: tau^2 p(w) / N.

    Args:
        tau: standard deviation of the logits over the projections.
        spectrum_HW: power spectrum p of the tokens, of mean 1 over all waves: the response follows
            the tokens.
    """
    return tau**2 * spectrum_HW / spectrum_HW.size


def padded_profile(kernel: np.ndarray, grid: Grid) -> np.ndarray:
    """Profile of a zero-padded convolution, (H, W).

    phi(w) = sum over d of h[d] (1 - |dy| / H)+ (1 - |dx| / W)+ exp(i w . d): each offset counts as
    often as it stays on the grid.
    """
    height, width = grid.shape
    wy, wx = frequencies(height, width)
    phi = np.zeros(grid.shape, complex)
    for (dy, dx), weight in zip(kernel_offsets(*kernel.shape), kernel.ravel(), strict=True):
        seen = max(0, 1 - abs(dy) / height) * max(0, 1 - abs(dx) / width)
        phi += weight * seen * np.exp(1j * (wy * dy + wx * dx))
    return phi


def padded_box_dc(k: int, n: int) -> float:
    """Profile of the zero-padded k x k mean at the constant: (1 - r (r + 1) / (k n))^2."""
    r = (k - 1) // 2
    return (1 - r * (r + 1) / (k * n)) ** 2


def head_power_shares(kernels: ArrayLike, *, std: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Rms gain of SPAM's heads where all weights start with one standard deviation.

    Args:
        kernels: sides k of the heads' kernels.
        std: standard deviation of the weights, whatever the kernel's size.

    Returns:
        The rms gains ``std k``, and each head's share of the total power: the largest kernel
        dominates.
    """
    rms = std * np.asarray(kernels, dtype=np.float64)
    return rms, rms**2 / (rms**2).sum()


def _dirichlet(k: int, w: ArrayLike) -> np.ndarray:
    """sin(k w / 2) / (k sin(w / 2)), and its limit 1 at 0 (k odd)."""
    w = np.asarray(w, dtype=np.float64)
    # As a sum of cosines it has no 0 / 0: 1 + 2 sum cos(j w), over k.
    harmonics = np.arange(1, (k - 1) // 2 + 1)
    return (1 + 2 * np.cos(w[..., None] * harmonics).sum(axis=-1)) / k
