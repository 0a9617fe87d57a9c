"""How a token mixer treats frequencies: profile, gain, leakage, and the scalars made of them.

A token mixer is a linear operator C on the N = H W tokens of a grid; row x of C says what output
token x takes from every input token. Read against the unitary plane waves f_w:

- profile phi(w) = f_w* C f_w, the part of the wave that comes back as itself; it is the Fourier
  transform of the shift-averaged kernel c(d) = mean over x of C[x, x + d];
- gain g(w) = ||C f_w||, all that comes back, of any frequency;
- leakage = 1 - sum |phi|^2 / ||C||^2, how far C is from a convolution on the torus: 0 to 1.

The real part of the profile sees only the symmetric part of C: a Sobel kernel has Re phi = 0
everywhere although its gain reaches 8. Always look at the gain as well.

Arrays over frequencies are (H, W), zero first, as numpy's FFT orders them; np.fft.fftshift puts
zero into the middle. Plane waves are a basis of the fields on any grid, whatever its boundary.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from spanetv2.theory.grid import Grid, plane_wave, torus_eigenvalues
from spanetv2.theory.rings import radial_profile

__all__ = [
    "FrequencyResponse",
    "frequency_response",
    "frequency_response_of",
    "frequency_response_of_kernels",
    "full_profile",
    "graph_profile",
    "offset_kernels",
    "radial_profile",
    "residual_response",
    "spectral_centroid",
]

_MIDDLE = 1e-9  # waves with lambda this close to 1 are neither high nor low
_PROBES = 64  # waves sent through an operator at once


@dataclass(frozen=True, kw_only=True)
class FrequencyResponse:
    """Response of a token mixer on a grid.

    Where only some waves were probed, the others are not-a-number, and the scalars are those of the
    probed waves: estimates, without bias where the waves were drawn evenly.
    """

    grid: Grid
    phi: np.ndarray  # (H, W), profile
    gain: np.ndarray  # (H, W), gain, >= |phi|

    @property
    def power(self) -> np.ndarray:
        """Squared gain, (H, W). Its mean is ||C||^2 / N."""
        return self.gain**2

    @property
    def leakage(self) -> float:
        """Share of the operator's power that leaves its frequency, 0 (convolution) to 1."""
        return 1 - _ratio(np.nansum(np.abs(self.phi) ** 2), np.nansum(self.power))

    @property
    def dc_gain(self) -> float:
        """Gain of the constant, g(0)."""
        return float(self.gain[0, 0])

    @property
    def dc_share(self) -> float:
        """Share of the power that is the constant's, g(0)^2 / sum g^2."""
        return _ratio(self.power[0, 0], np.nansum(self.power))

    @property
    def rms_gain(self) -> float:
        """Root of the mean g^2 over all waves but the constant."""
        others = self.power.ravel()[1:]
        return float(np.sqrt(np.nanmean(others))) if np.isfinite(others).any() else float("nan")

    @property
    def centroid(self) -> float:
        """Spectral centroid lambda_c = sum(lambda g^2) / sum(g^2), in [0, 2]; 1 is flat."""
        eigenvalues = torus_eigenvalues(*self.grid.shape)
        return _ratio(np.nansum(eigenvalues * self.power), np.nansum(self.power))

    @property
    def m_eff(self) -> float:
        """Effective connectivity M_eff = N / ||C||^2: how many tokens rows really average.

        That is the harmonic mean over the rows x of 1 / sum_y C[x, y]^2, each row's own number. The
        meaning holds for row-stochastic C; for any other it is only the inverse mean power.
        """
        return _ratio(1.0, np.nanmean(self.power))

    @property
    def hlr(self) -> float:
        """High-to-low ratio: mean g^2 over lambda > 1 by mean g^2 over lambda < 1."""
        eigenvalues = torus_eigenvalues(*self.grid.shape)
        high = self.power[eigenvalues > 1 + _MIDDLE]
        low = self.power[eigenvalues < 1 - _MIDDLE]
        if not (np.isfinite(high).any() and np.isfinite(low).any()):
            return float("nan")
        return _ratio(np.nanmean(high), np.nanmean(low))

    @property
    def cutoff(self) -> float:
        """First frequency, in radians per token, where the power is half the constant's (-3 dB).

        Read along the two axes, whose powers are averaged where the grid is square; between the
        grid's frequencies the gain is interpolated. Not-a-number where it never falls so far.
        """
        rows, columns = self.grid.shape
        axes = [
            (self.power[: rows // 2 + 1, 0], rows),
            (self.power[0, : columns // 2 + 1], columns),
        ]
        if rows == columns:
            axes = [((axes[0][0] + axes[1][0]) / 2, rows)]
        found = [_half_power(power, count) for power, count in axes]
        return float(np.mean(found))


def frequency_response(C: ArrayLike, grid: Grid) -> FrequencyResponse:
    """Measure a token mixer that is given as a matrix.

    Args:
        C: (N, N), real or complex; row x makes output token x.
        grid: the grid of N tokens.

    Returns:
        Profile and gain at all N frequencies. Besides C, memory is of the order of W rows of it.

    Raises:
        ValueError: C is not (N, N), or not finite.

    Example: the mean of all tokens passes the constant and nothing else.
        >>> grid = Grid(4, 4)
        >>> response = frequency_response(np.full((16, 16), 1 / 16), grid)
        >>> round(response.dc_gain, 9), round(response.rms_gain, 9), round(response.m_eff, 9)
        (1.0, 0.0, 16.0)

    Source: theory of token mixers as graph filters; see docs/spectral_analysis.md.
    """
    matrix, width = _matrix(C, grid), grid.width
    blocks = (
        offset_kernels(matrix[start : start + width], grid, start=start)
        for start in range(0, grid.tokens, width)
    )
    return frequency_response_of_kernels(blocks, grid)


def offset_kernels(rows_RN: np.ndarray, grid: Grid, *, start: int) -> np.ndarray:
    """Rewrite rows of an operator over input tokens as kernels over offsets.

    Args:
        rows_RN: rows ``start`` to ``start + R`` of an (N, N) operator.
        grid: the grid of N tokens.
        start: the first row's output token.

    Returns:
        (R, H, W): entry [dy mod H, dx mod W] of a row is what its token takes from the one at
        offset (dy, dx), as :func:`frequency_response_of_kernels` wants it.
    """
    height, width = grid.shape
    row, column = np.divmod(start + np.arange(len(rows_RN)), width)
    rows = (row[:, None] + np.arange(height)) % height
    columns = (column[:, None] + np.arange(width)) % width
    fields = rows_RN.reshape(-1, height, width)
    return fields[np.arange(len(fields))[:, None, None], rows[:, :, None], columns[:, None, :]]


def frequency_response_of_kernels(blocks: Iterable[np.ndarray], grid: Grid) -> FrequencyResponse:
    """Measure a token mixer whose rows come one block after another, as kernels.

    This is the way for operators with too many tokens to be held as a matrix.

    Args:
        blocks: arrays (R, H, W) of R rows each, N rows in all, in any order. A row is a kernel over
            the offset d = y - x from its output token x to the input token y: entry [dy mod H,
            dx mod W].
        grid: the grid.

    Raises:
        ValueError: a block has another shape or is not finite, or there are not N rows.
    """
    height, width = grid.shape
    # A plane wave through row x gives f_w(x) times the kernel's own transform, so that the gain is
    # the root mean square of these transforms over x, and the profile their mean.
    mean, power, rows = np.zeros(grid.shape, complex), np.zeros(grid.shape), 0
    for kernels in blocks:
        if kernels.ndim != 3 or kernels.shape[1:] != grid.shape:
            raise ValueError(f"got rows of shape {kernels.shape}, expected (R, {height}, {width})")
        if not np.isfinite(kernels).all():
            raise ValueError("got rows with infinite or undefined values, expected finite ones")
        # exp(+i w d): the conjugate of numpy's forward transform for real kernels
        if np.iscomplexobj(kernels):
            spectra = np.fft.ifft2(kernels, norm="forward")
            mean += spectra.sum(axis=0)
            power += (spectra.real**2 + spectra.imag**2).sum(axis=0)
        else:
            spectra = np.fft.rfft2(kernels)
            mean += _unfold(spectra.sum(axis=0).conj(), width)
            power += _unfold((spectra.real**2 + spectra.imag**2).sum(axis=0), width)
        rows += len(kernels)
    if rows != grid.tokens:
        raise ValueError(f"got {rows} rows, expected {grid.tokens}, one per token of the grid")
    return FrequencyResponse(grid=grid, phi=mean / rows, gain=np.sqrt(power / rows))


def frequency_response_of(
    apply: Callable[[np.ndarray], np.ndarray],
    grid: Grid,
    *,
    waves: Sequence[tuple[int, int]] | None = None,
    real: bool = True,
) -> FrequencyResponse:
    """Measure a token mixer that can only be applied, by sending plane waves through it.

    Args:
        apply: the linear operator, from real fields (M, H, W) to fields (M, H, W). It gets the real
            and the imaginary part of waves as fields of their own, at most 128 at once.
        grid: the grid.
        waves: (p, q) of the waves to send, frequency 2 pi (p / H, q / W); all of them by default.
        real: the operator maps real fields to real fields, so that the wave -w tells nothing new
            and is filled in from w.

    Returns:
        Profile and gain at the waves sent (and their opposites); not-a-number elsewhere.

    Raises:
        ValueError: no wave is given, or the operator's result has another shape or is not finite.

    Example: a shift by one token changes phases, and no gain.
        >>> grid = Grid(4, 6)
        >>> shift = frequency_response_of(lambda fields: np.roll(fields, 1, axis=2), grid)
        >>> bool(np.allclose(shift.gain, 1)), bool(np.allclose(np.abs(shift.phi), 1))
        (True, True)
    """
    height, width = grid.shape
    if waves is None:
        waves = [(p, q) for p in range(height) for q in range(width)]
    wanted = {(p % height, q % width) for p, q in waves}
    if not wanted:
        raise ValueError("got no waves, expected at least one pair (p, q)")
    if real:
        wanted = {min(wave, _opposite(wave, grid)) for wave in wanted}
    ordered = sorted(wanted)
    phi = np.full(grid.shape, complex(np.nan, np.nan))
    gain = np.full(grid.shape, np.nan)
    for start in range(0, len(ordered), _PROBES):
        part = ordered[start : start + _PROBES]
        sent = np.stack([plane_wave(height, width, p, q) for p, q in part])
        result = np.asarray(apply(np.concatenate([np.real(sent), np.imag(sent)])))
        if result.shape != (2 * len(part), height, width):
            raise ValueError(
                f"got {result.shape} from the operator, expected {(2 * len(part), height, width)}"
            )
        if not np.isfinite(result).all():
            raise ValueError("got infinite or undefined values from the operator")
        received = result[: len(part)] + 1j * result[len(part) :]
        profile = (sent.conj() * received).sum(axis=(1, 2))
        norm = np.sqrt((np.abs(received) ** 2).sum(axis=(1, 2)))
        for wave, value, size in zip(part, profile, norm, strict=True):
            phi[wave], gain[wave] = value, size
            if real and (other := _opposite(wave, grid)) != wave:
                phi[other], gain[other] = np.conj(value), size
    return FrequencyResponse(grid=grid, phi=phi, gain=gain)


def full_profile(C: ArrayLike, grid: Grid) -> np.ndarray:
    """F* C F, (N, N): how much of the wave in a column comes back as the wave in a row.

    Its diagonal is phi; columns have the norms g. For small grids: the result is dense.
    """
    matrix = _matrix(C, grid)
    shape = (*grid.shape, *grid.shape)
    spectra = np.fft.ifft2(matrix.reshape(shape), axes=(2, 3), norm="ortho")
    return np.fft.fft2(spectra, axes=(0, 1), norm="ortho").reshape(matrix.shape)


def graph_profile(C: ArrayLike, grid: Grid) -> tuple[np.ndarray, ...]:
    """Profile and gain in the grid's own Fourier basis, averaged over each eigenspace.

    Eigenvalues are degenerate, so u_i^T C u_i of a single vector means nothing; its mean over an
    eigenspace does, as a trace. On the torus it is the mean of Re phi over the waves of that
    eigenvalue. Use this for grids with a free boundary, whose basis is the cosine transform's.

    Args:
        C: (N, N), real or complex.
        grid: the grid of N tokens.

    Returns:
        Distinct eigenvalues, the mean of Re u* C u, and the root mean square of ||C u||, each (E,).
    """
    matrix = _matrix(C, grid)
    basis = grid.fourier_basis()
    image = matrix @ basis
    profile = np.real((basis.conj() * image).sum(axis=0))
    power = (np.abs(image) ** 2).sum(axis=0)
    spaces = grid.eigenspaces()
    return (
        np.array([space.eigenvalue for space in spaces]),
        np.array([profile[space.members].mean() for space in spaces]),
        np.sqrt([power[space.members].mean() for space in spaces]),
    )


def residual_response(response: FrequencyResponse, value: float = 1.0) -> FrequencyResponse:
    """Response of I + value C from that of C: 1 + value phi, and ||f + value C f||.

    The gain needs no operator: g^2 becomes 1 + 2 value Re phi + value^2 g^2. That is linear in
    profile and power, so it holds for averages of them too.
    """
    power = 1 + 2 * value * np.real(response.phi) + value**2 * response.power
    return FrequencyResponse(
        grid=response.grid,
        phi=1 + value * response.phi,
        gain=np.sqrt(np.maximum(power, 0)),
    )


def spectral_centroid(C: ArrayLike, laplacian: np.ndarray) -> float:
    """Spectral centroid without a basis: trace(C L C*) / trace(C C*), for any Laplacian (N, N)."""
    matrix = np.asarray(C)
    return _ratio(
        np.real(np.einsum("xy,yz,xz->", matrix, laplacian, matrix.conj(), optimize=True)),
        np.sum(np.abs(matrix) ** 2),
    )


def _matrix(C: ArrayLike, grid: Grid) -> np.ndarray:
    matrix = np.asarray(C)
    if matrix.shape != (grid.tokens, grid.tokens):
        raise ValueError(
            f"got an operator of shape {matrix.shape}, expected {(grid.tokens, grid.tokens)} for a "
            f"grid of {grid.height}x{grid.width} tokens"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("got an operator with infinite or undefined values, expected finite ones")
    return matrix.astype(np.result_type(matrix.dtype, np.float64), copy=False)


def _unfold(half: np.ndarray, width: int) -> np.ndarray:
    """Complete the half spectrum (H, W // 2 + 1) of something real to (H, W)."""
    rest = np.arange(half.shape[1], width)
    mirrored = half[-np.arange(len(half)) % len(half)][:, width - rest].conj()
    return np.concatenate([half, mirrored], axis=1)


def _opposite(wave: tuple[int, int], grid: Grid) -> tuple[int, int]:
    return -wave[0] % grid.height, -wave[1] % grid.width


def _half_power(power: np.ndarray, count: int) -> float:
    """Find where the gain along an axis first falls to 1 / sqrt(2) of its start."""
    gain = np.sqrt(power)
    level = gain[0] / np.sqrt(2)
    below = np.flatnonzero(gain < level)
    if not len(below) or not np.isfinite(gain[: below[0] + 1]).all():
        return float("nan")
    after = int(below[0])
    part = (gain[after - 1] - level) / (gain[after - 1] - gain[after])
    return float(2 * np.pi / count * (after - 1 + part))


def _ratio(above: Any, below: Any) -> float:
    return float(above / below) if below > 0 else float("nan")
