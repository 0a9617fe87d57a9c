"""``create_model`` and ``load_model``: one way in, for our variants and any other timm model."""

import difflib
from functools import partial
from typing import Any

import timm
import torch
from timm.models import is_model, list_models
from torch import nn

from spanetv2.arguments import check_network
from spanetv2.errors import UserError
from spanetv2.models import dfformer, registry  # noqa: F401 - registers the networks
from spanetv2.models.variants import PREFIX, VARIANTS
from spanetv2.models.weights.compare import build_described
from spanetv2.models.weights.describe import Description, describe
from spanetv2.models.weights.images import describe_itself
from spanetv2.models.weights.load import load_weights
from spanetv2.models.weights.read import Checkpoint, CheckpointSource, read_checkpoint
from spanetv2.models.weights.record import DEFAULT_TASK
from spanetv2.models.weights.shipped import ShippedWeights, find_shipped

__all__ = ["create_model", "load_model", "resolve_name"]


def resolve_name(name: str) -> str:
    """The timm name of a model: ours with or without ``spanetv2_``, or any other timm model.

    Raises:
        UserError: no such model; the message suggests close names. Or the name of weights of ours.

    Example:
        >>> resolve_name("s18_pure")
        'spanetv2_s18_pure'
    """
    if PREFIX + name in VARIANTS:
        return PREFIX + name
    if (weights := find_shipped(name)) is not None:
        raise UserError(
            f"got {weights.name}, which are weights, expected a model: give {weights.variant}, and "
            f"{weights.name} where weights are taken"
        )
    if is_model(name):
        return name
    known = [*VARIANTS, *(variant.removeprefix(PREFIX) for variant in VARIANTS), *list_models()]
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "see `spanetv2 models`"
    raise UserError(f"got model {name!r}, expected a SPANetV2 variant or a timm model; {hint}")


def _options(
    description: Description, checkpoint: Checkpoint, requested: dict[str, Any]
) -> dict[str, Any]:
    """Arguments a checkpoint asks for, where the caller gave none; contradictions are refused."""
    options = {
        "head_order": description.head_order,
        "gate": description.gate,
        "num_classes": description.num_classes,
        "in_chans": description.in_chans,
        "img_size": description.img_size,
        "stem_stride": description.stem_stride,
        "feature_norms": description.feature_norms,
    }
    for key in ("num_classes", "in_chans", "stem_stride", "depths", "dims"):
        recorded = checkpoint.model_kwargs.get(key)
        shown = getattr(description, key)
        shown = list(shown) if isinstance(shown, tuple) else shown
        if recorded is not None and recorded != shown:
            raise UserError(
                f"{checkpoint.path}: its record says {key} {recorded}, its weights have {shown}; "
                "the file contradicts itself"
            )
    options |= checkpoint.model_kwargs
    for key in ("head_order", "stem_stride"):
        wanted = requested.get(key)
        if wanted is None or wanted == options[key]:
            continue
        raise UserError(
            f"{checkpoint.path}: weights of {key}={options[key]!r}, got {key}={wanted!r}; "
            f"leave {key} out to take it from the file"
        )
    return options


def _classifier_name(shipped: ShippedWeights, checkpoint: object) -> str:
    """timm's name of weights in the package."""
    if shipped.task != DEFAULT_TASK:
        raise UserError(
            f"got {shipped.name}, weights of a {shipped.task} model, expected a classifier or a "
            "variant alone; the loader of its task takes such names"
        )
    if checkpoint is not None:
        raise UserError(
            f"got {shipped.name} and a checkpoint, expected {shipped.variant} for the latter"
        )
    return shipped.name


