"""Finding the token mixers of a network and calling them on the grid of its tokens.

A token mixer is what lets the tokens of a block see each other: attention, a depthwise convolution,
pooling, SPAM. Networks call it with maps (B, C, H, W) or (B, H, W, C), or with sequences
(B, P + N, C) of P class tokens and N = H * W patches; here every mixer is a function of maps
(B, C, H, W), the class tokens and other arguments staying what they were for the images.

Shape suffixes: B batch, C channels, H and W the grid in tokens, S a sequence's tokens.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.analysis.arrangement import MapLog, layout_of, owners, reordered, sequence_grid
from spanetv2.analysis.arrays import Gap
from spanetv2.analysis.network import feed, first_line, measuring, unwrapped
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM, ChannelsFirst

__all__ = ["MixerCall", "TokenMixer", "find_mixers", "record_calls", "sequence_grid", "stage_of"]

# The name of the mixer within its block, as timm's networks call it; the first that a block has.
_NAMES = ("token_mixer", "attn", "mixer", "conv_dw", "mlp_tokens", "linear_tokens")
# Blocks whose attention works on windows that the block itself cuts: method, and what feeds it.
_WINDOWED = ("_attn", "_partition_attn", "_shifted_window_attn")
# Those that normalise after the attention, so that the block's input is the attention's.
_POST_NORM = ("SwinTransformerV2Block", "SwinTransformerV2CrBlock")
_TOKENS_LAST = ("mlp_tokens", "linear_tokens")
_COMPILED = "_orig_mod"  # torch.compile's addition to the names of what it wraps


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenMixer:
    """One token mixer of a network."""

    name: str
    """Its place in the network, such as "stages.0.blocks.1.token_mixer"."""
    block: str
    """The block it belongs to."""
    kind: str
    """spam, attention, convolution, pooling or mlp; other where the name tells nothing."""
    stage: int
    """Number of the stage, from 1; 1 for networks without stages."""
    module: nn.Module
    """The module; for windowed attention, the block."""
    function: Callable[..., Any]
    """Maps the captured input to the mixer's output."""
    source: nn.Module
    """The module whose call is captured."""
    capture: str
    """"input" or "output": what of that call the mixer works on."""
    tokens_last: bool = False
    """It works on (B, C, S) and its block on (B, S, C)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MixerCall:
    """A token mixer at the input that some images gave it, as a function of maps."""

    mixer: TokenMixer
    x: Tensor
    """Its input on the grid, (B, C, H, W)."""
    layout: str
    """NCHW, NHWC or NSC (a sequence), as the network has it."""
    prefix: Tensor | None
    """(B, P, C): class tokens before the grid's; they stay fixed."""
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    """Its other arguments."""

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) in tokens."""
        return self.x.shape[2], self.x.shape[3]

    def native(self, x_BCHW: Tensor) -> Tensor:
        """A map in the layout that the network's module takes."""
        if self.layout == "NCHW":
            return x_BCHW
        if self.layout == "NHWC":
            return x_BCHW.permute(0, 2, 3, 1)
        x_BSC = x_BCHW.flatten(2).transpose(1, 2)
        if self.prefix is not None:
            x_BSC = torch.cat([self.prefix[: x_BSC.shape[0]], x_BSC], dim=1)
        return x_BSC.transpose(1, 2) if self.mixer.tokens_last else x_BSC

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """The mixer's output map, (B, C, H, W), in evaluation mode."""
        args, kwargs = self.arguments
        with measuring(self.mixer.module):
            y = self.mixer.function(self.native(x_BCHW), *args, **kwargs)
        y = y[0] if isinstance(y, tuple) else y
        if self.layout == "NCHW":
            return y
        if self.layout == "NHWC":
            return y.permute(0, 3, 1, 2)
        if self.mixer.tokens_last:
            y = y.transpose(1, 2)
        extra = 0 if self.prefix is None else self.prefix.shape[1]
        return y[:, extra:].transpose(1, 2).unflatten(2, self.grid)

    def map_of(self, output: Any) -> Tensor | None:
        """The output of a module on the same tokens as (B, C, H, W); None if it is no such map."""
        if not isinstance(output, Tensor):
            return None
        height, width = self.grid
        if output.ndim == 4:
            first, last = output.shape[2:] == self.grid, output.shape[1:3] == self.grid
            if first and (self.layout != "NHWC" or not last):
                return output
            return output.permute(0, 3, 1, 2) if last else None
        extra = 0 if self.prefix is None else self.prefix.shape[1]
        if output.ndim == 3 and output.shape[1] == extra + height * width:
            return output[:, extra:].transpose(1, 2).unflatten(2, self.grid)
        return None


