"""What token mixers got when some images ran through their network.

Shape suffixes: B batch, C channels, H and W the grid in tokens, S a sequence's tokens.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spanetv2.analysis.arrangement import (
    MapLog,
    layout_of,
    owners,
    reordered,
    rerolled,
    sequence_grid,
)
from spanetv2.analysis.arrays import Gap
from spanetv2.analysis.mixer_call import SAME, MixerCall, PartOrder, TokenMixer
from spanetv2.analysis.network import feed, first_line, measuring, unwrapped
from spanetv2.analysis.order import Reading, read_orders
from spanetv2.errors import UserError

__all__ = ["record_calls"]

Grids = tuple[tuple[int, int], ...]
_READ = 2  # images by which the order of parts is read


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """A mixer's call in the network."""

    x: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    maps: Grids
    """Sides of the maps computed before it, the latest first."""
    hint: tuple[int, int] | None
    """The grid that it or its block was given."""


class _Slow(TorchFunctionMode):
    """Keeps torch's transformer layers from skipping the modules inside them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


@torch.inference_mode(False)  # tensors of that mode take no part in the backward passes of probes
def record_calls(
    model: nn.Module, mixers: Iterable[TokenMixer], images_BCHW: Tensor
) -> tuple[list[MixerCall], list[Gap]]:
    """Run the network once and keep what every token mixer got.

    Args:
        model: the network; it is run in evaluation mode and left in its own.
        mixers: from ``spanetv2.analysis.mixers.find_mixers``.
        images_BCHW: normalised images; they are brought to the model's device and dtype.

    Returns:
        A call per mixer that maps a grid to the same grid, and a gap for each of the others.
    """
    model, mixers = unwrapped(model), list(mixers)
    images_BCHW = feed(model, images_BCHW)
    seen = _run(model, mixers, images_BCHW)
    orders = _orders(model, mixers, seen, images_BCHW)
    calls, gaps = [], []
    for mixer in mixers:
        if mixer.name not in seen:
            gaps.append(Gap(mixer.name, "it is not called in a forward pass of its own"))
            continue
        outcome = _as_call(model, mixer, seen[mixer.name], len(images_BCHW), orders)
        if isinstance(outcome, MixerCall):
            calls.append(outcome)
        else:
            gaps.append(Gap(mixer.name, outcome))
    return calls, gaps


def _run(model: nn.Module, mixers: list[TokenMixer], images_BCHW: Tensor) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    maps: dict[str, Grids] = {}
    hints: dict[str, tuple[int, int] | None] = {}
    log = MapLog(model, images_BCHW)
    handles = []
    for block in {mixer.block for mixer in mixers}:

        def told(
            _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], block: str = block
        ) -> None:
            hints.setdefault(block, _hint([*args[1:], *kwargs.values()]))

        module = unwrapped(model.get_submodule(block))
        handles.append(module.register_forward_pre_hook(told, with_kwargs=True))
    for mixer in mixers:

        def before(_: nn.Module, __: Any, mixer: TokenMixer = mixer) -> None:
            maps.setdefault(mixer.name, log.latest())

        def keep(
            _: nn.Module,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            output: Any,
            mixer: TokenMixer = mixer,
        ) -> None:
            if mixer.capture == "output":
                args, kwargs = (output,), {}
            elif not args and (name := next(iter(kwargs), None)) is not None:
                args, kwargs = (kwargs[name],), {k: v for k, v in kwargs.items() if k != name}
            if mixer.name in seen or not args or not isinstance(args[0], Tensor):
                return
            own = mixer.source is mixer.module and mixer.function is mixer.module
            first = args[0]
            rest = tuple(SAME if value is first else value for value in args[1:]) if own else ()
            named = {k: SAME if v is first else v for k, v in kwargs.items()} if own else {}
            hint = _hint([*rest, *named.values()]) or hints.get(mixer.block)
            seen[mixer.name] = _Seen(
                x=first.detach(), args=rest, kwargs=named, maps=maps[mixer.name], hint=hint
            )

        handles.append(mixer.source.register_forward_pre_hook(before))
        handles.append(mixer.source.register_forward_hook(keep, with_kwargs=True))
    try:
        with torch.no_grad(), measuring(model), log, _Slow():
            model(images_BCHW)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _around(model: nn.Module, mixer: TokenMixer) -> list[nn.Module]:
    """The mixer and the modules that it lies in, the innermost first."""
    return [mixer.module, *owners(model, mixer.block)]


def _orders(
    model: nn.Module, mixers: list[TokenMixer], seen: dict[str, _Seen], images_BCHW: Tensor
) -> dict[str, PartOrder]:
    """The order of the tokens of mixers that work on parts of images, or in one of their own."""
    found: dict[str, PartOrder] = {}
    readings: dict[str, Reading] = {}
    batch = len(images_BCHW)
    maps: Grids = ()
    hints: dict[nn.Module, tuple[int, int] | None] = {}
    for mixer in mixers:
        if mixer.name not in seen:
            continue
        call, around = seen[mixer.name], _around(model, mixer)
        special = reordered(around) is not None
        order = rerolled(around, mixer.name, call.x) if special else None
        if order is not None:
            found[mixer.name] = order
        elif mixer.function is mixer.module and call.x.ndim in (3, 4):
            rows, rest = divmod(call.x.shape[0], batch)
            if rest or (rows == 1 and not special):
                continue
            read = torch.Size([rows * min(batch, _READ), *call.x.shape[1:]])
            places = [mixer.module, *owners(model, mixer.name.rpartition(".")[0])]
            readings[mixer.name] = Reading(places=places, shape=read, maps_only=special)
            maps = tuple(dict.fromkeys([*maps, *call.maps]))
            hints |= dict.fromkeys(places, call.hint)

    names = {module: name for name, module in model.named_modules()}

    def grid_of(source: nn.Module, tokens: int, place: nn.Module) -> tuple[int, int] | None:
        within = [*owners(model, names[place]), *owners(model, names[source])]
        found = sequence_grid(model, tokens, hints[place], maps=maps, within=within)
        return found[1] if found is not None and found[0] == 0 else None

    if readings:
        found |= read_orders(model, images_BCHW[:_READ], readings, grid_of)
    return found


def _as_call(
    model: nn.Module,
    mixer: TokenMixer,
    seen: _Seen,
    batch: int,
    orders: dict[str, PartOrder],
) -> MixerCall | str:
    """The call as a function of maps, or the reason why there is none."""
    around, x = _around(model, mixer), seen.x
    prefix, order = None, orders.get(mixer.name)
    if order is not None:
        layout, x_BCHW = "parts", order.map_of(x)
    elif (kind := reordered(around)) is not None:
        return f"{kind} keeps its tokens in an order of its own"
    elif x.shape[0] != batch:
        return (
            f"it works on {x.shape[0]} parts of {batch} images, and how they are cut could not be "
            "read"
        )
    elif x.ndim == 4:
        layout = layout_of(mixer.module, x, seen.maps)
        if layout is None:
            return f"nothing tells which axis of its input {tuple(x.shape)} holds the channels"
        x_BCHW = x if layout == "NCHW" else x.permute(0, 3, 1, 2)
    elif x.ndim == 3:
        layout = "NSC"
        x_BSC = x.transpose(1, 2) if mixer.tokens_last else x
        found = sequence_grid(model, x_BSC.shape[1], seen.hint, maps=seen.maps, within=around)
        if found is None:
            return f"nothing tells how its {x_BSC.shape[1]} tokens lie in the image"
        extra, grid = found
        prefix = x_BSC[:, :extra] if extra else None
        x_BCHW = x_BSC[:, extra:].transpose(1, 2).unflatten(2, grid)
    else:
        return f"its input has {x.ndim} axes, expected a map or a sequence of tokens"
    call = MixerCall(
        mixer=mixer,
        x=x_BCHW.contiguous(),
        layout=layout,
        prefix=prefix,
        arguments=(seen.args, seen.kwargs),
        order=order,
    )
    try:
        with torch.no_grad():
            y_BCHW = call(call.x)
    except UserError as error:
        return str(error)
    except Exception as error:
        return f"it could not be called alone ({first_line(error)})"
    if y_BCHW.shape[2:] != call.x.shape[2:] or len(y_BCHW) != len(call.x):
        before, after = tuple(call.x.shape[1:]), tuple(y_BCHW.shape[1:])
        return f"it maps {before} (channels, rows, columns) to {after}, not to the same grid"
    return call


def _hint(arguments: list[Any]) -> tuple[int, int] | None:
    """The grid among a mixer's arguments: a pair of whole numbers, or two in a row."""
    for value, after in itertools.zip_longest(arguments, arguments[1:]):
        pair = value if isinstance(value, list | tuple) else (value, after)
        if len(pair) == 2 and all(type(side) is int for side in pair):
            return pair[0], pair[1]
    return None
