"""How a network divides the tokens of an image into parts: read by sending their numbers through.

Windows, dilated windows and the patches of MobileViT are cut by reshaping, padding and rolling,
each network in its own way. The output of a module before the cut is replaced by the numbers of its
tokens; what arrives at the mixer tells which token lies where. The numbers go through digit by
digit, so that half precision holds them, and a pass with zeros is subtracted, so that what is added
on the way (a position's embedding) does not matter. Where anything else happens to them, nothing is
read.

Shape suffixes: B images, C channels, H and W the grid in tokens, S a sequence's tokens.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.analysis.arrangement import layout_of
from spanetv2.analysis.mixer_call import PartOrder
from spanetv2.analysis.network import feed, measuring

__all__ = ["Reading", "read_orders"]

Sequencer = Callable[[nn.Module, int, nn.Module], tuple[int, int] | None]

_BASE = 128  # digits that bfloat16 holds exactly, with room for a sum
_CANDIDATES = 3  # modules before a mixer whose output may be the map that is divided
_PADDED = 4  # parts with their padding are at most so many times as large as the map


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """Where parts of an image arrive.

    Args:
        places: the mixer, whose first input holds the parts, and what is around it. The outermost
            with an input of that shape is read: inside it, all tokens keep that order.
        shape: of that input.
        maps_only: only maps (B, C, H, W) are taken for the source, where sequences have an order
            of their own.
    """

    places: Sequence[nn.Module]
    shape: torch.Size
    maps_only: bool


def read_orders(
    model: nn.Module,
    images_BCHW: Tensor,
    readings: Mapping[str, Reading],
    sequence: Sequencer,
) -> dict[str, PartOrder]:
    """The order of the tokens in parts, by the name of the reading.

    Args:
        model: the network; it is run in evaluation mode and left in its own.
        images_BCHW: the images that the parts were seen for.
        readings: what is asked.
        sequence: the grid (H, W) of a module's output of so many tokens, on its way to another
            module; None where nothing tells.

    Returns:
        Those that could be read.
    """
    images_BCHW = feed(model, images_BCHW)
    found: dict[str, PartOrder] = {}
    # modules around several mixers are asked once
    read: dict[tuple[nn.Module, nn.Module, torch.Size], PartOrder | None] = {}
    for name, reading in readings.items():
        place, sources = _sources(model, images_BCHW, reading)
        for source in sources:
            key = place, source, reading.shape
            if key not in read:
                read[key] = _read(model, images_BCHW, place, source, reading.shape, sequence)
            if (order := read[key]) is not None:
                found[name] = order
                break
    return found


def _sources(
    model: nn.Module, images_BCHW: Tensor, reading: Reading
) -> tuple[nn.Module, list[nn.Module]]:
    """The place to read, and the modules that gave as many tokens before it, the latest first."""
    before: dict[nn.Module, list[nn.Module]] = {}
    ended: dict[nn.Module, None] = {}
    batch = len(images_BCHW)
    elements = reading.shape.numel()

    def begin(module: nn.Module, args: tuple[Any, ...]) -> None:
        first = args[0] if args else None
        if isinstance(first, Tensor) and first.shape == reading.shape:
            before.setdefault(module, list(reversed(ended))[:_CANDIDATES])

    def end(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (3, 4) and output.shape[0] == batch:
            allowed = output.ndim == 4 or not reading.maps_only
            if allowed and output.numel() <= elements <= _PADDED * output.numel():
                ended.pop(module, None)
                ended[module] = None

    places = {id(place) for place in reading.places}
    with _hooks() as add, torch.no_grad(), measuring(model):
        for module in model.modules():
            add(module.register_forward_hook(end))
            if id(module) in places:
                add(module.register_forward_pre_hook(begin))
        model(images_BCHW)
    same = list(itertools.takewhile(lambda place: place in before, reading.places))
    return (same[-1], before[same[-1]]) if same else (reading.places[0], [])


def _read(
    model: nn.Module,
    images_BCHW: Tensor,
    place: nn.Module,
    source: nn.Module,
    shape: torch.Size,
    sequence: Sequencer,
) -> PartOrder | None:
    sent: list[Tensor] = []
    arrived: list[Tensor] = []
    grids: list[tuple[int, int] | None] = []
    widths: list[int] = []
    power = 0  # 0: zeros; then the digits of the tokens' numbers

    def send(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        grid, channels = _map_of(source, output, place, sequence)
        grids.append(grid)
        widths.append(output.shape[channels])
        if grid is None:
            raise _ReadError
        tokens = len(images_BCHW) * grid[0] * grid[1]
        numbers = torch.arange(1, tokens + 1, device=output.device)
        sent.append(numbers)
        digits = numbers // _BASE ** (power - 1) % _BASE if power else torch.zeros_like(numbers)
        if output.ndim == 4:
            kept = [size for axis, size in enumerate(output.shape) if axis != channels]
            return digits.view(kept).unsqueeze(channels).expand_as(output).to(output).contiguous()
        return digits.view(output.shape[:2])[..., None].expand_as(output).to(output).contiguous()

    def receive(_: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(args[0], Tensor) and args[0].shape == shape:
            arrived.append(args[0].detach().double())
            raise _ReadError

    rounds = 1
    while power <= rounds:
        with _hooks() as add, torch.no_grad(), measuring(model), contextlib.suppress(_ReadError):
            add(source.register_forward_hook(send))
            add(place.register_forward_pre_hook(receive))
            model(images_BCHW)
        if not arrived or not grids or grids[-1] is None or len(arrived) != power + 1:
            return None
        rounds = len(_digits(len(sent[-1])))
        power += 1
    grid = grids[-1]
    assert grid is not None
    values = [value - arrived[0] for value in arrived[1:]]
    if any(not (value - value.round()).abs().max() < 0.1 for value in values):
        return None
    values = [value.round().long() for value in values]
    for axis in (-1, 1):
        first = [value.movedim(axis, -1) for value in values]
        one = all(torch.equal(v, v[..., :1].expand_as(v)) for v in first)
        if one and first[0].shape[-1] == widths[-1]:
            whole = torch.stack([v[..., 0] * _BASE**i for i, v in enumerate(first)]).sum(0)
            return _order(whole.cpu() - 1, grid, len(images_BCHW), axis)
    return None


def _order(
    places: Tensor, grid: tuple[int, int], images: int, channel_axis: int
) -> PartOrder | None:
    """The order that places in all images (-1 for padding) tell, if it is the same for each."""
    if places.shape[0] % images:
        return None
    tokens = grid[0] * grid[1]
    each = places.unflatten(0, (images, -1))
    offset = torch.arange(images).view(-1, *[1] * (each.ndim - 1)) * tokens
    own = torch.where(each >= 0, each - offset, -1)
    used = own[0][own[0] >= 0].sort().values
    if not torch.equal(used, torch.arange(tokens)) or not (own == own[0]).all():
        return None
    return PartOrder(grid=grid, places=own[0], channel_axis=channel_axis)


def _map_of(
    source: nn.Module,
    output: Tensor,
    place: nn.Module,
    sequence: Sequencer,
) -> tuple[tuple[int, int] | None, int]:
    """The grid (H, W) of a module's output and the axis of its channels."""
    if output.ndim == 3:
        return sequence(source, output.shape[1], place), 2
    if layout_of(source, output) == "NHWC":
        return (output.shape[1], output.shape[2]), 3
    return (output.shape[2], output.shape[3]), 1


def _digits(largest: int) -> list[int]:
    digits = []
    while largest:
        largest, digit = divmod(largest, _BASE)
        digits.append(digit)
    return digits


class _ReadError(Exception):
    """Everything that was asked of the pass has been read."""


@contextlib.contextmanager
def _hooks() -> Any:
    handles: list[Any] = []
    try:
        yield handles.append
    finally:
        for handle in handles:
            handle.remove()
