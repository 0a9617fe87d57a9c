"""Networks of torchvision and of Hugging Face's transformers, by the names that users know.

``torchvision:NAME`` is a model of torchvision, ``hf-dir:FOLDER`` (or the folder itself) what
``save_pretrained`` of a transformers model wrote, with the pre-processing beside it.
"""

import contextlib
import dataclasses
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from spanetv2.data.preprocessing import Preprocessing
from spanetv2.errors import UserError
from spanetv2.files import read_json
from spanetv2.text import shorten

__all__ = ["HF_FOLDER", "TORCHVISION", "LoadedNetwork", "is_folder", "is_other", "load_other"]

TORCHVISION = "torchvision:"
HF_FOLDER = "hf-dir:"
_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """A network with what is known of its images and outputs.

    Args:
        model: in evaluation mode.
        classes: names of its outputs; None where they are not recorded.
        outputs: how many there are; 0 without a classifier.
        preprocessing: from an image to its input.
    """

    model: nn.Module
    classes: list[str] | None
    outputs: int
    preprocessing: Preprocessing


def is_other(name: str) -> bool:
    """Whether a name is one of another library's networks.

    Example:
        >>> is_other("torchvision:vit_b_16"), is_other("resnet18")
        (True, False)
    """
    return name.startswith((TORCHVISION, HF_FOLDER)) or _is_hf(Path(name))


def is_folder(name: str) -> bool:
    """Whether such a name is a folder, whose weights are its own."""
    return is_other(name) and not name.startswith(TORCHVISION)


def load_other(name: str, *, pretrained: bool) -> LoadedNetwork:
    """Load a network of torchvision or of transformers.

    Args:
        name: ``torchvision:NAME``, ``hf-dir:FOLDER``, or such a folder.
        pretrained: torchvision: fetch its weights. A folder's weights are always its own.

    Raises:
        UserError: no such network, weights that cannot be fetched or read, or transformers is not
            installed.
    """
    if name.startswith(TORCHVISION):
        return _torchvision(name.removeprefix(TORCHVISION), pretrained=pretrained)
    return _hf(Path(name.removeprefix(HF_FOLDER)))


def _torchvision(name: str, *, pretrained: bool) -> LoadedNetwork:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(TORCHVISION + n for n in near)}?" if near else ""
        raise UserError(f"got {TORCHVISION}{name}, expected a classifier of torchvision{hint}")
    weights: Any = torchvision.models.get_model_weights(name)
    weights = getattr(weights, "DEFAULT", None)
    try:
        model = torchvision.models.get_model(name, weights=weights if pretrained else None)
    except Exception as error:  # whatever a failed download raises
        if not pretrained:
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot fetch the weights of {TORCHVISION}{name} ({first}); give --no-pretrained to "
            "look at the untrained network"
        ) from None
    preprocessing, classes = Preprocessing(), None
    if weights is not None:
        shown = weights.transforms()
        (crop,), (resize,) = shown.crop_size, shown.resize_size
        preprocessing = Preprocessing(
            input_size=(3, crop, crop),
            mean=tuple(shown.mean),
            std=tuple(shown.std),
            interpolation=shown.interpolation.value,
            crop_pct=min(1.0, crop / resize),
        )
        classes = list(weights.meta["categories"])
    outputs = len(classes) if classes else 1000
    return LoadedNetwork(
        model=model.eval(), classes=classes, outputs=outputs, preprocessing=preprocessing
    )


def _is_hf(folder: Path) -> bool:
    """Whether a folder is one that transformers wrote."""
    try:
        return "model_type" in read_json(folder / "config.json", expected="a network's description")
    except (UserError, TypeError):
        return False


def _hf(folder: Path) -> LoadedNetwork:
    if not folder.is_dir():
        raise UserError(f"got {HF_FOLDER}{folder}, expected a folder that save_pretrained wrote")
    if not _is_hf(folder):
        raise UserError(
            f"got {HF_FOLDER}{folder}, in which no config.json names a model_type; expected a "
            "folder that save_pretrained of a transformers model wrote"
        )
    try:
        import transformers
    except ImportError:
        raise UserError(
            f"got {HF_FOLDER}{folder}, which needs the transformers package; pip install "
            "transformers"
        ) from None
    _refuse_links(folder)
    # Code of the folder is never run: transformers would ask on the terminal.
    alone: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **alone)
        named = (config.architectures or [None])[0]
        kind: Any = getattr(transformers, named or "AutoModel", transformers.AutoModel)
        with _quiet(transformers):
            model = kind.from_pretrained(folder, **alone)
    except Exception as error:  # of many kinds: files that are missing, damaged, or unknown
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder}: cannot be loaded by transformers ({first})") from None
    classifier = "ForImageClassification" in type(model).__name__
    outputs = len(config.id2label or {}) if classifier else 0
    titles: Any = dict(config.id2label or {})
    titles = [titles.get(i, f"LABEL_{i}") for i in range(outputs)]
    named_classes = outputs > 0 and titles != [f"LABEL_{i}" for i in range(outputs)]
    return LoadedNetwork(
        model=model.eval(),
        classes=titles if named_classes else None,
        outputs=outputs,
        preprocessing=_hf_preprocessing(folder, config),
    )


