"""What a row costs, and the widths at which it has as many parameters as the reference."""

import itertools
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from spanetv2.errors import UserError
from spanetv2.models.backbone import SPANetV2
from spanetv2.models.costs import count_parameters, multiply_adds
from spanetv2.ops.heads import HEADS
from studies.mixers.rows import REFERENCE, ROWS, Row

__all__ = ["LARGEST_MISMATCH", "Cost", "Skeleton", "build", "cost_of", "match_widths"]

LARGEST_MISMATCH = 0.05
"""Share by which a matched row's parameters may differ from the reference's."""
_UNEVENNESS = 3.0  # weight against the other two differences
_NARROWEST, _WIDEST = 0.75, 1.5  # of the skeleton's widths


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """What all rows share.

    Args:
        depths: blocks per stage.
        dims: channels per stage of the reference.
        stem_stride: 1, 2 or 4.
        image: channels, height, width.
        num_classes: classes; 0 for a backbone.
    """

    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]
    stem_stride: int
    image: tuple[int, int, int]
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Size of a network for one image."""

    parameters: int
    multiply_adds: float


def _divisor(mixer: str) -> int:
    """What a mixer's channels must be a multiple of."""
    if "attention" in mixer:
        return 16 if mixer.endswith("_16") else 32
    return HEADS


def build(
    row: Row,
    skeleton: Skeleton,
    dims: tuple[int, ...],
    device: str,
    *,
    init_std: float | None = 0.02,
) -> SPANetV2:
    """The network of a row at some widths; for ``init_std`` see ``SPANetV2``."""
    return SPANetV2(
        skeleton.depths,
        dims,
        row.mixers,
        in_chans=skeleton.image[0],
        num_classes=skeleton.num_classes,
        img_size=skeleton.image[1:],
        stem_stride=skeleton.stem_stride,
        head_order=row.head_order,
        gate=row.gate,
        init_std=init_std,
        device=torch.device(device),
    )


@cache
def cost_of(row: Row, skeleton: Skeleton, dims: tuple[int, ...]) -> Cost:
    """Parameters, and multiply-adds of one image, the spectral filters' transforms included.

    Args:
        row: which mixers.
        skeleton: everything else.
        dims: channels per stage.
    """
    model = build(row, skeleton, dims, "meta")
    return Cost(
        parameters=count_parameters(model),
        multiply_adds=multiply_adds(model, (1, *skeleton.image)).total,
    )


def _terms(dims_KS: np.ndarray) -> np.ndarray:
    """The monomials that costs are made of, (K, 12): every layer joins a stage to itself or to the
    next one, so that parameters and multiply-adds are quadratic in the widths."""
    ones = np.ones((len(dims_KS), 1))
    return np.hstack([ones, dims_KS, dims_KS**2, dims_KS[:, :-1] * dims_KS[:, 1:]])


def _costs(row: Row, skeleton: Skeleton, dims_KS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and multiply-adds for many widths, (K,) each, from a few networks."""
    divisors = np.array([_divisor(mixer) for mixer in row.mixers])
    ones = np.ones(4, dtype=int)
    steps = [ones, *(ones + k * np.eye(4, dtype=int)[i] for i in range(4) for k in (1, 2))]
    steps += [ones + np.eye(4, dtype=int)[i] + np.eye(4, dtype=int)[i + 1] for i in range(3)]
    known_KS = np.stack(steps) * divisors
    counted = [cost_of(row, skeleton, tuple(map(int, dims))) for dims in known_KS]
    values = np.array([[one.parameters, one.multiply_adds] for one in counted])
    scale = divisors.astype(float)
    factors = np.linalg.solve(_terms(known_KS / scale), values)
    found = _terms(dims_KS / scale) @ factors
    return found[:, 0], found[:, 1]


@cache
def match_widths(row: Row, skeleton: Skeleton) -> tuple[int, int, int, int]:
    """Channels per stage at which a row has the reference's parameters.

    Of all widths that the mixers take (multiples of their heads) between 0.75 and 1.5 times the
    skeleton's, those that bring the parameters within 5 % of the reference's are considered, and
    the one is taken for which parameters and multiply-adds differ least and the stages grow most
    evenly: the smallest sum of the two logarithms of ratios and of three standard deviations of
    the stages' logarithmic growth. A row that is not to be matched keeps the skeleton's widths,
    rounded up where its mixers ask for it.

    Args:
        row: which mixers.
        skeleton: everything else.

    Returns:
        The widths.

    Raises:
        UserError: none is within 5 % of the reference.

    Example:
        >>> tiny = Skeleton(
        ...     depths=(1, 1, 1, 1), dims=(16, 32, 64, 96), stem_stride=2, image=(1, 28, 28),
        ...     num_classes=10,
        ... )
        >>> match_widths(ROWS["spam"], tiny)
        (16, 32, 64, 96)
    """
    divisors = [_divisor(mixer) for mixer in row.mixers]
    pairs = list(zip(skeleton.dims, divisors, strict=True))
    if not row.matched:
        first, second, third, fourth = (-(-dim // by) * by for dim, by in pairs)
        return first, second, third, fourth
    reference = cost_of(ROWS[REFERENCE], skeleton, skeleton.dims)
    choices = [
        range(math.ceil(_NARROWEST * dim / by) * by, math.floor(_WIDEST * dim / by) * by + 1, by)
        for dim, by in pairs
    ]
    dims_KS = np.array(list(itertools.product(*choices))).reshape(-1, len(choices))
    parameters, multiply_adds = _costs(row, skeleton, dims_KS)
    mismatch = np.abs(parameters / reference.parameters - 1)
    growth = np.log(dims_KS / np.array(skeleton.dims))
    distance = (
        np.abs(np.log(parameters / reference.parameters))
        + np.abs(np.log(multiply_adds / reference.multiply_adds))
        + _UNEVENNESS * growth.std(axis=1)
    )
    distance[mismatch > LARGEST_MISMATCH] = np.inf
    if not np.isfinite(distance).any():
        raise UserError(
            f"row {row.name}: got no widths within {LARGEST_MISMATCH:.0%} of "
            f"{reference.parameters:,} parameters, expected a wider skeleton"
        )
    first, second, third, fourth = map(int, dims_KS[distance.argmin()])
    return first, second, third, fourth
