"""Writing weights as safetensors that say what they are."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.files import atomic_path
from spanetv2.models.backbone import SPANetV2
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.images import own_record
from spanetv2.models.weights.record import METADATA_KEY, check_record, names_source
from spanetv2.text import printable

__all__ = ["model_record", "save_state_dict", "save_weights", "weights_record"]


def model_record(model: nn.Module) -> dict[str, Any]:
    """Name and arguments that ``create_model`` needs to build a model like this one.

    Raises:
        UserError: the model was not made by ``spanetv2.create_model`` or ``timm.create_model``.
    """
    cfg = getattr(model, "pretrained_cfg", None)
    name = None if cfg is None else cfg.get("architecture")
    if name is None:
        raise UserError(
            f"got a {type(model).__name__} without a model name, expected a model made by "
            "spanetv2.create_model or timm.create_model"
        )
    if isinstance(model, SPANetV2):
        kwargs: dict[str, Any] = {
            "num_classes": model.num_classes,
            "in_chans": model.in_chans,
            "img_size": list(model.img_size),
            "stem_stride": model.stem_stride,
            "head_order": model.head_order,
            "gate": model.gate,
        }
        variant = VARIANTS[name]
        for key, value in model.architecture.items():
            if value != list(getattr(variant, key)):
                kwargs[key] = value
        if model.head.pool != "avg":
            kwargs["global_pool"] = model.head.pool
        if len(model.feature_norms):
            kwargs["feature_norms"] = True
    else:
        made_with = getattr(model, "_model_args", {})
        kwargs = {
            k: v
            for k, v in made_with.items()
            if isinstance(v, int | float | str | bool) and not names_source(k)
        }
        if isinstance(side := made_with.get("img_size"), list | tuple):
            kwargs["img_size"] = list(side)
        kwargs |= {"num_classes": model.num_classes}
        if hasattr(model, "in_chans"):
            kwargs["in_chans"] = model.in_chans
    return {"model_name": name, "model_kwargs": kwargs}


def save_state_dict(
    state: Mapping[str, Tensor], path: str | os.PathLike[str], record: Mapping[str, Any]
) -> None:
    """Write a state dict and a record about it to a safetensors file, atomically.

    Raises:
        UserError: a record that no reader would believe; see ``record.check_record``; another
            ending than ``.safetensors``, by which readers know the format.
    """
    if Path(path).suffix != ".safetensors":
        raise UserError(
            f"got output {printable(str(path))}, expected a name that ends in .safetensors"
        )
    check_record(dict(record))
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    metadata = {"format": "pt", METADATA_KEY: json.dumps(dict(record), ensure_ascii=False)}
    size = sum(value.nbytes for value in tensors.values())
    with atomic_path(path, size=size) as temporary:
        save_file(tensors, temporary, metadata=metadata)
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in order, which the library leaves to chance.

    So that equal weights make equal files.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length, "the library writes JSON without blanks too"
        file.seek(8)
        file.write(text.ljust(length))


def save_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a model's weights with all that is needed to use them again.

    Args:
        model: made by ``spanetv2.create_model`` or ``timm.create_model``.
        path: the file, ending in ``.safetensors``.
        classes: class names by index.
        preprocessing: input_size, mean, std, interpolation, crop_pct, crop_mode (timm's names).
            None records what the model carries: that of the weights in the package, or of the file,
            that it came from.
        extra: further facts to record; must be JSON.

    Raises:
        UserError: the model has no name, the number of class names is not its number of classes, or
            the file's name ends otherwise.
        OSError: the file cannot be written.
    """
    record = weights_record(model, classes=classes, preprocessing=preprocessing, extra=extra)
    save_state_dict(model.state_dict(), path, record)


def weights_record(
    model: nn.Module,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a file tells about a model; arguments and errors are those of ``save_weights``."""
    record = model_record(model)
    if classes is not None:
        if isinstance(classes, str):
            raise UserError(f"got class names {classes!r}, expected a list of names")
        if len(classes) != record["model_kwargs"]["num_classes"]:
            raise UserError(
                f"got {len(classes)} class names, expected "
                f"{record['model_kwargs']['num_classes']} as the model has"
            )
        record["classes"] = list(classes)
    known = own_record(model) if preprocessing is None else dict(preprocessing)
    if known is not None:
        record["preprocessing"] = known
    if extra is not None:
        record["extra"] = dict(extra)
    return record
