"""Softmax attention as an operator on the tokens of a grid: global, or in a window.

Row x of the map is softmax over y of (q_x . k_y) / sqrt(head width), where y runs over all tokens
or over the k x k window around x; on the torus windows wrap around, at a free boundary they end.
Every map is row-stochastic: no weight is negative, and rows sum to 1.

Shapes: H x W the grid, N = H W tokens, E width of the tokens, D width of the head, M = k^2.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from spanetv2.theory.convolution import check_window, kernel_offsets
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import (
    FrequencyResponse,
    frequency_response_of_kernels,
    offset_kernels,
)

__all__ = [
    "attend",
    "attention",
    "attention_map",
    "attention_response",
    "check_stochastic",
    "softmax",
    "squared_weights",
]

_ROWS = 128  # rows of the map that are made at once
_SUM = 1e-6  # how far from 1 a row of a map may sum, as float32 maps do


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis; entries of -inf get no weight."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def check_stochastic(C: ArrayLike) -> np.ndarray:
    """Give back a row-stochastic matrix as it is, and refuse any other.

    Raises:
        ValueError: not a square matrix, not finite, a negative weight, or a row that does not sum
            to 1 (to 1e-6).
    """
    matrix = np.asarray(C)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or np.iscomplexobj(matrix):
        raise ValueError(
            f"got a {matrix.dtype} array of shape {matrix.shape}, expected a real square matrix"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("got an attention map with infinite or undefined weights")
    if matrix.min() < 0:
        raise ValueError(
            f"got an attention map with the weight {matrix.min():.3g}, expected none below 0: "
            "give the map after the softmax"
        )
    error = np.abs(matrix.sum(axis=1) - 1).max()
    if error > _SUM:
        raise ValueError(
            f"got an attention map with a row that sums to 1 only within {error:.3g}, expected "
            "rows that sum to 1: give the map after the softmax"
        )
    return matrix.astype(np.float64, copy=False)


def attention_map(
    queries_ND: np.ndarray, keys_ND: np.ndarray, grid: Grid, *, window: int | None = None
) -> np.ndarray:
    """The attention map of queries and keys, (N, N).

    Args:
        queries_ND: one query per token, (N, D).
        keys_ND: one key per token, (N, D).
        grid: the grid of N tokens.
        window: side k of the window, odd; None for global attention.

    Raises:
        ValueError: queries and keys do not fit each other or the grid, or the window is even or
            larger than the grid allows.
    """
    return np.concatenate(
        [rows for _, rows in _row_blocks(queries_ND, keys_ND, grid, window=window)]
    )


def attention(
    tokens_NE: np.ndarray,
    query_ED: np.ndarray,
    key_ED: np.ndarray,
    grid: Grid,
    *,
    window: int | None = None,
) -> np.ndarray:
    """The attention map of tokens and projections, (N, N): that of ``x W_q`` and ``x W_k``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, W_q, W_k = (rng.standard_normal(size) for size in [(16, 8), (8, 4), (8, 4)])
        >>> C = attention(x, W_q, W_k, Grid(4, 4), window=3)
        >>> C.shape, bool(np.allclose(C.sum(axis=1), 1)), int((C[5] > 0).sum())
        ((16, 16), True, 9)
    """
    return attention_map(tokens_NE @ query_ED, tokens_NE @ key_ED, grid, window=window)


def attend(
    queries_ND: np.ndarray,
    keys_ND: np.ndarray,
    values_NM: np.ndarray,
    grid: Grid,
    *,
    window: int | None = None,
) -> np.ndarray:
    """Apply the attention map of queries and keys to values, (N, M), without holding the map.

    Raises:
        ValueError: as :func:`attention_map`.
    """
    blocks = _row_blocks(queries_ND, keys_ND, grid, window=window)
    return np.concatenate([rows @ values_NM for _, rows in blocks])


def squared_weights(
    queries_ND: np.ndarray, keys_ND: np.ndarray, grid: Grid, *, window: int | None = None
) -> float:
    """S = ||C||^2 / N = 1 / M_eff of the map of queries and keys, summed over its weights.

    Raises:
        ValueError: as :func:`attention_map`.
    """
    blocks = _row_blocks(queries_ND, keys_ND, grid, window=window)
    return float(sum((rows**2).sum() for _, rows in blocks) / grid.tokens)


def attention_response(
    queries_ND: np.ndarray, keys_ND: np.ndarray, grid: Grid, *, window: int | None = None
) -> FrequencyResponse:
    """Response of the attention map of queries and keys, without holding the map.

    The map is made, measured and dropped a few rows at a time; windowed rows hold the window only.

    Raises:
        ValueError: as :func:`attention_map`.
    """
    if window is None:
        blocks = (
            offset_kernels(rows, grid, start=start)
            for start, rows in _row_blocks(queries_ND, keys_ND, grid, window=None)
        )
    else:
        blocks = _window_blocks(queries_ND, keys_ND, grid, window=window)
    return frequency_response_of_kernels(blocks, grid)


def _row_blocks(
    queries_ND: np.ndarray, keys_ND: np.ndarray, grid: Grid, *, window: int | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Make the map in blocks of rows: (first row, weights over all tokens)."""
    _check(queries_ND, keys_ND, grid)
    scale = queries_ND.shape[1] ** -0.5
    if window is None:
        for start in range(0, grid.tokens, _ROWS):
            yield start, softmax(scale * queries_ND[start : start + _ROWS] @ keys_ND.T)
        return
    weights, others = _window_weights(queries_ND, keys_ND, grid, window=window)
    for start in range(0, grid.tokens, _ROWS):
        part = weights[start : start + _ROWS]
        rows = np.zeros((len(part), grid.tokens))
        line = np.arange(len(part))
        for column, other in enumerate(others):
            rows[line, other[start : start + _ROWS]] += part[:, column]
        yield start, rows