def stage_of(name: str) -> int:
    """Number of the stage, from 1, that a module's name speaks of; 1 if it speaks of none.

    Example:
        >>> stage_of("stages.2.blocks.4.conv_dw"), stage_of("layer3.1.conv2"), stage_of("blocks.7")
        (3, 3, 1)
    """
    for pattern, first in ((r"stages?[._](\d+)", 1), (r"layers?[._](\d+)\.", 1), (r"layer(\d)", 0)):
        if found := re.search(pattern, name):
            return int(found.group(1)) + first
    # EfficientNets nest blocks.STAGE.BLOCK
    found = re.match(r"blocks\.(\d+)\.\d+(\.|$)", name)
    return int(found.group(1)) + 1 if found else 1


def find_mixers(model: nn.Module) -> list[TokenMixer]:
    """The token mixers of a network, from its first block to its last.

    Looked for in this order, the first kind found being taken: SPANetV2's and timm's modules of
    known names (``token_mixer``, ``attn``, ``conv_dw``, ...) and windowed attention of Swin and
    MaxViT; depthwise convolutions; convolutions of stride 1 with as many outputs as inputs.

    Args:
        model: any network.

    Returns:
        At least one mixer.

    Raises:
        UserError: none was found.
    """
    found = list(_named(model))
    if not found:
        convs = [
            (name, module)
            for name, module in _plain_modules(model)
            if isinstance(module, nn.Conv2d)
            and max(module.kernel_size) > 1
            and module.stride == (1, 1)
            and module.in_channels == module.out_channels
        ]
        depthwise = [(n, m) for n, m in convs if m.groups == m.in_channels > 1]
        found = [_plain(name, module) for name, module in depthwise or convs]
    if not found:
        raise UserError(
            f"got a {type(model).__name__} without a token mixer that is known here (attention, "
            "token_mixer, or a convolution of stride 1 over a grid); expected a network with "
            "spatial maps or image tokens"
        )
    return found


