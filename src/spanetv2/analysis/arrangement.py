"""How the tokens of a sequence lie in the image: read from the network, never guessed.

A sequence of 196 tokens may be 14 x 14 or 7 x 28. What tells is, in this order: the grid that the
network passes along with the tokens, the last map of so many places that was computed before them
(the patch embedding's, for most), and the grid that a module was made for.

Shape suffixes: B images, C channels, S a sequence's tokens, H and W the grid in tokens.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.analysis.mixer_call import PartOrder
from spanetv2.analysis.network import unwrapped
from spanetv2.mixers import ChannelsFirst

__all__ = ["MapLog", "layout_of", "owners", "reordered", "rerolled", "sequence_grid", "window_of"]

Grid = tuple[int, int]
# Networks whose tokens are not row by row: the index does not tell the place. MobileViT 2 keeps the
# places within a patch on one axis, and the patches on the other.
_REORDERED = ("Hiera", "HieraDet", "HieraEncoder", "Nest", "NaFlexVit", "MobileVitV2Block")
# Attributes in which modules keep the grid that they were made for.
_RECORDED = ("feat_size", "resolution", "grid_size", "input_resolution")
# Parameters that are tokens before the grid's.
_PREFIX = re.compile(r"^(cls|class|dist|distillation|reg|register|storage)_?tokens?(_?\d+)?$")
_WINDOWS = ("window_size", "partition_size")


class MapLog:
    """The sides of the maps that a forward pass computes, the latest last.

    Layers that work on (B, C, H, W) are listened to. Those of 1 x 1 kernels count where they got a
    known map, as they may also be used on tokens. Use it as a context around the pass.

    Args:
        model: the network.
        images_BCHW: what it is given, the first map.
    """

    def __init__(self, model: nn.Module, images_BCHW: Tensor) -> None:
        self._model = model
        self._sides: dict[Grid, None] = {(images_BCHW.shape[2], images_BCHW.shape[3]): None}
        self._handles: list[Any] = []

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        maps = [x for x in (*inputs[:1], output) if isinstance(x, Tensor) and x.ndim == 4]
        if len(maps) < 2:
            return
        before, after = ((x.shape[2], x.shape[3]) for x in maps)
        kernel = getattr(module, "kernel_size", 1)
        if before in self._sides or max(kernel if isinstance(kernel, tuple) else (kernel,)) > 1:
            self._sides.pop(after, None)
            self._sides[after] = None

    def __enter__(self) -> "MapLog":
        for module in self._model.modules():
            if isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d | nn.BatchNorm2d):
                self._handles.append(module.register_forward_hook(self._keep))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def latest(self) -> tuple[Grid, ...]:
        """Sides (H, W) of the maps so far, the latest first."""
        return tuple(reversed(self._sides))


def owners(model: nn.Module, name: str) -> list[nn.Module]:
    """The modules around a place in a network, the innermost first, the network last."""
    parts = name.split(".") if name else []
    places = [".".join(parts[:end]) for end in range(len(parts), -1, -1)]
    return [unwrapped(model.get_submodule(place)) for place in places]


def reordered(around: Iterable[nn.Module]) -> str | None:
    """Name of the network among the owners that keeps its tokens in an order of its own."""
    return next((kind for m in around if (kind := type(m).__name__) in _REORDERED), None)


def sequence_grid(
    model: nn.Module,
    tokens: int,
    hint: Any = None,
    *,
    maps: Iterable[Grid] = (),
    within: Sequence[nn.Module] = (),
) -> tuple[int, Grid] | None:
    """How many tokens stand before the grid's, and the grid (H, W); None where nothing tells.

    Args:
        model: the network, asked for timm's ``num_prefix_tokens`` and, where nothing in the pass
            itself tells, for the grid that it was made for (``patch_embed.grid_size``).
        tokens: length of the sequence.
        hint: (H, W) if the network passes it along with the tokens.
        maps: sides of the maps before the tokens, the latest first.
        within: modules of the network around the tokens, the innermost first, asked before it.

    Example:
        >>> network = nn.Identity()
        >>> sequence_grid(network, 12, maps=[(3, 4), (6, 2)]), sequence_grid(network, 16)
        ((0, (3, 4)), None)
    """
    around = [*within, model]
    prefixes = [next((n for m in around if (n := _count(m)) is not None), 0)]
    prefixes += _prefix_tokens(model)
    embeds = [e for m in around if isinstance(e := getattr(m, "patch_embed", None), nn.Module)]
    recorded = [getattr(m, name, None) for m in [*around, *embeds] for name in _RECORDED]
    for candidates in ([hint], maps, recorded):
        for extra in dict.fromkeys((*prefixes, 0)):
            for candidate in candidates:
                grid = _sides(candidate)
                if grid is not None and grid[0] * grid[1] == tokens - extra:
                    return extra, grid
    return None


def window_of(block: nn.Module, tokens: int) -> Grid | None:
    """The sides (H, W) in tokens of the windows that a block cuts, if they have so many tokens."""
    for name in _WINDOWS:
        sides = _sides(getattr(block, name, None))
        if sides is not None and sides[0] * sides[1] == tokens:
            return sides
    return None


def layout_of(module: nn.Module, x: Tensor, maps: Iterable[Grid] = ()) -> str | None:
    """NCHW or NHWC: as the module says, by the first layer as wide as an axis, or by known maps."""
    if isinstance(module, ChannelsFirst):
        return module.layout
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == x.shape[1]:
            return "NCHW"
        if isinstance(layer, nn.BatchNorm2d) and layer.num_features == x.shape[1]:
            return "NCHW"
        if isinstance(layer, nn.Linear) and layer.in_features == x.shape[3]:
            return "NHWC"
        if isinstance(layer, nn.LayerNorm) and layer.normalized_shape[-1] == x.shape[3]:
            return "NHWC"
        if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d):
            return "NCHW"
    # Convolutions of a part of the channels each, as in InceptionNeXt.
    kinds = {type(layer) for layer in module.modules()}
    if nn.Conv2d in kinds and nn.Linear not in kinds:
        return "NCHW"
    known = set(maps)
    fits = [
        layout
        for layout, grid in (("NCHW", x.shape[2:]), ("NHWC", x.shape[1:3]))
        if tuple(grid) in known
    ]
    return fits[0] if len(fits) == 1 else None


def rerolled(around: Sequence[nn.Module], name: str, x: Tensor) -> PartOrder | None:
    """The order of the tokens in a block of timm's Hiera, which can undo it itself."""
    network = next((m for m in around if type(m).__name__ == "Hiera"), None)
    found = re.search(r"blocks\.(\d+)\.", name)
    reroll = getattr(network, "reroll", None)
    if found is None or x.ndim != 3 or reroll is None:
        return None
    numbers_1S1 = torch.arange(x.shape[1]).view(1, -1, 1)
    before = max(int(found.group(1)) - 1, 0)  # its schedule is that of the blocks' outputs
    schedule, grid = reroll.schedule[before]
    if len(grid) != 2 or grid[0] * grid[1] != x.shape[1]:
        return None
    # an empty schedule: what is left is in the grid's own order
    rolled = reroll(numbers_1S1, before).flatten() if schedule else numbers_1S1.flatten()
    places = torch.empty_like(rolled)
    places[rolled] = torch.arange(len(rolled))
    return PartOrder(grid=(grid[0], grid[1]), places=places[None], channel_axis=-1)


def _prefix_tokens(model: nn.Module) -> list[int]:
    """How many tokens may stand before the grid's: all that the network learned, or one kind."""
    kinds = [
        parameter.shape[1]
        for name, parameter in model.named_parameters()
        if parameter.ndim == 3 and _PREFIX.search(name.rpartition(".")[2])
    ]
    return [sum(kinds), *dict.fromkeys(kinds)]


def _count(module: nn.Module) -> int | None:
    number = getattr(module, "num_prefix_tokens", None)
    return number if isinstance(number, int) else None


def _sides(value: Any) -> Grid | None:
    """A pair of whole numbers, or one for both."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        try:
            return int(value[0]), int(value[1])
        except (TypeError, ValueError):
            return None
    return None