def _refuse_links(folder: Path) -> None:
    """Refuse a folder whose records lead to other files, other folders or the network.

    Raises:
        UserError: naming the file and the entry.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # its reader says so
        for key, value in _entries(record):
            weights = path.name.endswith(".index.json") and key == _WEIGHT_MAP
            leads = key in _LEADING and value not in (None, False, "", {})
            if leads or (weights and _outside(value)) or _is_timm_link(key, value):
                raise UserError(
                    f"{path}: {key} is {shorten(json.dumps(value))}, which leads outside the "
                    "folder; take it out, or give a network whose weights are all in it"
                )


_WEIGHT_MAP = "weight_map"
_LEADING = (
    *("use_pretrained_backbone", "pretrained", "checkpoint_path"),
    "base_model_name_or_path",
)
"""Entries for which transformers or timm fetch weights, or read them from elsewhere."""


def _entries(record: Any) -> Iterator[tuple[str, Any]]:
    """All keys of a record and of what lies in it."""
    if isinstance(record, dict):
        for key, value in record.items():
            yield key, value
            if key != _WEIGHT_MAP:
                yield from _entries(value)
    elif isinstance(record, list):
        for value in record:
            yield from _entries(value)


def _outside(weight_map: Any) -> bool:
    """Whether an index names a file that is not one of the folder's."""
    names = weight_map.values() if isinstance(weight_map, dict) else [None]
    return any(not isinstance(name, str) or Path(name).name != name for name in names)


def _is_timm_link(key: str, value: Any) -> bool:
    """Whether an entry is a source of timm's or a hub's rather than a network's name."""
    return (
        key in ("architecture", "backbone") and isinstance(value, str) and bool({*":/"} & {*value})
    )


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the bar that transformers shows while it loads weights."""
    shown = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.logging.enable_progress_bar()


def _hf_preprocessing(folder: Path, config: Any) -> Preprocessing:
    """What preprocessor_config.json says, or the network's own size and ImageNet's statistics."""
    try:
        text = (folder / "preprocessor_config.json").read_text(encoding="utf-8")
        record = json.loads(text)
    except OSError:
        record = {}
    except ValueError as error:
        raise UserError(f"{folder / 'preprocessor_config.json'}: not JSON ({error})") from None
    usual = getattr(config, "image_size", 224)
    resize = _sides(record.get("size"), usual)
    size = _sides(record.get("crop_size"), usual) if record.get("do_center_crop") else resize
    short = "shortest_edge" in record["size"] if isinstance(record.get("size"), dict) else False
    values: dict[str, Any] = {
        "input_size": (int(getattr(config, "num_channels", 3)), *size),
        "crop_pct": min(1.0, min(size) / min(resize)),
        # a size of both sides distorts the image, one of the shortest edge does not
        "crop_mode": "center" if short or size != resize else "squash",
    }
    if record.get("do_normalize", True):
        values |= {
            field: tuple(record[key])
            for field, key in (("mean", "image_mean"), ("std", "image_std"))
            if record.get(key) is not None
        }
    else:
        values |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    resample = record.get("resample")
    if isinstance(resample, int) and 0 <= resample < len(_RESAMPLING):
        values["interpolation"] = _RESAMPLING[resample]
    return Preprocessing(**values)


def _sides(value: Any, usual: Any) -> tuple[int, int]:
    """Height and width in pixels, in the ways that transformers writes them."""
    value = usual if value is None else value
    if isinstance(value, dict):
        if "shortest_edge" in value:
            value = value["shortest_edge"]
        else:
            value = (value.get("height", 224), value.get("width", 224))
    if isinstance(value, list | tuple):
        return int(value[0]), int(value[-1])
    return int(value), int(value)