def _plain_modules(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Names and modules, without what compilation puts around some of them and into their names."""
    for name, module in unwrapped(model).named_modules():
        if unwrapped(module) is module:
            yield ".".join(part for part in name.split(".") if part != _COMPILED), module


def _named(model: nn.Module) -> Iterable[TokenMixer]:
    taken: list[str] = []
    for name, module in _plain_modules(model):
        if any(name.startswith(parent + ".") for parent in taken):
            continue
        method = next((m for m in _WINDOWED if callable(getattr(module, m, None))), None)
        norm = getattr(module, "norm1", None)
        if method is not None and isinstance(norm, nn.Module):
            norm = unwrapped(norm)
            taken.append(name)
            before = type(module).__name__ in _POST_NORM
            yield TokenMixer(
                name=f"{name}.{method}",
                block=name,
                kind="attention",
                stage=stage_of(name),
                module=module,
                function=getattr(module, method),
                source=module if before else norm,
                capture="input" if before else "output",
            )
            continue
        # The first of the names that this block has; se, gates and the like are not its mixer.
        for child in _NAMES:
            mixer = getattr(module, child, None)
            if not isinstance(mixer, nn.Module) or isinstance(mixer, nn.Identity):
                continue
            mixer = unwrapped(mixer)
            if child == "conv_dw" and not _spatial(mixer):
                continue
            if child in ("attn", "mixer") and hasattr(module, "conv2"):
                continue  # squeeze-and-excitation and its like in residual networks
            place = f"{name}.{child}" if name else child
            taken.append(place)
            yield _plain(place, mixer)
            break


def _spatial(module: nn.Module) -> bool:
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    return bool(convs) and all(m.stride == (1, 1) and max(m.kernel_size) > 1 for m in convs)


def _plain(name: str, module: nn.Module) -> TokenMixer:
    return TokenMixer(
        name=name,
        block=name.rpartition(".")[0],
        kind=_kind(name, module),
        stage=stage_of(name),
        module=module,
        function=module,
        source=module,
        capture="input",
        tokens_last=name.rpartition(".")[2] in _TOKENS_LAST,
    )


def _kind(name: str, module: nn.Module) -> str:
    inner = module.inner if isinstance(module, ChannelsFirst) else module
    kind = type(inner).__name__.lower()
    if isinstance(module, SPAM):
        return "spam"
    if "attn" in kind or "attention" in kind or "attn" in name.rpartition(".")[2]:
        return "attention"
    if "pool" in kind:
        return "pooling"
    if name.rpartition(".")[2] in _TOKENS_LAST:
        return "mlp"
    if any(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in module.modules()):
        return "convolution"
    return "other"


@torch.inference_mode(False)  # tensors of that mode take no part in the backward passes of probes
def record_calls(
    model: nn.Module, mixers: Iterable[TokenMixer], images_BCHW: Tensor
) -> tuple[list[MixerCall], list[Gap]]:
    """Run the network once and keep what every token mixer got.

    Args:
        model: the network; it is run in evaluation mode and left in its own.
        mixers: from ``find_mixers``.
        images_BCHW: normalised images; they are brought to the model's device and dtype.

    Returns:
        A call per mixer that maps a grid to the same grid, and a gap for each of the others.
    """
    model, mixers = unwrapped(model), list(mixers)
    images_BCHW = feed(model, images_BCHW)
    inputs: dict[str, tuple[Tensor, tuple[Any, ...], dict[str, Any]]] = {}
    maps: dict[str, tuple[tuple[int, int], ...]] = {}
    log = MapLog(model, images_BCHW)
    handles = []
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
                if isinstance(output, Tensor):
                    inputs.setdefault(mixer.name, (output.detach(), (), {}))
            elif args and isinstance(args[0], Tensor):
                own = mixer.source is mixer.module and mixer.function is mixer.module
                first = args[0].detach()
                call = (first, args[1:], kwargs) if own else (first, (), {})
                inputs.setdefault(mixer.name, call)

        handles.append(mixer.source.register_forward_pre_hook(before))
        handles.append(mixer.source.register_forward_hook(keep, with_kwargs=True))
    try:
        with torch.no_grad(), measuring(model), log:
            model(images_BCHW)
    finally:
        for handle in handles:
            handle.remove()
    calls, gaps = [], []
    for mixer in mixers:
        if mixer.name not in inputs:
            gaps.append(Gap(mixer.name, "it is not called in a forward pass of its own"))
            continue
        x, args, kwargs = inputs[mixer.name]
        batch, before_it = images_BCHW.shape[0], maps[mixer.name]
        outcome = _as_call(model, mixer, x, (args, kwargs), batch, before_it)
        if isinstance(outcome, MixerCall):
            calls.append(outcome)
        else:
            gaps.append(Gap(mixer.name, outcome))
    return calls, gaps


def _as_call(
    model: nn.Module,
    mixer: TokenMixer,
    x: Tensor,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    batch: int,
    maps: tuple[tuple[int, int], ...],
) -> MixerCall | str:
    """The call as a function of maps, or the reason why there is none."""
    around = [mixer.module, *owners(model, mixer.block)]
    if (kind := reordered(around)) is not None:
        return f"{kind} keeps its tokens in an order of its own"
    if x.shape[0] != batch:
        return (
            f"it works on {x.shape[0]} parts of {batch} images, which no adapter here puts together"
        )
    prefix = None
    if x.ndim == 4:
        layout = layout_of(mixer.module, x)
        if layout is None:
            return f"nothing tells which axis of its input {tuple(x.shape)} holds the channels"
        x_BCHW = x if layout == "NCHW" else x.permute(0, 3, 1, 2)
    elif x.ndim == 3:
        layout = "NSC"
        x_BSC = x.transpose(1, 2) if mixer.tokens_last else x
        args, kwargs = arguments
        hint = kwargs.get("feat_size", args[0] if args else None)
        hint = hint if isinstance(hint, list | tuple) else None
        found = sequence_grid(model, x_BSC.shape[1], hint, maps=maps, within=around)
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
        arguments=arguments,
    )
    try:
        with torch.no_grad():
            y_BCHW = call(call.x)
    except Exception as error:
        return f"it could not be called alone ({first_line(error)})"
    if y_BCHW.shape != call.x.shape:
        before, after = tuple(call.x.shape[1:]), tuple(y_BCHW.shape[1:])
        return f"it maps {before} (channels, rows, columns) to {after}, not to the same grid"
    return call
