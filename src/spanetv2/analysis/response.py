"""Frequency response of token mixers, from rows of their matrices.

A mixer of one channel (or of one attention head) is a matrix J over the N = H * W tokens. With the
plane waves f_w, ``g(w) = ||J f_w||`` and ``phi(w) = f_w* J f_w``. Both follow from rows of J: if
``z_p`` is the Fourier transform of row p, shifted so that p is the origin, then ``g^2`` is the mean
of ``|z_p|^2`` over all p, and phi is the mean of ``z_p``. A few rows give unbiased estimates at
every frequency, all rows the exact values.

Shape suffixes: G groups (image and channel, or image and head), P rows, H and W the grid in tokens.
Frequencies are in radians per token, in the order of ``fft2``; lambda is the eigenvalue of the
4-neighbour torus.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spanetv2.analysis.arrays import NamedArray
from spanetv2.errors import UserError
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import FrequencyResponse, radial_profile

__all__ = ["M_EFF", "MixerResponse", "response_of_rows"]

M_EFF = (
    "M_eff is the number of tokens that count: the sum over the rows of (Σ|J|)², divided by the "
    "sum over the rows of ΣJ², in each channel, then the mean over channels and images."
)
"""The figure in words, as reports give it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MixerResponse:
    """What one token mixer does to each frequency, on average over images and channels."""

    name: str
    kind: str
    stage: int
    """From 1."""
    block: str
    """The block's place in the network."""
    gain2: np.ndarray
    """(H, W): mean over the groups of g(w)^2."""
    phi2: np.ndarray
    """(H, W): mean over the groups of |phi(w)|^2 (an estimate from few rows may dip below 0)."""
    phi: np.ndarray
    """(H, W), complex: mean over the groups of phi(w); signs of different channels may cancel."""
    m_eff_groups: np.ndarray
    """(G,): effective number of neighbours of a group's rows taken together, the sum over the rows
    of (sum |J|)^2 over the sum over the rows of sum J^2. Rows that sum to 1 give N / ||C||^2, the
    harmonic mean of the single rows' numbers."""
    leakage_groups: np.ndarray
    """(G,): 1 - sum |phi|^2 / ||J||^2: 0 for a mixer that is the same everywhere."""
    rows: int
    """Rows per group that were looked at; N of them make the figures exact."""
    row_sum: float | None = None
    """For attention maps: mean share of the attention that stays on the grid (the rest goes to
    class tokens and was left out, the rows being scaled to sum 1)."""

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) in tokens."""
        height, width = self.gain2.shape
        return height, width

    @property
    def gain(self) -> np.ndarray:
        """Root mean square of g(w) over the groups."""
        return np.sqrt(self.gain2)

    @property
    def frequency(self) -> FrequencyResponse:
        """The mean response as the theory has it, with its scalars (centroid, HLR, cut-off, ...).

        Its ``leakage`` and ``m_eff`` are those of an average: use the ones given here.
        """
        return FrequencyResponse(grid=Grid(*self.grid), phi=self.phi, gain=self.gain)

    @property
    def m_eff(self) -> float:
        """Mean over the groups of their effective number of neighbours."""
        return _mean(self.m_eff_groups)

    @property
    def leakage(self) -> float:
        """Mean leakage."""
        return _mean(self.leakage_groups)

    def radial(self, bins: int | None = None) -> NamedArray:
        """Root mean square of g and of |phi|, and the mean of Re phi, over rings of |w|."""
        bins = bins or max(2, min(self.grid) // 2)
        radius, gain2, _ = radial_profile(self.gain2, bins=bins)
        _, phi2, _ = radial_profile(self.phi2, bins=bins)
        _, real, _ = radial_profile(np.real(self.phi), bins=bins)
        values = np.stack([np.sqrt(gain2), np.sqrt(np.maximum(phi2, 0)), real])
        return NamedArray(
            values,
            ("quantity", "radius"),
            {"quantity": ["g", "abs_phi", "re_phi"], "radius": radius.tolist()},
        )

    def scalars(self) -> dict[str, Any]:
        """The figures of a table row."""
        mean = self.frequency
        return {
            "mixer": self.name,
            "kind": self.kind,
            "stage": self.stage,
            "grid": f"{self.grid[0]}x{self.grid[1]}",
            "dc_gain": mean.dc_gain,
            "rms_gain": mean.rms_gain,
            "dc_share": mean.dc_share,
            "lambda_c": mean.centroid,
            "hlr": mean.hlr,
            "cutoff": mean.cutoff,
            "m_eff": self.m_eff,
            "leakage": self.leakage,
            "row_sum": self.row_sum,
        }


def response_of_rows(
    rows_GPHW: Tensor,
    positions_GP: Tensor,
    *,
    name: str = "mixer",
    kind: str = "other",
    stage: int = 1,
    block: str = "",
    row_sum: float | None = None,
) -> MixerResponse:
    """Frequency response of a group of N x N matrices from some of their rows.

    Args:
        rows_GPHW: rows of each matrix, laid out on the grid.
        positions_GP: flat index (row-major) of the token that each row belongs to, none twice
            within a group.
        name: what the mixer is called.
        kind: kind of mixer.
        stage: its stage.
        block: its block.
        row_sum: see ``MixerResponse``.

    Returns:
        The response; groups whose rows are all zero count as gain 0 and have no M_eff.

    Raises:
        UserError: shapes that do not fit, positions off the grid, or values that are not finite.

    Example:
        >>> import torch
        >>> identity = torch.eye(9).reshape(1, 9, 3, 3)
        >>> response = response_of_rows(identity, torch.arange(9)[None])
        >>> response.gain.round(6).tolist()[0], abs(response.leakage) < 1e-9
        ([1.0, 1.0, 1.0], True)
    """
    if rows_GPHW.ndim != 4 or positions_GP.shape != rows_GPHW.shape[:2]:
        raise UserError(
            f"got rows {tuple(rows_GPHW.shape)} and positions {tuple(positions_GP.shape)}, "
            "expected (groups, rows, H, W) and (groups, rows)"
        )
    count, height, width = rows_GPHW.shape[1:]
    tokens = height * width
    if count < 1 or positions_GP.min() < 0 or positions_GP.max() >= tokens:
        raise UserError(f"got positions outside the {height} x {width} grid, or none")
    ordered = positions_GP.sort(dim=1).values
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise UserError("got a position twice, expected rows of different tokens")
    rows = rows_GPHW.double()
    if not torch.isfinite(rows).all():
        raise UserError("got rows with values that are not finite")
    if count == 1 and tokens > 1:
        raise UserError("got one row per matrix, expected at least two to tell phi from chance")
    # J[p, p + d] summed with exp(+i w d): the row's conjugate transform without its phase at p.
    spectrum = torch.fft.fft2(rows).conj()
    p, q = (positions_GP // width).double(), (positions_GP % width).double()
    turn_H = (
        2 * torch.pi * torch.fft.fftfreq(height, dtype=torch.float64, device=rows.device) * height
    )
    turn_W = (
        2 * torch.pi * torch.fft.fftfreq(width, dtype=torch.float64, device=rows.device) * width
    )
    angle = (p / height)[..., None, None] * turn_H[:, None] + (q / width)[..., None, None] * turn_W
    z = spectrum * torch.polar(torch.ones_like(angle), -angle)
    power = z.abs().square()
    gain2 = power.mean(dim=1)
    mean = z.mean(dim=1)
    # |mean over all tokens|^2 without the bias that the chance of drawing few of them would add.
    pairs = (mean.abs().square() * count - gain2) / max(count - 1, 1)
    phi2 = ((tokens - 1) * pairs + gain2) / tokens
    total = gain2.sum(dim=(1, 2))
    leakage = 1 - phi2.sum(dim=(1, 2)) / total
    spread = rows.abs().sum(dim=(2, 3)).square().sum(dim=1)
    m_eff = spread / rows.square().sum(dim=(1, 2, 3))
    return MixerResponse(
        name=name,
        kind=kind,
        stage=stage,
        block=block,
        gain2=gain2.mean(dim=0).cpu().numpy(),
        phi2=phi2.mean(dim=0).cpu().numpy(),
        phi=mean.mean(dim=0).cpu().numpy(),
        m_eff_groups=m_eff.cpu().numpy(),
        leakage_groups=leakage.cpu().numpy(),
        rows=count,
        row_sum=row_sum,
    )


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
