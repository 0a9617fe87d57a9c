"""Convolutions and window graphs as operators on the tokens of a grid.

A kernel h of size k x k (odd sides) maps a field x to (C x)[t] = sum over d of h[d] x[t + d], what
deep learning calls a convolution. On the torus it wraps around; at a free boundary the field is
padded with zeros. Its profile on the torus is phi(w) = sum over d of h[d] exp(i w . d).

Shapes: H x W the grid, N = H W tokens, kernels (KH, KW) with the offset (0, 0) in their middle, D
draws.
"""

import numpy as np
from numpy.typing import ArrayLike

from spanetv2.theory.grid import Grid
from spanetv2.theory.response import FrequencyResponse, frequency_response_of_kernels

__all__ = [
    "box_kernel",
    "check_window",
    "convolution",
    "convolution_response",
    "convolve",
    "kernel_centroids",
    "kernel_offsets",
    "kernel_spectra",
    "residual",
    "window_graph",
]

_ROWS = 256  # rows of an operator that are made at once


def box_kernel(k: int) -> np.ndarray:
    """The mean of a k x k window: every weight 1 / k^2.

    Raises:
        ValueError: k is even or not positive.
    """
    if k < 1 or k % 2 == 0:
        raise ValueError(f"got a window of {k}, expected an odd number such as 3, 5, 7")
    return np.full((k, k), 1 / k**2)


def check_window(height: int, width: int, grid: Grid) -> None:
    """Refuse a window that has no middle, or that would meet itself on the grid.

    Args:
        height: rows of the window.
        width: columns of the window.
        grid: on a torus the window may be as large as the grid; at a free boundary up to twice
            that less one, as far as any two tokens are apart.

    Raises:
        ValueError: a side is even, not positive, or too long.
    """
    for side, length in ((height, grid.height), (width, grid.width)):
        if side < 1 or side % 2 == 0:
            raise ValueError(
                f"got a window of {height}x{width}, expected odd sides such as 3, 5, 7"
            )
        longest = length if grid.boundary == "torus" else 2 * length - 1
        if side > longest:
            raise ValueError(
                f"got a window of {height}x{width} on a {grid.boundary} grid of "
                f"{grid.height}x{grid.width} tokens, expected sides of at most {longest}"
            )


