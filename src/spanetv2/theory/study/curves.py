"""What the study is made of: its settings, and curves of gain against radial frequency."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from spanetv2.theory.ensembles import average
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import FrequencyResponse
from spanetv2.theory.rings import ring_masks

__all__ = ["SCALARS", "Curve", "Settings", "curve_of", "curve_of_spectra"]

WINDOWS = (3, 5, 7, 9)
SCALARS = ("dc_gain", "rms_gain", "dc_share", "centroid", "hlr", "cutoff", "m_eff")

_KERNELS_PER_DRAW = 20  # kernels are cheap beside attention maps
_LOWEST, _HIGHEST = 10, 90  # percentiles of the draws that the band shows


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to simulate.

    Raises:
        ValueError: the grid is smaller than 4 x 4, there are no draws, or the seed is negative.
    """

    grid: int = 16  # side n of the grid, in tokens
    draws: int = 30  # attention maps per mixer; 20 times as many kernels
    seed: int = 0

    def __post_init__(self) -> None:
        if self.grid < 4:
            raise ValueError(f"got a grid of {self.grid} tokens a side, expected at least 4")
        if self.draws < 1:
            raise ValueError(f"got {self.draws} draws, expected at least 1")
        if self.seed < 0:
            raise ValueError(f"got seed={self.seed}, expected 0 or more")

    @property
    def torus(self) -> Grid:
        """The grid without edges."""
        return Grid(self.grid, self.grid)

    @property
    def windows(self) -> tuple[int, ...]:
        """Sides of the windows; the laws want them smaller than the grid."""
        return tuple(k for k in WINDOWS if k < self.grid)

    @property
    def kernels(self) -> int:
        """Kernels per family and window."""
        return _KERNELS_PER_DRAW * self.draws

    def random(self, *part: int) -> np.random.Generator:
        """Randomness of a part of the study, which does not depend on the other parts."""
        return np.random.default_rng([self.seed, *part])


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Gain of one mixer against |w|, over its draws.

    Per ring of equal |w|: the root mean square gain over the ring and the draws, the range from the
    10th to the 90th percentile of single draws, and what the law says.
    """

    mixer: str
    window: int | None  # side of the window in tokens, None where there is none
    draws: int
    radius: np.ndarray  # (R,), radians per token
    gain: np.ndarray  # (R,)
    low: np.ndarray  # (R,)
    high: np.ndarray  # (R,)
    law: np.ndarray | None = None  # (R,)
    scalars: dict[str, float] = field(default_factory=dict)


def curve_of(
    responses: Iterable[FrequencyResponse],
    *,
    mixer: str,
    window: int | None = None,
    law: np.ndarray | None = None,
) -> Curve:
    """Take the draws of a mixer together.

    Args:
        responses: one per draw, on one grid; at least one.
        mixer: its name.
        window: side of its window.
        law: expected g^2, (H, W).

    Returns:
        The curve. Its scalars are those of the mean power, and the leakage is the draws' mean.
    """
    drawn = list(responses)
    together = average(drawn)
    radius, masks = ring_masks(*together.mean.grid.shape)
    single = np.array([[r.power[mask].mean() for mask in masks] for r in drawn])
    scalars = {name: getattr(together.mean, name) for name in SCALARS}
    return Curve(
        mixer=mixer,
        window=window,
        draws=together.draws,
        radius=np.array([radius[mask].mean() for mask in masks]),
        gain=np.sqrt(single.mean(axis=0)),
        low=np.sqrt(np.percentile(single, _LOWEST, axis=0)),
        high=np.sqrt(np.percentile(single, _HIGHEST, axis=0)),
        law=None if law is None else np.sqrt([law[mask].mean() for mask in masks]),
        scalars={**scalars, "leakage": together.leakage},
    )


def curve_of_spectra(
    spectra_DHW: np.ndarray,
    *,
    mixer: str,
    window: int | None = None,
    law: np.ndarray | None = None,
) -> Curve:
    """Take convolutions together that are given by their profiles on the torus, (D, H, W)."""
    grid = Grid(spectra_DHW.shape[1], spectra_DHW.shape[2])
    responses = (FrequencyResponse(grid=grid, phi=phi, gain=np.abs(phi)) for phi in spectra_DHW)
    return curve_of(responses, mixer=mixer, window=window, law=law)
