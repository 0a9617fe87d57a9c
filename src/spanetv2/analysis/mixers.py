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

from spanetv2.analysis.arrays import Gap
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
# Networks whose sequences are not row by row: the index does not tell the place.
_REORDERED = ("Hiera", "HieraDet", "Nest", "NaFlexVit")


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
        """The mixer's output map, (B, C, H, W)."""
        args, kwargs = self.arguments
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
            for name, module in model.named_modules()
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


def _named(model: nn.Module) -> Iterable[TokenMixer]:
    taken: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(parent + ".") for parent in taken):
            continue
        method = next((m for m in _WINDOWED if callable(getattr(module, m, None))), None)
        norm = getattr(module, "norm1", None)
        if method is not None and isinstance(norm, nn.Module):
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


def record_calls(
    model: nn.Module, mixers: Iterable[TokenMixer], images_BCHW: Tensor
) -> tuple[list[MixerCall], list[Gap]]:
    """Run the network once and keep what every token mixer got.

    Args:
        model: the network, in evaluation mode.
        mixers: from ``find_mixers``.
        images_BCHW: normalised images on the model's device.

    Returns:
        A call per mixer that maps a grid to the same grid, and a gap for each of the others.
    """
    mixers = list(mixers)
    inputs: dict[str, tuple[Tensor, tuple[Any, ...], dict[str, Any]]] = {}
    handles = []
    for mixer in mixers:

        def keep(
            _: nn.Module,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            output: Any,
            mixer: TokenMixer = mixer,
        ) -> None:
            if mixer.capture == "output":
                inputs.setdefault(mixer.name, (output.detach(), (), {}))
            elif args and isinstance(args[0], Tensor):
                own = mixer.source is mixer.module and mixer.function is mixer.module
                first = args[0].detach()
                call = (first, args[1:], kwargs) if own else (first, (), {})
                inputs.setdefault(mixer.name, call)

        handles.append(mixer.source.register_forward_hook(keep, with_kwargs=True))
    try:
        with torch.no_grad():
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
        outcome = _as_call(model, mixer, x, (args, kwargs), images_BCHW.shape[0])
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
) -> MixerCall | str:
    """The call as a function of maps, or the reason why there is none."""
    if type(model).__name__ in _REORDERED:
        return f"{type(model).__name__} keeps its tokens in an order of its own"
    if x.shape[0] != batch:
        return (
            f"it works on {x.shape[0]} parts of {batch} images, which no adapter here puts together"
        )
    prefix = None
    if x.ndim == 4:
        layout = _layout(mixer.module, x)
        if layout is None:
            return f"nothing tells which axis of its input {tuple(x.shape)} holds the channels"
        x_BCHW = x if layout == "NCHW" else x.permute(0, 3, 1, 2)
    elif x.ndim == 3:
        layout = "NSC"
        x_BSC = x.transpose(1, 2) if mixer.tokens_last else x
        args, kwargs = arguments
        hint = kwargs.get("feat_size", args[0] if args else None)
        sized = isinstance(hint, list | tuple | torch.Size) and len(hint) == 2
        found = sequence_grid(model, x_BSC.shape[1], hint if sized else None)
        if found is None:
            return f"its {x_BSC.shape[1]} tokens are no square grid"
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
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"it could not be called alone ({first})"
    if y_BCHW.shape != call.x.shape:
        before, after = tuple(call.x.shape[1:]), tuple(y_BCHW.shape[1:])
        return f"it maps {before} (channels, rows, columns) to {after}, not to the same grid"
    return call


def sequence_grid(
    model: nn.Module, tokens: int, hint: Any = None
) -> tuple[int, tuple[int, int]] | None:
    """How many tokens stand before the grid's, and the grid (H, W); None where neither fits.

    Args:
        model: the network, asked for timm's ``num_prefix_tokens`` and ``patch_embed.grid_size``.
        tokens: length of the sequence.
        hint: (H, W) if the network passes it along.
    """
    known = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    for grid in (hint, known):
        if grid is not None and tokens >= int(grid[0]) * int(grid[1]):
            extra = tokens - int(grid[0]) * int(grid[1])
            if extra in (0, getattr(model, "num_prefix_tokens", 0)):
                return extra, (int(grid[0]), int(grid[1]))
    for extra in dict.fromkeys((getattr(model, "num_prefix_tokens", 0), 0)):
        side = round(max(tokens - extra, 0) ** 0.5)
        if side and side * side == tokens - extra:
            return extra, (side, side)
    return None


def _layout(module: nn.Module, x: Tensor) -> str | None:
    """NCHW or NHWC, as the module says or by the first layer as wide as one of the axes."""
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
    return "NCHW" if nn.Conv2d in kinds and nn.Linear not in kinds else None
