"""From the key names of the authors' checkpoints to this package's.

The authors' files come in two forms, which their filters tell apart: ``interleaved`` with one
filter per head (``filter_1`` .. ``filter_4``), and ``concatenated`` with one filter for all heads
and a slope ``scale.alpha`` that is exactly 1 where the plain sigmoid was trained.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.layers.downsampling import conv_output_size
from spanetv2.ops.spectral_rescale import resize_theta

__all__ = [
    "averaged_part",
    "checkpoint_filter_fn",
    "fit_prefix",
    "grid_to_image",
    "in_single_precision",
    "is_native",
    "is_spanetv2",
    "resize_filters",
    "strip_wrapping",
    "to_native",
]

# Where a checkpoint holds averaged weights beside the last ones, those are taken, as timm does it.
_AVERAGED = ("state_dict_ema", "model_ema")
_WRAPPERS = (*_AVERAGED, "state_dict", "model", "model_state_dict")
# The same for a training checkpoint of this package, by the names of its parts.
_PREFIXES = ("ema.module.", "net.", "module.", "_orig_mod.", "model.", "backbone.")
_AUTHORS_MARK = "downsample_layers.0.conv.weight"
_NATIVE_MARK = "stem.conv.weight"
_MARKS = (_AUTHORS_MARK, _NATIVE_MARK)

# Applied in order; every authors' name matches exactly one rule.
_RENAMES = [
    (r"^downsample_layers\.0\.conv\.", "stem.conv."),
    (r"^downsample_layers\.0\.post_norm\.", "stem.norm."),
    (r"^downsample_layers\.(\d+)\.pre_norm\.", r"stages.\1.downsample.norm."),
    (r"^downsample_layers\.(\d+)\.conv\.", r"stages.\1.downsample.conv."),
    (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"^norm(\d)\.", r"feature_norms.\1."),
    (r"^norm\.", "head.norm."),
    (r"^head\.(fc1|fc2|norm)\.", r"head.fc.\1."),
]
_MIXER_RENAMES = {
    "query.0.weight": "query.weight",
    "ctx.weight": "context.weight",
    "proj.1.weight": "proj.norm.weight",
    "proj.1.bias": "proj.norm.bias",
    "proj.3.weight": "proj.mix.weight",
    "proj_out.weight": "out.weight",
    "scale.alpha": "spectral.alpha",
    "filter": "spectral.theta",
}


def averaged_part(content: Mapping[str, Any]) -> str | None:
    """The key under which a training checkpoint holds averaged weights beside the last ones.

    Example:
        >>> averaged_part({"state_dict": {"a": 1}, "state_dict_ema": {"a": 2}})
        'state_dict_ema'
        >>> averaged_part({"state_dict": {"a": 1}, "state_dict_ema": None}) is None
        True
    """
    found = (key for key in _AVERAGED if isinstance(content.get(key), Mapping) and content[key])
    return next(found, None)


def strip_wrapping(
    content: Mapping[str, Any], prefixes: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Find the state dict inside a checkpoint and take common prefixes off its names.

    Args:
        content: a state dict, or a dict that holds one (``state_dict_ema`` and ``model_ema`` before
            ``state_dict``, ``model``) beside other things; the names of the network may all start
            alike (``module.``, ``encoder.model.``, ...), and whatever starts otherwise is left out.
        prefixes: take off the first of these that occurs, and no other; for models that are more
            than a backbone.

    Returns:
        A plain state dict.

    Raises:
        UserError: there are no tensors, or several networks.
    """
    state: Mapping[str, Any] = content
    for wrapper in _WRAPPERS:
        inner = state.get(wrapper)
        if isinstance(inner, Mapping) and inner:
            state = inner
            break
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        found = ", ".join(list(map(str, content))[:5]) or "nothing"
        raise UserError(
            f"got a file without model weights (it holds {found}), expected a state dict"
        )
    if prefixes is not None:
        return _inside_first(tensors, prefixes) or tensors
    if (prefix := _network_prefix(tensors)) is not None:
        return _inside(tensors, prefix)
    # Networks of other mixers, and others' altogether, do not show where they begin.
    while not any(mark in tensors for mark in _MARKS):
        inside = _inside_first(tensors, _PREFIXES)
        if not inside:
            break
        tensors = inside
    return tensors


