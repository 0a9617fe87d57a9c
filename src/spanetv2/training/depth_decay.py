"""Learning rates that fall towards the input: how deep a parameter of a model lies.

The model stands on one of our backbones, which it calls ``backbone``. Depths count from 0 at the
stem; everything above the stages (norms of their outputs, pyramids, heads) has the largest. Two
published rules count them differently: ``by_stages`` and ``by_layers``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from spanetv2.errors import UserError
from spanetv2.models.variants import VARIANTS, Variant

__all__ = ["BackbonePlace", "Depths", "by_layers", "by_stages"]

_IN_BACKBONE = re.compile(
    r"(?:^|\.)backbone\.(?:model\.)?(?:stem|stages\.(\d+)\.(?:downsample|blocks\.(\d+)))\."
)


class BackbonePlace(NamedTuple):
    """Where a parameter lies in a backbone."""

    stage: int | None
    """from 0; None is the stem"""
    block: int | None
    """from 0; None is the stem, or the downsampling before the stage"""


@dataclass(frozen=True)
class Depths:
    """The depth of every parameter of a model.

    Args:
        top: depth of everything that is above the stages.
        of_place: depth of what is below.
    """

    top: int
    of_place: Callable[[BackbonePlace], int]

    def of(self, parameter: str) -> int:
        """Depth of a parameter, by its name in the model."""
        match = _IN_BACKBONE.search(parameter)
        if match is None:
            return self.top
        stage, block = (None if number is None else int(number) for number in match.groups())
        return self.of_place(BackbonePlace(stage, block))

    def lr_scale(self, decay: float) -> Callable[[str], float]:
        """Factor of the learning rate by parameter name: ``decay ** (top - depth)``."""
        return lambda parameter: decay ** (self.top - self.of(parameter))


def by_stages(variant: str) -> Depths:
    """The rule that counts stages.

    The stem and every downsampling have depth 0, stage i (from 1) has i, and what is above n + 1
    with n = 7, or 11 for the variants of 36 blocks: a wide gap between the last stage and the head.

    Args:
        variant: name of the backbone.

    Raises:
        UserError: not one of our variants.

    Source: SPANetV2's UPerNet recipe.

    Example:
        >>> scale = by_stages("spanetv2_s18_pure").lr_scale(0.5)
        >>> scale("backbone.model.stages.3.blocks.0.norm1.weight"), scale("head.fusion.0.weight")
        (0.0625, 1.0)
    """
    deep = sum(_variant(variant).depths) > 18

    def depth(place: BackbonePlace) -> int:
        return 0 if place.stage is None or place.block is None else place.stage + 1

    return Depths(12 if deep else 8, depth)


def by_layers(variant: str) -> Depths:
    """The rule that counts layers: stages, of which the third is as many as it has three blocks.

    The stem has depth 0; the first stage 1; the second and the downsampling before it 2; the
    downsampling before the third 3, and its block b has 3 + b // 3; the fourth stage and its
    downsampling are the last layer. What is above has 7 in the S18 networks and 10 in the S36 ones.

    Args:
        variant: name of the backbone.

    Raises:
        UserError: not one of our variants.

    Source: the published detection recipes, layer-wise learning-rate decay.

    Example:
        >>> depths = by_layers("spanetv2_s18_pure")
        >>> depths.of("pyramid.backbone.model.stages.2.blocks.8.norm1.weight"), depths.top
        (5, 7)
        >>> scale = depths.lr_scale(0.7)
        >>> round(scale("pyramid.backbone.model.stem.conv.weight"), 4), scale("rpn.head.bias")
        (0.0824, 1.0)
    """
    blocks_per_layer = 3
    top = 4 + -(-_variant(variant).depths[2] // blocks_per_layer)

    def depth(place: BackbonePlace) -> int:
        if place.stage is None:
            return 0
        if place.stage < 2:
            return place.stage + 1
        if place.stage == 3:
            return top - 1
        return 3 + (place.block or 0) // blocks_per_layer

    return Depths(top, depth)


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise UserError(
            f"optimizer.layer_decay is known for our own backbones only, got {name}; give "
            "--optimizer.layer_decay null"
        )
    return VARIANTS[name]
