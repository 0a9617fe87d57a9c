"""The Hub's description of a network, ``config.json``, and the record that it amounts to.

Of classifiers it is timm's (``architecture``, ``model_args``, ``pretrained_cfg``), which timm and
transformers read; of other tasks it holds this package's record. The weights beside it, if this
package wrote them, say the same in their own header, which is what is believed then.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from spanetv2.data.classes import imagenet_classes
from spanetv2.data.preprocessing import Preprocessing
from spanetv2.errors import UserError
from spanetv2.files import read_text
from spanetv2.models.weights.record import DEFAULT_TASK, METADATA_KEY, check_record

__all__ = ["make_config", "read_config"]

_TIMM_WRAPPER = "timm_wrapper"
_IMAGES = tuple(Preprocessing().of_timm())


def make_config(record: Mapping[str, Any], model: nn.Module | None = None) -> dict[str, Any]:
    """What ``config.json`` says of a network.

    Args:
        record: of its weights; see ``record.check_record``.
        model: of a classifier, made by ``spanetv2.create_model`` or ``timm.create_model``.

    Returns:
        JSON values: timm's description of a classifier, the record itself of other networks.

    Raises:
        UserError: a network that cannot be described, as it was made with classes or functions.
    """
    if record.get("task", DEFAULT_TASK) != DEFAULT_TASK:
        return {"library_name": "spanetv2", METADATA_KEY: dict(record)}
    assert model is not None
    from timm.models._hub import save_config_for_hf  # with the minor version pinned

    images = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in (record.get("preprocessing") or {}).items()
        if key in _IMAGES
    }
    told = {"label_names": record.get("classes"), "pretrained_cfg": images}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        try:
            options = dict(record["model_kwargs"])
            save_config_for_hf(model, str(path), model_config=told, model_args=options)
        except ValueError as error:
            raise UserError(f"the network cannot be described for the Hub: {error}") from error
        config = json.loads(path.read_text(encoding="utf-8"))
    # said beside it; transformers would pass it on twice
    config["model_args"].pop("num_classes", None)
    config["pretrained_cfg"].pop("label_names", None)
    return config


def read_config(path: Path) -> dict[str, Any]:
    """The record that a ``config.json`` amounts to.

    Returns:
        As ``parse_record``; empty for a configuration of neither kind.

    Raises:
        UserError: not JSON, a network of transformers', or a record that is wrong.
    """
    try:
        config = json.loads(read_text(path, expected="a network's description in JSON"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"its {path.name} is not JSON") from error
    if not isinstance(config, Mapping):
        raise UserError(f"its {path.name} holds a {type(config).__name__}, expected a JSON object")
    kind = config.get("model_type", _TIMM_WRAPPER)
    if kind != _TIMM_WRAPPER:
        raise UserError(
            f"a network of transformers ({kind}); `analyze model` and `explore` take a folder of "
            "it as hf-dir:FOLDER, everything else needs a network of this package or of timm"
        )
    try:
        if METADATA_KEY in config:
            return check_record(config[METADATA_KEY])
        return check_record(_of_timm(config)) if "architecture" in config else {}
    except UserError as error:
        raise UserError(f"its {path.name} is wrong: {error}") from None


def _of_timm(config: Mapping[str, Any]) -> dict[str, Any]:
    """The record of what timm's ``save_for_hf`` describes."""
    images = config.get("pretrained_cfg", config)
    arguments = config.get("model_args") or {}
    if not isinstance(images, Mapping) or not isinstance(arguments, Mapping):
        raise UserError("pretrained_cfg and model_args are no JSON objects")
    number = config.get("num_classes", images.get("num_classes"))
    options = {**arguments, **({} if number is None else {"num_classes": number})}
    record = {
        "model_name": config["architecture"],
        "model_kwargs": options,
        "classes": _classes(config, images, number),
        "preprocessing": {key: images[key] for key in _IMAGES if key in images},
    }
    return {key: value for key, value in record.items() if value}


def _classes(config: Mapping[str, Any], images: Mapping[str, Any], number: Any) -> Any:
    """Names of the classes, if there is one for each; None leaves ImageNet's to be recognised."""
    names = config.get("label_names") or images.get("label_names")
    titles = config.get("label_descriptions") or images.get("label_descriptions")
    if isinstance(names, Mapping):  # timm allows index -> name
        names = [names.get(str(index)) for index in range(len(names))]
    if not isinstance(names, list) or len(names) != number:
        return None
    known = imagenet_classes() if number == 1000 else []
    if not isinstance(titles, Mapping) or names == known:
        return names
    return [titles.get(name, name) if isinstance(name, str) else name for name in names]
