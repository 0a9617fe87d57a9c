"""From this package's names back to the authors': the inverse of ``convert``."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.models.weights.convert import to_native
from spanetv2.models.weights.describe import describe

__all__ = ["to_authors"]

_HEADS = 4
_MIXERS = ("spam", "mixed_attention", "attention")
# Applied in order; every name of ours matches at most one rule.
_RENAMES = [
    (r"^stem\.conv\.", "downsample_layers.0.conv."),
    (r"^stem\.norm\.", "downsample_layers.0.post_norm."),
    (r"^stages\.(\d+)\.downsample\.norm\.", r"downsample_layers.\1.pre_norm."),
    (r"^stages\.(\d+)\.downsample\.conv\.", r"downsample_layers.\1.conv."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.", r"stages.\1.\2."),
    (r"^feature_norms\.(\d)\.", r"norm\1."),
    (r"^head\.norm\.", "norm."),
    (r"^head\.fc\.", "head."),
]
_SPAM_RENAMES = {
    "query.weight": "query.0.weight",
    "context.weight": "ctx.weight",
    "proj.norm.weight": "proj.1.weight",
    "proj.norm.bias": "proj.1.bias",
    "proj.mix.weight": "proj.3.weight",
    "proj.grouped_interleaved.weight": "proj.0.weight",
    "proj.grouped_concatenated.weight": "proj.0.weight",
    "out.weight": "proj_out.weight",
    "spectral.alpha": "scale.alpha",
}


def to_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A SPANetV2's weights under the names that the authors' code loads.

    ``to_native`` of the result gives the weights back, bit for bit. The interleaved form has a
    filter for each head, the concatenated form one for all and a slope, which is 1 where the gate
    is the plain sigmoid.

    Args:
        state: a state dict with this package's names or the authors', of a classifier, or of a
            model of another task around a backbone, of which the backbone is taken.

    Returns:
        The state dict; tensors are shared with the input where nothing changes but the name.

    Raises:
        UserError: not a SPANetV2, or one that the authors' networks have no form for.
    """
    native = to_native(state)
    found = describe(native)
    if other := [mixer for mixer in found.mixers if mixer not in _MIXERS]:
        raise UserError(
            f"got a network with token mixer {other[0]}, for which the authors' files have no "
            f"names; expected {', '.join(_MIXERS)} in every stage"
        )
    concatenated = found.head_order == "concatenated"
    slopes = [value for name, value in native.items() if name.endswith("spectral.alpha")]
    if not concatenated and any(bool((slope != 1).any()) for slope in slopes):
        raise UserError(
            "got interleaved heads with a scaled sigmoid; the authors' interleaved form has no "
            "slope, so that their code cannot compute this network"
        )
    named: dict[str, Tensor] = {}
    for name, value in native.items():
        base, mixer, rest = _rename(name).partition(".token_mixer.")
        base += mixer
        spam = f"{name.partition('.token_mixer.')[0]}.token_mixer.context.weight" in native
        if not mixer or not spam:
            named[base + rest] = value
        elif rest == "spectral.theta" and concatenated:
            named[f"{base}filter"] = value
            named.setdefault(f"{base}scale.alpha", torch.ones(1, dtype=value.dtype))
        elif rest == "spectral.theta":
            for head, part in enumerate(value.chunk(_HEADS), start=1):
                named[f"{base}filter_{head}"] = part.contiguous()
        elif rest == "spectral.alpha" and not concatenated:
            continue
        elif not concatenated and (local := re.fullmatch(r"local_convs\.(\d)\.(\w+)", rest)):
            named[f"{base}local_conv_{int(local[1]) + 1}.{local[2]}"] = value
        else:
            named[base + _SPAM_RENAMES.get(rest, rest)] = value
    return named


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name