def _window_blocks(
    queries_ND: np.ndarray, keys_ND: np.ndarray, grid: Grid, *, window: int
) -> Iterator[np.ndarray]:
    """Make the map of windowed attention in blocks of kernels over offsets, (R, H, W)."""
    _check(queries_ND, keys_ND, grid)
    weights, _ = _window_weights(queries_ND, keys_ND, grid, window=window)
    offsets = kernel_offsets(window, window)
    for start in range(0, grid.tokens, _ROWS):
        part = weights[start : start + _ROWS]
        kernels = np.zeros((len(part), *grid.shape))
        for column, (dy, dx) in enumerate(offsets):
            kernels[:, dy % grid.height, dx % grid.width] += part[:, column]
        yield kernels


def _window_weights(
    queries_ND: np.ndarray, keys_ND: np.ndarray, grid: Grid, *, window: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Softmax within windows: weights (N, M), and per offset the token it falls on."""
    check_window(window, window, grid)
    logits = np.full((grid.tokens, window**2), -np.inf)
    others = []
    for column, offset in enumerate(kernel_offsets(window, window)):
        other, inside = grid.neighbour(*offset)
        products = np.einsum("nd,nd->n", queries_ND, keys_ND[other])
        logits[inside, column] = products[inside] * queries_ND.shape[1] ** -0.5
        others.append(other)
    return softmax(logits), others


def _check(queries_ND: np.ndarray, keys_ND: np.ndarray, grid: Grid) -> None:
    if queries_ND.ndim != 2 or queries_ND.shape != keys_ND.shape:
        raise ValueError(
            f"got queries of shape {queries_ND.shape} and keys of shape {keys_ND.shape}, expected "
            "two equal shapes (tokens, head width)"
        )
    if len(queries_ND) != grid.tokens:
        raise ValueError(
            f"got {len(queries_ND)} tokens, expected {grid.tokens} for a grid of "
            f"{grid.height}x{grid.width}"
        )