def kernel_offsets(height: int, width: int) -> list[tuple[int, int]]:
    """Offsets (dy, dx) of a window's weights in row-major order, from -(height - 1) / 2 on.

    Example:
        >>> kernel_offsets(1, 3)
        [(0, -1), (0, 0), (0, 1)]
    """
    return [(dy - height // 2, dx - width // 2) for dy in range(height) for dx in range(width)]


def convolution(kernel: ArrayLike, grid: Grid) -> np.ndarray:
    """The operator of a kernel as a matrix, (N, N).

    Args:
        kernel: (KH, KW), odd sides, real or complex.
        grid: on a torus the convolution is circular, with a free boundary it is zero-padded.

    Raises:
        ValueError: the kernel has another shape, even sides, or is larger than the grid allows.

    Example:
        >>> C = convolution(box_kernel(3), Grid(4, 4))
        >>> float(C.sum(axis=1).min()), int((C[0] > 0).sum())
        (1.0, 9)
    """
    weights = _kernel(kernel, grid)
    matrix = np.zeros((grid.tokens, grid.tokens), weights.dtype)
    tokens = np.arange(grid.tokens)
    for (dy, dx), weight in zip(kernel_offsets(*weights.shape), weights.ravel(), strict=True):
        other, inside = grid.neighbour(dy, dx)
        matrix[tokens[inside], other[inside]] += weight
    return matrix


def convolve(fields_MHW: np.ndarray, kernel: ArrayLike, grid: Grid) -> np.ndarray:
    """Apply a kernel to fields by FFT, without making the matrix of :func:`convolution`.

    Args:
        fields_MHW: (M, H, W).
        kernel: (KH, KW), odd sides.
        grid: says how the boundary is treated.

    Returns:
        (M, H, W); complex if the fields or the kernel are.

    Raises:
        ValueError: as :func:`convolution`; or the fields are not on the grid.
    """
    weights = _kernel(kernel, grid)
    if fields_MHW.ndim != 3 or fields_MHW.shape[1:] != grid.shape:
        raise ValueError(
            f"got fields of shape {fields_MHW.shape}, expected (M, {grid.height}, {grid.width})"
        )
    height, width = grid.shape
    if grid.boundary == "free":  # room for the zeros that the kernel sees beyond the edges
        height, width = height + weights.shape[0] // 2, width + weights.shape[1] // 2
    transfer = np.fft.ifft2(_placed(weights[None], height, width)[0], norm="forward")
    spectra = np.fft.fft2(fields_MHW, s=(height, width), axes=(1, 2)) * transfer
    result = np.fft.ifft2(spectra, axes=(1, 2))[:, : grid.height, : grid.width]
    complex_values = np.iscomplexobj(fields_MHW) or np.iscomplexobj(weights)
    return result if complex_values else result.real


def convolution_response(kernel: ArrayLike, grid: Grid) -> FrequencyResponse:
    """Response of a kernel, without making its matrix.

    Raises:
        ValueError: as :func:`convolution`.
    """
    weights = _kernel(kernel, grid)
    if grid.boundary == "torus":
        phi = kernel_spectra(weights[None], grid)[0]
        return FrequencyResponse(grid=grid, phi=phi, gain=np.abs(phi))
    offsets = kernel_offsets(*weights.shape)
    inside = np.stack([grid.neighbour(*offset)[1] for offset in offsets], axis=1)  # (N, K)

    def blocks():
        for start in range(0, grid.tokens, _ROWS):
            part = inside[start : start + _ROWS]
            kernels = np.zeros((len(part), *grid.shape), weights.dtype)
            for column, ((dy, dx), weight) in enumerate(zip(offsets, weights.ravel(), strict=True)):
                kernels[:, dy % grid.height, dx % grid.width] += weight * part[:, column]
            yield kernels

    return frequency_response_of_kernels(blocks(), grid)


def kernel_spectra(kernels_DKK: np.ndarray, grid: Grid) -> np.ndarray:
    """Profiles of many kernels on the torus: phi(w) = sum h[d] exp(i w . d). (D, H, W), complex."""
    _, rows, columns = kernels_DKK.shape
    check_window(rows, columns, Grid(*grid.shape))
    return np.fft.ifft2(_placed(kernels_DKK, *grid.shape), norm="forward")


def kernel_centroids(kernels_DKK: np.ndarray) -> np.ndarray:
    """Spectral centroids of kernels that are smaller than the grid, (D,).

    lambda_c = 1 - (r(1, 0) + r(0, 1)) / (2 r(0, 0)) with r the kernel's autocorrelation: it does
    not depend on the grid.
    """
    energy = (kernels_DKK**2).sum(axis=(1, 2))
    vertical = (kernels_DKK[:, 1:] * kernels_DKK[:, :-1]).sum(axis=(1, 2))
    horizontal = (kernels_DKK[:, :, 1:] * kernels_DKK[:, :, :-1]).sum(axis=(1, 2))
    return 1 - (vertical + horizontal) / (2 * energy)


def window_graph(k: int, grid: Grid) -> np.ndarray:
    """A_k: the graph that joins every token to the k x k window around it, itself included.

    Every row is divided by its number of neighbours, so it is row-stochastic; on the torus it is
    the convolution with :func:`box_kernel`. (N, N).

    Raises:
        ValueError: the window is even or larger than the grid allows.
    """
    graph = (convolution(box_kernel(k), grid) > 0).astype(float)
    return graph / graph.sum(axis=1, keepdims=True)


def residual(C: ArrayLike, value: float = 1.0) -> np.ndarray:
    """I + value C: the mixer with its shortcut; ``value`` is an eigenvalue of its value-output map.

    With value = -1 a smoothing C becomes the high-pass I - C.
    """
    matrix = np.asarray(C)
    return np.eye(len(matrix)) + value * matrix


def _kernel(kernel: ArrayLike, grid: Grid) -> np.ndarray:
    weights = np.asarray(kernel)
    if weights.ndim != 2:
        raise ValueError(f"got a kernel of shape {weights.shape}, expected (height, width)")
    rows, columns = weights.shape
    check_window(rows, columns, grid)
    return weights.astype(np.result_type(weights.dtype, np.float64), copy=False)


def _placed(kernels_DKK: np.ndarray, height: int, width: int) -> np.ndarray:
    """Put kernels onto a grid, the middle at [0, 0] and negative offsets at the far ends."""
    rows, columns = kernels_DKK.shape[1:]
    placed = np.zeros((len(kernels_DKK), height, width), kernels_DKK.dtype)
    placed[:, :rows, :columns] = kernels_DKK
    return np.roll(placed, (-(rows // 2), -(columns // 2)), axis=(1, 2))
