"""How a checkpoint's images are made: the one decision behind every command that takes images.

A file records it (``save_weights(..., preprocessing=...)``, every run of this package), or its
weights are those of a file in the package, whose record is theirs (``read_checkpoint``). Where
neither is so, the size is the one that the network was made for, the channels are the network's,
the rest is what timm has for it, and one line says so.
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, cast

from timm.data.config import resolve_data_config
from timm.models import get_pretrained_cfg
from torch import nn

from spanetv2.data.preprocessing import Preprocessing
from spanetv2.errors import UserError
from spanetv2.models.weights.read import Checkpoint

__all__ = [
    "describe_itself",
    "image_preprocessing",
    "made_for",
    "own_record",
    "say_assumed",
]

_logger = logging.getLogger("spanetv2")
_FIELDS = tuple(Preprocessing().of_timm())
_SIZE = "input_size"
# What timm keeps beside the fields above for the same purpose, and would prefer in some uses.
_OF_OTHER_SIZES = ("test_input_size", "test_crop_pct", "pool_size", "test_pool_size")
_OF_OTHER_CLASSES = ("label_names", "label_descriptions", "label_offset")


def image_preprocessing(
    model: nn.Module, checkpoint: Checkpoint, *, size: tuple[int, int] | None = None
) -> Preprocessing:
    """How a checkpoint's images are made; what is assumed goes to the ``spanetv2`` logger, once.

    Args:
        model: made from the checkpoint.
        checkpoint: where it came from.
        size: height and width in pixels that are asked for; None is the checkpoint's.

    Raises:
        UserError: the record does not fit the model's input channels, or has unknown fields.
    """
    try:
        settings = _settle(model, checkpoint.preprocessing)
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from None
    known = set(checkpoint.preprocessing or ())
    if size is not None:
        settings = dataclasses.replace(settings, input_size=(settings.input_size[0], *size))
        known.add(_SIZE)
    missing = [name for name in _FIELDS if name not in known]
    if missing:
        values = settings.to_dict()
        say_assumed(checkpoint, {name: values[name] for name in missing})
    return settings


def say_assumed(checkpoint: Checkpoint, values: Mapping[str, Any]) -> None:
    """Say on the ``spanetv2`` logger what a checkpoint does not record and is taken for granted.

    Args:
        checkpoint: that lacks a record, or parts of it.
        values: field -> what is assumed.
    """
    fields = ", ".join(f"{name} {_brief(value)}" for name, value in values.items())
    _logger.warning(
        "%s: does not record how its images are made; assumed: %s (save the weights with "
        "preprocessing=... to record it)",
        checkpoint.path,
        fields,
    )


def _brief(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    if all(isinstance(each, int) for each in value):
        return " x ".join(map(str, value))
    return "/".join(f"{each:.4g}" for each in value)


def made_for(model: nn.Module) -> tuple[int, int] | None:
    """Height and width in pixels that a network was made for; None where its weights fit any."""
    for part in (model, getattr(model, "patch_embed", None)):
        size = getattr(part, "img_size", None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, tuple | list) and len(size) == 2:
            return int(size[0]), int(size[1])
    return None


def _settle(model: nn.Module, recorded: Mapping[str, Any] | None) -> Preprocessing:
    """The record where there is one, else what is known of the network; the rest is timm's."""
    if not recorded:
        return Preprocessing.of_model(model, size=made_for(model))
    channels = getattr(model, "in_chans", None)
    if _SIZE in recorded:
        settings = Preprocessing.from_dict(recorded)
    else:
        usual = Preprocessing.of_model(model, size=made_for(model))
        settings = Preprocessing.from_dict({_SIZE: usual.input_size, **recorded})
    if channels is not None and channels != settings.input_size[0]:
        raise UserError(
            f"got preprocessing for {settings.input_size[0]} channels in a checkpoint of a "
            f"model with {channels}; the checkpoint contradicts itself"
        )
    return settings


def describe_itself(model: nn.Module, checkpoint: Checkpoint, *, resized: bool = False) -> None:
    """Let timm know what the file says: ``resolve_model_data_config`` and the label names.

    timm's transforms, ``save_for_hf`` and pipelines then agree with this package's commands.

    Args:
        model: with the checkpoint's weights; its ``pretrained_cfg`` is replaced.
        checkpoint: of which it was made, maybe with other channels or classes.
        resized: the model was made for another image size than the file's.
    """
    cfg: Any = getattr(model, "pretrained_cfg", None)
    if cfg is None:
        return
    recorded = dict(checkpoint.preprocessing or {})
    size = made_for(model)
    if _SIZE in recorded:
        height, width = size if resized and size is not None else recorded[_SIZE][1:]
        recorded[_SIZE] = (getattr(model, "in_chans", recorded[_SIZE][0]), height, width)
    try:
        settings = _settle(model, recorded)
    except (UserError, TypeError, ValueError):
        return  # images of other channels, or a damaged record, which commands refuse
    kept = {k: v for k, v in dict(cfg).items() if k not in _OF_OTHER_SIZES}
    kept |= {name: getattr(settings, name) for name in _FIELDS}
    if reduction := _reduction(model):
        kept["pool_size"] = tuple(-(-side // reduction) for side in settings.input_size[1:])
    classes = getattr(model, "num_classes", None)
    names = checkpoint.classes if len(checkpoint.classes or ()) == classes else None
    if names is not None or kept.get("num_classes") != classes:
        for key in _OF_OTHER_CLASSES:
            kept.pop(key, None)
    if classes is not None:
        kept["num_classes"] = classes
    if names:
        kept["label_names"] = tuple(names)
    subject = cast(Any, model)
    subject.pretrained_cfg = kept
    subject.default_cfg = kept  # timm's older name of the same
    # what of it is known, for saving the model again
    subject.recorded_images = tuple(name for name in _FIELDS if name in recorded)
    subject.recorded_white = settings.white  # which timm does not know


def _reduction(model: nn.Module) -> int | None:
    """Pixels per token of a network's last map."""
    maps = getattr(model, "feature_info", None)
    return maps[-1].get("reduction") if isinstance(maps, list) and maps else None


def own_record(model: nn.Module) -> dict[str, Any] | None:
    """What a model says of its images beyond what is taken for granted of its architecture.

    A model with weights of a tag (``spanetv2_pico_pure.fashion_mnist``), or loaded from a file,
    carries their description in ``pretrained_cfg``; one that was only built by name knows nothing.

    Returns:
        Fields of ``Preprocessing``, as far as they are known; None where nothing is.
    """
    cfg: Any = getattr(model, "pretrained_cfg", None) or {}
    plain = get_pretrained_cfg(cfg.get("architecture") or "")
    try:
        settings = Preprocessing.of_model(model)
        usual = resolve_data_config({}, pretrained_cfg={} if plain is None else plain.to_dict())
        usual = Preprocessing.from_dict({**usual, _SIZE: settings.input_size})
    except UserError:
        return None  # channels that image files do not have
    if known := getattr(model, "recorded_images", ()):
        white = getattr(model, "recorded_white", None)
        values = dataclasses.replace(settings, white=white).to_dict()
        return {name: values[name] for name in (*known, "white") if name in values}
    if settings == usual:
        return None
    return Preprocessing.of_model(model, size=made_for(model)).to_dict()
