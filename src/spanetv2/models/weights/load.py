"""Loading weights into a model: all or nothing."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.models.backbone import SPANetV2
from spanetv2.models.weights.compare import classifier_prefixes, compare_states
from spanetv2.models.weights.convert import averaged_part, fit_prefix, resize_filters, to_native
from spanetv2.models.weights.describe import describe
from spanetv2.models.weights.read import CheckpointSource, read_checkpoint

__all__ = ["LoadReport", "load_weights"]

_logger = logging.getLogger("spanetv2")
_CLASSIFIER = "head.fc.fc2."


@dataclass(kw_only=True)
class LoadReport:
    """What happened when weights were loaded."""

    kept: list[str] = field(default_factory=list)
    """parameters of the model that the weights lack and that kept their values"""
    left_out: list[str] = field(default_factory=list)
    """weights that the model has no place for"""
    resized: list[str] = field(default_factory=list)
    """spectral filters that were resized to the model's grid"""
    messages: list[str] = field(default_factory=list)
    """what was resized, kept and left out, in sentences"""


def _explain(model: nn.Module, state: Mapping[str, Tensor]) -> str:
    if not isinstance(model, SPANetV2):
        return ""
    try:
        found = describe(state)
        wanted = describe(model.state_dict())
    except UserError:
        return ""
    if found.head_order != wanted.head_order:
        return (
            f"the weights are of head_order={found.head_order!r}, the model of "
            f"{wanted.head_order!r}, and one is meaningless in the other; "
        )
    if found.gate != wanted.gate:
        return f"the weights are of gate={found.gate!r}, the model of {wanted.gate!r}; "
    if (found.depths, found.dims, found.mixers) != (wanted.depths, wanted.dims, wanted.mixers):
        names = [d.variant or f"depths {d.depths}, channels {d.dims}" for d in (found, wanted)]
        return f"the weights are {names[0]}, the model is {names[1]}; "
    if found.stem_stride != wanted.stem_stride:
        strides = found.stem_stride, wanted.stem_stride
        return f"the weights are of stem_stride={strides[0]}, the model of {strides[1]}; "
    return ""


def _fit(
    model: nn.Module, state: dict[str, Tensor], expected: Mapping[str, Tensor], report: LoadReport
) -> dict[str, Tensor]:
    """Settle the differences that are meant to be bridged; the caller refuses the rest."""
    state, report.resized = resize_filters(state, expected)
    if report.resized:
        report.messages.append(
            f"{len(report.resized)} spectral filters resized to the model's grid"
        )
    stem = "stem.conv.weight"
    if isinstance(model, SPANetV2) and stem in state:
        weight, target = state[stem], expected[stem]
        fits = weight.ndim == target.ndim and weight.shape[::2] == target.shape[::2]
        if fits and weight.shape[1] != target.shape[1]:
            channels = weight.shape[1]
            try:
                state[stem] = adapt_input_conv(target.shape[1], weight, base_chans=channels)
            except NotImplementedError:
                pass  # reported as a shape difference
            else:
                report.messages.append(
                    f"the stem was adapted from {channels} to {target.shape[1]} input channels"
                )
    classes = {
        k: s[_CLASSIFIER + "bias"].shape[0]
        for k, s in (("file", state), ("model", expected))
        if _CLASSIFIER + "bias" in s and s[_CLASSIFIER + "bias"].ndim == 1
    }
    if len(classes) == 2 and classes["file"] != classes["model"]:
        for name in (_CLASSIFIER + "weight", _CLASSIFIER + "bias"):
            if name in state:
                report.left_out.append(name)
                report.kept.append(name)
                state[name] = expected[name]
        report.messages.append(
            f"the last layer of the classifier was left out: the weights have {classes['file']} "
            f"classes, the model {classes['model']}"
        )
    for part, prefixes in (
        ("the classifier", ("head.",)),
        ("the norms of the stages' outputs", ("feature_norms.",)),
    ):
        inside = [name for name in expected if name.startswith(prefixes)]
        given = [name for name in state if name.startswith(prefixes)]
        if inside and not given:
            report.kept += inside
            state |= {name: expected[name] for name in inside}
            report.messages.append(f"{part} is not in the weights and kept its values")
        extra = [name for name in given if name not in expected]
        # A model without the part (no classifier, no norms) drops it; one with it must match.
        whole = "head.fc." if part == "the classifier" else "feature_norms."
        if extra and not any(name.startswith(whole) for name in expected):
            report.left_out += extra
            state = {name: value for name, value in state.items() if name not in extra}
            report.messages.append(f"{part} of the weights was left out: the model has none")
    return state


def load_weights(
    model: nn.Module,
    source: CheckpointSource | Mapping[str, Any],
    *,
    gate: str | None = None,
) -> LoadReport:
    """Load weights into a model; on any error the model stays as it was.

    Recognised are the authors' interleaved and concatenated checkpoints, raw, wrapped or prefixed,
    dense ones with ``norm0`` .. ``norm3``, and this package's own files. Bridged, and said in the
    report: another number of classes (the last layer is left out), another input size (spectral
    filters are resized), a missing or superfluous classifier or set of norms, and another number of
    input channels (as timm does it).

    Args:
        model: the model to load into.
        source: a file, a run folder, a state dict, or what ``read_checkpoint`` gave.
        gate: "sigmoid" ignores the slopes of the spectral filters in the weights, for files that
            were trained without using them.

    Returns:
        What was resized, kept and left out; the messages are logged as well.

    Raises:
        UserError: unreadable file, other variant, other head order or gate, missing or unexpected
            weights; the message names the first differences.
    """
    averaged = None
    if isinstance(source, Mapping):
        where, state = "state dict", dict(source)
        if isinstance(model, SPANetV2):
            averaged = averaged_part(source)
            state = to_native(source)
    else:
        checkpoint = read_checkpoint(source)
        where, state = str(checkpoint.path), dict(checkpoint.state_dict)
        if isinstance(model, SPANetV2) and checkpoint.source == "other":
            raise UserError(
                f"{where}: weights of {checkpoint.model_name or 'another network'} "
                f"(first name: {next(iter(state))}), expected a SPANetV2"
            )
    expected = model.state_dict()
    if not isinstance(model, SPANetV2):
        heads = classifier_prefixes(model)
        state = fit_prefix(state, [name for name in expected if not name.startswith(heads)])
    if not any(name.endswith("spectral.alpha") for name in state):
        # A slope of 1 is the plain sigmoid: such weights fit a scaled gate as they are.
        state |= {k: torch.ones(1) for k in expected if k.endswith("spectral.alpha")}
    report = LoadReport()
    if averaged is not None:
        report.messages.append(f"the averaged weights ({averaged}) are taken, as timm does")
    if gate == "sigmoid":
        slopes = [name for name in state if name.endswith("spectral.alpha")]
        if slopes:
            state = {name: value for name, value in state.items() if name not in slopes}
            report.left_out += slopes
            report.messages.append(
                'the slopes of the spectral filters were ignored (gate="sigmoid")'
            )
    state = _fit(model, state, expected, report)
    if difference := compare_states(state, expected):
        raise UserError(
            f"{where}: the weights do not fit the model, which was left as it was; "
            f"{_explain(model, state)}{difference.explain()}"
        )
    model.load_state_dict(state)
    for message in report.messages:
        _logger.warning("%s: %s", where, message)
    return report
