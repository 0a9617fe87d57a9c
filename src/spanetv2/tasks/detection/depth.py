"""How deep a parameter of a detector lies: for learning rates that fall towards the input."""

import re
from collections.abc import Callable

from spanetv2.errors import UserError
from spanetv2.models import VARIANTS

__all__ = ["layer_of", "layer_scale", "number_of_layers"]

_BLOCKS_PER_LAYER = 3  # of the third stage


def number_of_layers(variant: str) -> int:
    """Layers of a backbone below the heads: 7 in the S18 networks, 10 in the S36 networks.

    Raises:
        UserError: not one of our variants.
    """
    if variant not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise UserError(
            f"optimizer.layer_decay in detection knows the layers of {known}, got {variant}; "
            "give --optimizer.layer_decay null"
        )
    third = VARIANTS[variant].depths[2]
    return 4 + -(-third // _BLOCKS_PER_LAYER)


def layer_of(name: str, layers: int) -> int:
    """The layer of a parameter, by its name in a ``Detector``.

    The stem is layer 0; the first stage 1; the second and the downsampling before it 2; the
    downsampling before the third 3, and its block b is 3 + b // 3; the fourth stage and its
    downsampling are the last layer of the backbone; everything else (the norms of the stages'
    outputs, pyramid and heads) lies above.

    Args:
        name: of the parameter.
        layers: of the backbone, the number that everything else has.

    Example:
        >>> layer_of("pyramid.backbone.model.stages.2.blocks.8.norm1.weight", 7)
        5
    """
    found = re.search(r"^pyramid\.backbone\.(?:model\.)?(?:(stem)|stages\.(\d)\.(.*))", name)
    if found is None:
        return layers
    if found[1]:
        return 0
    stage, rest = int(found[2]), found[3]
    if stage < 2:
        return stage + 1
    if stage == 3:
        return layers - 1
    block = re.match(r"blocks\.(\d+)\.", rest)
    return 3 if block is None else 3 + int(block[1]) // _BLOCKS_PER_LAYER


def layer_scale(variant: str, decay: float) -> Callable[[str], float]:
    """Factor of the learning rate by parameter name: ``decay ** (layers - layer)``.

    Source: the published detection recipes, layer-wise learning-rate decay.

    Raises:
        UserError: not one of our variants.

    Example:
        >>> scale = layer_scale("spanetv2_s18_pure", 0.7)
        >>> round(scale("pyramid.backbone.model.stem.conv.weight"), 4), scale("rpn.head.bias")
        (0.0824, 1.0)
    """
    layers = number_of_layers(variant)
    return lambda name: decay ** (layers - layer_of(name, layers))
