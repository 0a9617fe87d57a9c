"""Finding the token mixers of a network.

A token mixer is what lets the tokens of a block see each other: attention, a depthwise convolution,
pooling, SPAM.
"""

import dataclasses
import re
from collections.abc import Iterable

from torch import Tensor, nn

from spanetv2.analysis.arrays import Gap
from spanetv2.analysis.mixer_call import MixerCall, TokenMixer
from spanetv2.analysis.mixing import Mixing, listen, uncompiled_names
from spanetv2.analysis.network import unwrapped
from spanetv2.analysis.recording import record_calls
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM, ChannelsFirst, DynamicFilter

__all__ = ["find_mixers", "record_calls", "stage_of", "token_mixers"]

_NOTHING = (
    "got a {} without a token mixer that is known here (attention, token_mixer, a convolution or "
    "pooling of stride 1, a linear layer along tokens); expected a network with spatial maps or "
    "image tokens"
)
# The name of the mixer within its block, as timm's networks call it; the first that a block has.
_NAMES = ("token_mixer", "attn", "mixer", "conv_dw", "mlp_tokens", "linear_tokens", "rnn_tokens")
# Blocks whose attention works on windows that the block itself cuts: method, and what feeds it.
_WINDOWED = ("_attn", "_partition_attn", "_shifted_window_attn")
# Those that normalise after the attention, so that the block's input is the attention's.
_POST_NORM = ("SwinTransformerV2Block", "SwinTransformerV2CrBlock")
_TOKENS_LAST = ("mlp_tokens", "linear_tokens")


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
    """The token mixers of a network that can be told by names and kinds of layers alone.

    SPANetV2's and timm's modules of known names (``token_mixer``, ``attn``, ``conv_dw``, ...) and
    windowed attention of Swin and MaxViT; where there are none, depthwise convolutions, or else
    convolutions of stride 1 with as many outputs as inputs. ``token_mixers`` finds more.

    Args:
        model: any network.

    Returns:
        At least one mixer, in the order of the network's modules.

    Raises:
        UserError: none was found.
    """
    found = list(_named(model))
    if not found:
        convs = [
            (name, module)
            for name, module in uncompiled_names(model)
            if isinstance(module, nn.Conv2d)
            and max(module.kernel_size) > 1
            and module.stride == (1, 1)
            and module.in_channels == module.out_channels
        ]
        depthwise = [(n, m) for n, m in convs if m.groups == m.in_channels > 1]
        found = [_plain(name, module) for name, module in depthwise or convs]
    if not found:
        raise UserError(_NOTHING.format(type(unwrapped(model)).__name__))
    return found


def token_mixers(model: nn.Module, images_BCHW: Tensor) -> tuple[list[MixerCall], list[Gap]]:
    """Every token mixer at the input that images give it, and what was seen but not taken.

    Those with names that ``find_mixers`` knows, and every other module that joins places without
    changing the grid, whatever it is called, as ``spanetv2.analysis.mixing`` hears it.

    Args:
        model: the network; it is run in evaluation mode and left in its own.
        images_BCHW: normalised images; they are brought to the model's device and dtype.

    Returns:
        A call per mixer that maps a grid to the same grid, and a gap for the others; those of one
        reason share one.

    Raises:
        UserError: nothing in it is known to mix tokens.
    """
    mixers, gaps = _with_heard(model, list(_named(model)), listen(model, images_BCHW[:1]))
    if not mixers and not gaps:
        raise UserError(_NOTHING.format(type(unwrapped(model)).__name__))
    calls, more = record_calls(model, mixers, images_BCHW)
    together: dict[str, list[str]] = {}
    for gap in [*more, *gaps]:
        together.setdefault(gap.reason, []).append(gap.part)
    return calls, [Gap(shorten_list(parts), reason) for reason, parts in together.items()]


def shorten_list(names: list[str]) -> str:
    """The first of some names, and how many follow.

    Example:
        >>> shorten_list(["a"]), shorten_list(["a", "b", "c"])
        ('a', 'a and 2 more')
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _with_heard(
    model: nn.Module, named: list[TokenMixer], heard: list[Mixing]
) -> tuple[list[TokenMixer], list[Gap]]:
    """The named mixers and those heard outside them, in the order of the network's modules."""
    covered = [m.name if m.function is m.module else m.block for m in named]
    new = [m for m in heard if not any(_inside(m.place, place) for place in covered)]
    local = ("convolution", "pooling")
    apart = [*covered, *(m.place for m in new if m.kind not in local)]
    owners = [
        m for m in new if not any(place != m.place and _inside(place, m.place) for place in apart)
    ]
    gaps = [
        Gap(m.place or "the network", "its own code joins tokens, around other mixers inside it")
        for m in new
        if m not in owners
    ]
    # What joins tokens in its own code owns the convolutions inside it.
    whole = [m.place for m in owners if m.kind not in local]
    found = [
        _plain(m.place, m.module, m.kind)
        for m in owners
        if not any(m.place != place and _inside(m.place, place) for place in whole)
    ]
    named = [
        dataclasses.replace(m, kind=heard_kind)
        if m.kind == "other" and (heard_kind := _heard_in(m.name, heard))
        else m
        for m in named
    ]
    blocks = {m.block for m in [*named, *found] if m.kind not in local}
    found = [dataclasses.replace(m, block=_block(m, blocks)) for m in found]
    order = {name: number for number, (name, _) in enumerate(uncompiled_names(model))}
    place = {m.name: m.name if m.function is m.module else m.block for m in [*named, *found]}
    return sorted([*named, *found], key=lambda mixer: order[place[mixer.name]]), gaps


def _heard_in(place: str, heard: list[Mixing]) -> str:
    """What was heard in a module, the most telling first; "" for nothing."""
    kinds = [m.kind for m in heard if _inside(m.place, place)]
    order = ("attention", "fourier", "recurrent", "mlp", "convolution", "pooling")
    return min(kinds, key=order.index, default="")


def _inside(place: str, outer: str) -> bool:
    """Whether a module is another one or lies in it."""
    return place == outer or place.startswith(outer + ".") or not outer


def _block(mixer: TokenMixer, blocks: set[str]) -> str:
    """The block of an attention or the like that a convolution lies in, or its own."""
    around = [block for block in blocks if block and _inside(mixer.name, block)]
    return max(around, key=len, default=mixer.block)


def _named(model: nn.Module) -> Iterable[TokenMixer]:
    taken: list[str] = []
    for name, module in uncompiled_names(model):
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


def _plain(name: str, module: nn.Module, kind: str = "") -> TokenMixer:
    return TokenMixer(
        name=name,
        block=name.rpartition(".")[0],
        kind=kind or _kind(name, module),
        stage=stage_of(name),
        module=module,
        function=module,
        source=module,
        capture="input",
        tokens_last=kind == "mlp" or name.rpartition(".")[2] in _TOKENS_LAST,
    )


def _kind(name: str, module: nn.Module) -> str:
    inner = module.inner if isinstance(module, ChannelsFirst) else module
    kind = type(inner).__name__.lower()
    if isinstance(module, SPAM):
        return "spam"
    if isinstance(module, DynamicFilter):
        return "fourier"
    if "attn" in kind or "attention" in kind or "attn" in name.rpartition(".")[2]:
        return "attention"
    if "pool" in kind:
        return "pooling"
    if name.rpartition(".")[2] in _TOKENS_LAST:
        return "mlp"
    if any(isinstance(m, nn.RNNBase) for m in module.modules()):
        return "recurrent"
    if any(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in module.modules()):
        return "convolution"
    return "other"
