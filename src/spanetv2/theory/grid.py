"""Tokens on a grid: the graph that joins neighbours, its Laplacian and its Fourier basis.

Shapes: H x W the grid in tokens, N = H W its tokens in row-major order. Frequencies w = (wy, wx)
are in radians per token and ordered as numpy's FFT orders them, zero first; eigenvalues of the
Laplacian are called lambda and lie in [0, 2].
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

__all__ = [
    "BOUNDARIES",
    "Eigenspace",
    "Grid",
    "frequencies",
    "plane_wave",
    "torus_eigenvalues",
]

Boundary = Literal["torus", "free"]
BOUNDARIES: tuple[Boundary, ...] = ("torus", "free")

_EQUAL = 1e-9  # eigenvalues closer than this belong to one eigenspace


@dataclass(frozen=True)
class Eigenspace:
    """All basis vectors of one eigenvalue; only the space is defined, not its single vectors."""

    eigenvalue: float
    members: np.ndarray  # columns of the Fourier basis that span it


@dataclass(frozen=True)
class Grid:
    """A grid of tokens, each joined to its four neighbours.

    On the torus the edges are joined to the opposite edges, and all tokens have four neighbours;
    on sides of length 1 and 2 a neighbour then counts twice, so that the spectrum keeps its form.
    With a free boundary, tokens at an edge have fewer neighbours.

    Args:
        height: rows H, in tokens.
        width: columns W, in tokens.
        boundary: "torus" or "free".

    Raises:
        ValueError: a side is shorter than one token, or an unknown boundary.

    Example:
        >>> grid = Grid(4, 6)
        >>> grid.tokens, grid.laplacian().shape
        (24, (24, 24))
    """

    height: int
    width: int
    boundary: Boundary = "torus"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(
                f"got a grid of {self.height}x{self.width} tokens, expected sides of at least 1"
            )
        if self.boundary not in BOUNDARIES:
            expected = " or ".join(map(repr, BOUNDARIES))
            raise ValueError(f"got boundary={self.boundary!r}, expected {expected}")

    @property
    def tokens(self) -> int:
        """Number of tokens N."""
        return self.height * self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, in tokens."""
        return self.height, self.width

    def neighbour(self, dy: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the token at an offset from every token.

        Args:
            dy: rows down.
            dx: columns to the right.

        Returns:
            For each token the index of the other one, and whether there is one. On the torus there
            always is; beyond a free boundary there is none, and the index is meaningless.
        """
        row, column = np.divmod(np.arange(self.tokens), self.width)
        row, column = row + dy, column + dx
        inside = (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
        if self.boundary == "torus":
            inside = np.ones_like(inside)
        return (row % self.height) * self.width + column % self.width, inside

    def adjacency(self, *, neighbours: Literal[4, 8] = 4) -> np.ndarray:
        """Adjacency matrix (N, N).

        Args:
            neighbours: 4, or 8 with the diagonals. The graph of 8 is not a frequency axis: its
                Laplacian has 1.5 for the wave (pi, 0), but only 1 for the finer wave (pi, pi).
        """
        if neighbours not in (4, 8):
            raise ValueError(f"got {neighbours} neighbours, expected 4 or 8")
        offsets = [(-1, 0), (1, 0), (0, -1), (0, 1)]
        if neighbours == 8:
            offsets += [(-1, -1), (-1, 1), (1, -1), (1, 1)]
        matrix = np.zeros((self.tokens, self.tokens))
        tokens = np.arange(self.tokens)
        for dy, dx in offsets:
            other, inside = self.neighbour(dy, dx)
            np.add.at(matrix, (tokens[inside], other[inside]), 1.0)
        return matrix

    def laplacian(self, *, neighbours: Literal[4, 8] = 4) -> np.ndarray:
        """Laplacian (D - A) / 4, or / 8, with D the degrees: I - A / 4 on the torus. (N, N)."""
        adjacency = self.adjacency(neighbours=neighbours)
        return (np.diag(adjacency.sum(axis=1)) - adjacency) / neighbours

    def symmetric_laplacian(self) -> np.ndarray:
        """Laplacian normalised by degrees, I - D^(-1/2) A D^(-1/2). (N, N).

        On the torus it equals :meth:`laplacian`. With a free boundary it differs: its constant mode
        is D^(1/2), not the constant.
        """
        adjacency = self.adjacency()
        root = np.sqrt(np.maximum(adjacency.sum(axis=1), 1.0))  # one lonely token has degree 0
        return np.diag((adjacency.sum(axis=1) > 0).astype(float)) - adjacency / np.outer(root, root)

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of :meth:`laplacian`, (N,), in the order of :meth:`fourier_basis`.

        Torus: 1 - (cos wy + cos wx) / 2 with w = 2 pi (p / H, q / W). Free boundary: the same with
        w = pi (p / H, q / W), the frequencies of the cosine transform; times 4, this is
        4 - 2 cos(pi p / H) - 2 cos(pi q / W).
        """
        if self.boundary == "torus":
            return torus_eigenvalues(self.height, self.width).ravel()
        vertical = np.cos(np.pi * np.arange(self.height) / self.height)
        horizontal = np.cos(np.pi * np.arange(self.width) / self.width)
        return (1 - (vertical[:, None] + horizontal[None, :]) / 2).ravel()

    def fourier_basis(self) -> np.ndarray:
        """Orthonormal eigenvectors of the Laplacian as columns, (N, N).

        Column p W + q is the plane wave of frequency 2 pi (p / H, q / W) on the torus, complex; and
        the product of cosines of the DCT-II with p and q half periods with a free boundary, real.
        """
        if self.boundary == "torus":
            return np.kron(_waves(self.height), _waves(self.width))
        return np.kron(_cosines(self.height), _cosines(self.width))

    def eigenspaces(self) -> list[Eigenspace]:
        """Group the Fourier basis by eigenvalue, in ascending order.

        The torus spectrum is strongly degenerate: 16 x 16 tokens have 41 distinct eigenvalues, and
        lambda = 1 has multiplicity 30. What depends on the choice of vectors within a space has no
        meaning; average over the space.

        Example:
            >>> spaces = Grid(16, 16).eigenspaces()
            >>> len(spaces), max(len(space.members) for space in spaces)
            (41, 30)
        """
        order = np.argsort(self.eigenvalues, kind="stable")
        values = self.eigenvalues[order]
        groups = np.split(order, np.flatnonzero(np.diff(values) > _EQUAL) + 1)
        return [
            Eigenspace(eigenvalue=float(self.eigenvalues[group].mean()), members=group)
            for group in groups
        ]


def frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies of a grid's plane waves, folded into [-pi, pi).

    Args:
        height: rows H, in tokens.
        width: columns W, in tokens.

    Returns:
        wy and wx, each (H, W), in radians per token, zero first.

    Example:
        >>> wy, wx = frequencies(4, 4)
        >>> [round(float(w) / np.pi, 2) for w in wx[0]]
        [0.0, 0.5, -1.0, -0.5]
    """
    vertical, horizontal = np.fft.fftfreq(height), np.fft.fftfreq(width)
    wy, wx = np.meshgrid(2 * np.pi * vertical, 2 * np.pi * horizontal, indexing="ij")
    return wy, wx


def torus_eigenvalues(height: int, width: int) -> np.ndarray:
    """Laplacian eigenvalue of every plane wave on the torus: 1 - (cos wy + cos wx) / 2. (H, W)."""
    wy, wx = frequencies(height, width)
    return 1 - (np.cos(wy) + np.cos(wx)) / 2


def plane_wave(height: int, width: int, p: int, q: int) -> np.ndarray:
    """Unitary plane wave exp(i w . x) / sqrt(N) of frequency w = 2 pi (p / H, q / W). (H, W)."""
    # Whole turns are taken off first: they cost digits.
    vertical = np.exp(2j * np.pi * (p * np.arange(height) % height) / height)
    horizontal = np.exp(2j * np.pi * (q * np.arange(width) % width) / width)
    return np.outer(vertical, horizontal) / np.sqrt(height * width)


def _waves(count: int) -> np.ndarray:
    """Unitary waves of one axis as columns."""
    steps = np.outer(np.arange(count), np.arange(count)) % count
    return np.exp(2j * np.pi * steps / count) / np.sqrt(count)


def _cosines(count: int) -> np.ndarray:
    """Orthonormal cosines of the DCT-II of one axis as columns."""
    positions, half_periods = np.arange(count) + 0.5, np.arange(count)
    basis = np.cos(np.pi * np.outer(positions, half_periods) / count) * np.sqrt(2 / count)
    basis[:, 0] = np.sqrt(1 / count)
    return basis
