"""Records that no weights file should have: one of each kind of fault, with what is said of it."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from spanetv2.models.weights import shipped_weights

__all__ = ["RECORDS", "rewrite"]


def rewrite(name: str, path: Path, record: str) -> Path:
    """A copy of weights in the package with another record."""
    tensors = load_file(shipped_weights()[name].path)
    save_file(tensors, path, metadata={"format": "pt", "spanetv2": record})
    return path


def _changed(task: str, place: str, value: Any) -> str:
    """The shipped record of a task with another value at a dotted place."""
    tags = {"c": "fashion_mnist", "s": "scenes_semantic_fpn", "d": "scenes_mask_rcnn"}
    record = json.loads(
        json.dumps(dict(shipped_weights()[f"spanetv2_pico_pure.{tags[task]}"].record))
    )
    *groups, key = place.split(".")
    inner = record
    for group in groups:
        inner = inner[group]
    inner[key] = value
    return json.dumps(record)


def _cases() -> dict[str, tuple[str, str, str]]:
    cases: dict[str, tuple[str, str, str]] = {
        "no JSON": ("c", "{oops", "not JSON"),
        "a list": ("c", "[]", "expected a mapping"),
        "a text": ("c", '"hello"', "expected a mapping"),
        "null": ("d", "null", "expected a mapping"),
        "digits without end": ("c", "9" * 10_000, "not JSON"),
    }
    for task, place, value, message in (
        ("c", "task", 3, "task is 3, expected a text"),
        ("c", "task", "nonsense", "nonsense"),
        ("c", "model_name", ["a"], "model_name is"),
        ("c", "model_name", "hf-hub:timm/resnet18", "hf-hub:timm/resnet18"),
        ("c", "model_name", "local-dir:/tmp", "local-dir:/tmp"),
        ("c", "model_kwargs", [], "model_kwargs is"),
        ("c", "model_kwargs.pretrained", True, "has 'pretrained'"),
        ("c", "model_kwargs.pretrained_cfg", {"url": "http://127.0.0.1:9/x"}, "pretrained_cfg"),
        ("c", "model_kwargs.checkpoint_path", "/etc/passwd", "has 'checkpoint_path'"),
        ("c", "model_kwargs.num_classes", "10", "num_classes is '10'"),
        ("c", "model_kwargs.num_classes", -1, "class"),
        ("c", "model_kwargs.num_classes", 10**12, "num_classes"),
        ("c", "model_kwargs.img_size", [28], "img_size|height, width"),
        ("c", "model_kwargs.img_size", [10**6, 10**6], "at most 65,536"),
        ("c", "model_kwargs.in_chans", 3, "its weights have 1"),
        ("c", "model_kwargs.stem_stride", 4, "its weights have 2"),
        ("c", "model_kwargs.depths", [60_000] * 4, "its weights have"),
        ("c", "model_kwargs.head_order", "other", "head_order"),
        ("c", "model_kwargs.gate", 7, "gate is 7"),
        ("c", "model_kwargs.mixers", "spam", "mixers is 'spam'"),
        ("c", "model_kwargs.mixers", ["os.system"] * 4, "os.system"),
        ("c", "model_kwargs.mixers", [{"name": "spam", "x": 1}] * 4, "'x'"),
        ("c", "model_kwargs.drop_path_rate", float("nan"), "nan"),
        ("c", "classes", ["a"], "1 class names of 10"),
        ("c", "classes", list(range(10)), "each a text"),
        ("c", "classes", {"a": 1}, "classes is"),
        ("c", "preprocessing", [1], "preprocessing is"),
        ("c", "preprocessing.input_size", [1, 28], "input_size is"),
        ("c", "preprocessing.mean", ["0.5"], "mean is"),
        ("c", "preprocessing.std", [float("inf")], "inf"),
        ("c", "extra", [], "extra is"),
        ("s", "model_kwargs.pretrained", True, "has 'pretrained'"),
        ("s", "extra.head", "upernet", "head in its record is 'upernet'"),
        ("s", "extra.head.width", "32", "width is '32'"),
        ("s", "extra.head.width", 10**9, "expected 1 to 65536"),
        ("s", "extra.head.width", 60_000, "numbers, its weights have"),
        ("s", "extra.head.path", "/etc", "has 'path'"),
        ("s", "extra.inference", {"window": "x"}, "window is 'x'"),
        ("s", "extra.inference", {"scales": [1e6]}, "at most 16"),
        ("s", "extra.palette", [[0, 0]], "palette in its record"),
        ("s", "extra.palette", [[0, 0, 999]] * 11, "palette in its record"),
        ("s", "classes", None, "without model or classes"),
        ("d", "model_kwargs.pretrained_cfg", {"file": "/etc/passwd"}, "has 'pretrained_cfg'"),
        ("d", "extra.detector", None, "does not say which detector"),
        ("d", "extra.detector.system", "yolo", "system is 'yolo'"),
        ("d", "extra.detector.fpn_channels", 60_000, "numbers, its weights have"),
        ("d", "extra.detector.anchor_sizes", "big", "anchor_sizes is 'big'"),
        ("d", "extra.detector.min_size", 10**8, "min_size|max_size"),
        ("d", "extra.detector.url", "http://127.0.0.1:9", "has 'url'"),
        ("d", "extra.category_ids", [1], "no list of 10 ids"),
        ("d", "extra.category_ids", [[1]] * 10, "no list of 10 ids"),
        ("d", "model_name", "resnet18", "model resnet18"),
    ):
        cases[f"{task} {place} {str(value)[:20]}"] = (task, _changed(task, place, value), message)
    return cases


RECORDS = _cases()
"""kind -> task (c, s or d), record, and what the message has"""