def create_model(
    name: str,
    checkpoint: CheckpointSource | None = None,
    *,
    head_order: str | None = None,
    gate: str | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    img_size: int | tuple[int, int] | None = None,
    stem_stride: int | None = None,
    **options: Any,
) -> nn.Module:
    """Build a model by name, with weights from a checkpoint if one is given.

    Args:
        name: a variant ("s18_pure", "spanetv2_s18_pure"; see ``spanetv2 models``), a classifier in
            the package ("pico_pure.fashion_mnist", with its weights if ``pretrained`` is true), or
            a timm model.
        checkpoint: file, run folder, or what ``read_checkpoint`` gave; head order, gate, classes,
            channels and image size come from it unless they are given here.
        head_order: "interleaved" (default) or "concatenated".
        gate: "sigmoid" (default) or "scaled_sigmoid".
        num_classes: classes (default 1000); 0 leaves the classifier out.
        in_chans: channels of the input image (default 3).
        img_size: pixels that the spectral filters are made for (default 224); others work too.
        stem_stride: 4 (default), 2 or 1.
        **options: passed to ``timm.create_model``: drop_path_rate, drop_rate, global_pool,
            features_only, out_indices, pretrained, ...

    Returns:
        The model, in training mode, as ``timm.create_model`` returns it.

    Raises:
        UserError: unknown name, bad option, or a checkpoint that does not fit.
        TypeError: an option that the model does not have.

    Example:
        >>> model = create_model("pico_pure", num_classes=10, img_size=28, stem_stride=2)
        >>> tuple(model(torch.zeros(2, 3, 28, 28)).shape)
        (2, 10)
    """
    if not isinstance(name, str):
        raise UserError(f"got model {name!r}, expected the name of one; see `spanetv2 models`")
    check_network({**options, "num_classes": num_classes, "in_chans": in_chans})
    shipped = find_shipped(name)
    name = resolve_name(name) if shipped is None else _classifier_name(shipped, checkpoint)
    given = {
        "head_order": head_order,
        "gate": gate,
        "num_classes": num_classes,
        "in_chans": in_chans,
        "img_size": img_size,
        "stem_stride": stem_stride,
    }
    given = {key: value for key, value in given.items() if value is not None}
    if checkpoint is not None:
        checkpoint = read_checkpoint(checkpoint)
    if name in VARIANTS and checkpoint is not None:
        if checkpoint.task != DEFAULT_TASK:
            raise UserError(
                f"{checkpoint.path}: weights of a {checkpoint.task} model, expected {name} alone"
            )
        if checkpoint.source == "other":
            other = checkpoint.model_name or "another network"
            raise UserError(f"{checkpoint.path}: weights of {other}, expected {name}")
        wanted = _options(describe(checkpoint.state_dict), checkpoint, given)
        if options.get("features_only"):
            wanted = {k: v for k, v in wanted.items() if k not in ("num_classes", "feature_norms")}
        given = {**wanted, **given, **options}
        model = timm.create_model(name, **given)
        # features_only wraps the network
        network = getattr(model, "model", model)
        load_weights(network, checkpoint, gate=gate)
        describe_itself(network, checkpoint, resized=img_size is not None)
        return model
    model = timm.create_model(name, **given, **options)
    if checkpoint is not None:
        load_weights(model, checkpoint)
        describe_itself(model, checkpoint, resized=img_size is not None)
    return model


def load_model(
    path: CheckpointSource,
    *,
    device: str | torch.device = "cpu",
    gate: str | None = None,
) -> tuple[nn.Module, Checkpoint]:
    """Build the model that a checkpoint describes and load it, ready for inference.

    Args:
        path: a file, a run folder with ``weights.safetensors``, or what ``read_checkpoint`` gave.
            A file that records no name must hold a SPANetV2, whose variant is read off its weights.
        device: where to put the model.
        gate: "sigmoid" ignores the slopes of the spectral filters in the file.

    Returns:
        The model in evaluation mode, and the checkpoint with class names and preprocessing. The
        model describes itself to timm as the file does: ``timm.data.resolve_model_data_config``
        and ``pretrained_cfg["label_names"]``.

    Raises:
        UserError: unreadable, or no known architecture.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.task != DEFAULT_TASK:
        raise UserError(
            f"{checkpoint.path}: weights of a {checkpoint.task} model, expected a classifier or a "
            "backbone"
        )
    if checkpoint.model_name is not None and checkpoint.source == "other":
        build = partial(
            create_model, checkpoint.model_name, **checkpoint.model_kwargs, pretrained=False
        )
        model = build_described(build, checkpoint.state_dict, where=checkpoint.path)
        load_weights(model, checkpoint)
    else:
        if checkpoint.source == "other":
            first = next(iter(checkpoint.state_dict))
            raise UserError(
                f"{checkpoint.path}: weights of an unknown network (first name: {first}), expected "
                "a SPANetV2 checkpoint or a file written by this package"
            )
        found = describe(checkpoint.state_dict)
        name = checkpoint.model_name or found.variant
        if name is None:
            raise UserError(
                f"{checkpoint.path}: a SPANetV2 of depths {found.depths}, channels {found.dims}, "
                "which is none of the variants; build it with SPANetV2(...) and load_weights"
            )
        options = _options(found, checkpoint, {})
        if gate is not None:
            options["gate"] = gate
        build = partial(timm.create_model, name, **options, pretrained=False)
        model = build_described(build, checkpoint.state_dict, where=checkpoint.path)
        load_weights(model, checkpoint, gate=gate)
    describe_itself(model, checkpoint)
    return model.to(device).eval(), checkpoint