def _inside(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _inside_first(tensors: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    for prefix in prefixes:
        if inside := _inside(tensors, prefix):
            return inside
    return {}


def _network_prefix(tensors: Mapping[str, Tensor]) -> str | None:
    """What stands before the names of the SPANetV2 among others; None where there is none.

    Raises:
        UserError: there are several, none of which is the average of the others.
    """
    ends = [
        name.removesuffix(mark)
        for name in tensors
        for mark in _MARKS
        if name == mark or name.endswith(f".{mark}")
    ]
    found = [prefix for prefix in ends if is_spanetv2(_inside(tensors, prefix))]
    if not found or "" in found:
        return "" if found else None
    averaged = [prefix for prefix in found if "ema" in prefix.replace(".", "_").split("_")]
    found = averaged or found
    if len(found) > 1:
        raise UserError(
            f"got {len(found)} networks (their names start with {', '.join(found)}), expected one; "
            "save the state dict of the one that is meant"
        )
    return found[0]


def fit_prefix(state: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """Take what stands before a network's names off a state dict, if its names are there so.

    Args:
        state: name -> tensor, of any network.
        expected: names that the network must have.

    Returns:
        The part of the state dict that the network is; all of it where no prefix fits.

    Example:
        >>> state = {"encoder.model.fc.bias": torch.zeros(1), "decoder.bias": torch.zeros(1)}
        >>> list(fit_prefix(state, ["fc.bias"]))
        ['fc.bias']
    """
    first = next(iter(expected), None)
    if first is None or first in state:
        return dict(state)
    ends = (name.removesuffix(first) for name in state if name.endswith(f".{first}"))
    whole = [prefix for prefix in ends if all(prefix + name in state for name in expected)]
    return _inside(state, whole[0]) if len(whole) == 1 else dict(state)


def in_single_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose half precision numbers are float32, as small files store them.

    Example:
        >>> state = {"a": torch.zeros(1, dtype=torch.float16), "n": torch.zeros(1, dtype=torch.int)}
        >>> [value.dtype for value in in_single_precision(state).values()]
        [torch.float32, torch.int32]
    """
    halves = (torch.float16, torch.bfloat16)
    return {
        name: value.float() if value.dtype in halves else value for name, value in state.items()
    }


def is_native(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has this package's names (a MetaFormer's stem has the same name)."""
    return _NATIVE_MARK in state and any(".token_mixer.context." in name for name in state)


def is_spanetv2(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a SPANetV2's, with this package's names or the authors'."""
    return is_native(state) or (
        _AUTHORS_MARK in state and any(".token_mixer.ctx." in name for name in state)
    )


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name


def to_native(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Any supported checkpoint as a state dict with this package's names.

    Args:
        content: what a file holds: the authors' state dict of either form, raw, wrapped or
            prefixed, or this package's own.

    Returns:
        A state dict; tensors are shared with the input except the merged filters.

    Raises:
        UserError: not a SPANetV2 checkpoint.
    """
    state = strip_wrapping(content)
    if is_native(state):
        return dict(state)
    if not is_spanetv2(state):
        first = ", ".join(list(state)[:3])
        raise UserError(
            f"got a state dict that is not SPANetV2's (its first names: {first}), expected the "
            "authors' names (downsample_layers...) or this package's (stem..., stages...)"
        )
    slopes = [value for name, value in state.items() if name.endswith("scale.alpha")]
    # A plain sigmoid never trains its slope: it stays at exactly 1 in every mixer.
    scaled = any(bool((slope != 1).any()) for slope in slopes)
    native: dict[str, Tensor] = {}
    for name, value in state.items():
        before, mixer, rest = _rename(name).partition(".token_mixer.")
        if not mixer:
            native[before] = value
            continue
        base = before + mixer
        order = "interleaved" if f"{_authors_base(name)}filter_1" in state else "concatenated"
        if local := re.fullmatch(r"local_convs?[._](\d+)\.(weight|bias)", rest):
            head = int(local[1]) - (order == "interleaved")
            native[f"{base}local_convs.{head}.{local[2]}"] = value
        elif rest == "filter_1":
            heads = [state.get(f"{_authors_base(name)}filter_{i}") for i in (1, 2, 3, 4)]
            if any(head is None for head in heads):
                raise UserError(f"got a checkpoint with some of {base}filter_1..4 missing")
            native[f"{base}spectral.theta"] = torch.cat([h for h in heads if h is not None])
        elif rest in ("filter_2", "filter_3", "filter_4"):
            continue
        elif rest == "proj.0.weight" and f"{_authors_base(name)}ctx.weight" in state:
            native[f"{base}proj.grouped_{order}.weight"] = value
        elif rest == "scale.alpha" and not scaled:
            continue
        else:
            native[base + _MIXER_RENAMES.get(rest, rest)] = value
    return native


def _authors_base(name: str) -> str:
    return name[: name.index("token_mixer.") + len("token_mixer.")]


def resize_filters(
    state: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Resize spectral filters whose grid differs from the one expected.

    Returns:
        The state dict and the names of the resized filters.
    """
    state, resized = dict(state), []
    for name, value in state.items():
        target = expected.get(name)
        if not name.endswith("spectral.theta") or target is None or value.ndim != 3:
            continue
        if value.shape != target.shape and value.shape[0] == target.shape[0]:
            # The half spectrum of width K belongs to 2K - 2 columns (and to 2K - 1 alike).
            state[name] = resize_theta(value, target.shape[1], 2 * target.shape[2] - 2).to(value)
            resized.append(name)
    return state, resized


def checkpoint_filter_fn(content: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """timm's hook: any supported checkpoint, fitted to a model's grid.

    Norms that a dense backbone adds to a classification checkpoint keep their initial values.
    """
    expected = model.state_dict()
    state, _ = resize_filters(in_single_precision(to_native(content)), expected)
    for name, value in expected.items():
        if name.startswith("feature_norms."):
            state.setdefault(name, value)
    if not any(name.startswith("feature_norms.") for name in expected):
        state = {k: v for k, v in state.items() if not k.startswith("feature_norms.")}
    return state


def grid_to_image(
    halves: Mapping[int, tuple[int, int]], kernel: int, stride: int, padding: int
) -> tuple[int, int]:
    """The image size, a multiple of the stride, whose stages have the given half spectra.

    K columns of a half spectrum belong to 2K - 2 tokens and to 2K - 1 alike. The other stages
    often tell which, as each has half the tokens of the one before, rounded up; where all of them
    leave it open, the filters are the same for both. The square grid is taken where it fits, then
    the even one.

    Args:
        halves: rows and columns of the half spectrum by stage, from 0, of the stages with filters.
        kernel: side of the stem's kernel in pixels.
        stride: of the stem, in pixels.
        padding: of the stem, in pixels.

    Example: the last stage of (32, 36) has 1 x 2 tokens, that of (32, 32) one.
        >>> grid_to_image({0: (8, 5), 1: (4, 3), 2: (2, 2), 3: (1, 2)}, 7, 4, 2)
        (32, 36)
        >>> grid_to_image({0: (8, 5), 1: (4, 3), 2: (2, 2), 3: (1, 1)}, 7, 4, 2)
        (32, 32)
    """
    first = min(halves)
    known = halves[first]
    rows = _tokens_before(known[0], first)
    columns = [n for last in _widths(known[1]) for n in _tokens_before(last, first)]
    rows = [n for n in rows if all(_tokens_after(n, i) == half[0] for i, half in halves.items())]
    fitting = [
        n
        for n in columns
        if all(_tokens_after(n, i) // 2 + 1 == half[1] for i, half in halves.items())
    ]
    # Filters that no image fits were resized by hand: the first of them counts.
    rows, columns = rows or _tokens_before(known[0], first), fitting or columns
    grid = next(((n, n) for n in rows if n in columns), (rows[0], columns[0]))
    sizes = []
    for tokens in grid:
        size = tokens * stride
        assert conv_output_size(size, kernel, stride, padding) == tokens
        sizes.append(size)
    return sizes[0], sizes[1]


def _widths(columns: int) -> list[int]:
    """Tokens a side whose half spectrum has so many columns, the even number first."""
    return [n for n in (2 * columns - 2, 2 * columns - 1) if n > 0]


def _tokens_after(tokens: int, stages: int) -> int:
    """Tokens a side that are left of so many after a number of stages' downsampling."""
    for _ in range(stages):
        tokens = conv_output_size(tokens, 3, 2, 1)
    return tokens


def _tokens_before(tokens: int, stages: int) -> list[int]:
    """Tokens a side of the first stage that leave so many after others, the most first."""
    most = tokens * 2**stages
    return [n for n in range(most, 0, -1) if _tokens_after(n, stages) == tokens]
