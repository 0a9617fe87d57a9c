"""Files of weights, damaged and hostile, for ``predict`` and ``convert``."""

import functools
import json
import pickle
import struct
import tempfile
from pathlib import Path
from typing import Any

import timm
import torch
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from spanetv2.models.weights import save_weights, shipped_weights
from tests.fuzz.pictures import PICTURE, damage, damages, seldom, write_picture
from tests.fuzz.worker import Outcome

SHARE = 4
TAGS = {"c": "fashion_mnist", "s": "scenes_semantic_fpn", "d": "scenes_mask_rcnn"}

_KEYS = [
    *("task", "model_name", "model_kwargs", "classes", "preprocessing", "extra"),
    *("model_kwargs.num_classes", "model_kwargs.in_chans", "model_kwargs.img_size"),
    *("model_kwargs.stem_stride", "model_kwargs.head_order", "model_kwargs.gate"),
    *("model_kwargs.depths", "model_kwargs.dims", "model_kwargs.mixers"),
    *("model_kwargs.pretrained", "model_kwargs.pretrained_cfg", "model_kwargs.checkpoint_path"),
    *("preprocessing.input_size", "preprocessing.mean", "preprocessing.std"),
    *("preprocessing.interpolation", "preprocessing.crop_pct", "preprocessing.crop_mode"),
    *("preprocessing.size", "preprocessing.channels", "extra.head", "extra.head.width"),
    *("extra.inference", "extra.palette", "extra.detector", "extra.detector.min_size"),
    *("extra.detector.anchor_sizes", "extra.detector.nms", "extra.category_ids"),
    *("extra.inference.window", "extra.inference.scales", "extra.held_out", "extra.reading"),
]
_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**12), 10**12),
        st.integers(-5, 300),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from(["segmentation", "detection", "resnet18", "spanetv2_pico_hybrid", "spam"]),
        st.sampled_from(
            ["hf-hub:a/b", "http://127.0.0.1:9/x", "../secret", "\x1b[31m", "attention"]
        ),
    ),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["url", "file", "name", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_TENSORS = st.sampled_from(
    ["drop", "nan", "inf", "double", "int", "sparse", "expand", "half", "rename", "scalar", "meta"]
)


_HEADERS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.sampled_from(["dtype", "shape", "data_offsets", "size", "name"]),
        st.sampled_from(["F32", "F8_E4M3", "BF16", "X", [0, 4], [8, 4], [2**63, 2**64], [1, 2], []])
        | st.lists(st.integers(-1, 10**6), max_size=4),
    ).map(list),
    min_size=1,
    max_size=2,
).map(lambda rows: [[p, k, 8 if k == "size" else v] for p, k, v in rows])


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    return {
        "task": draw(st.sampled_from("ccsdt")),
        "form": draw(st.sampled_from(["safetensors", "safetensors", "pth", "ckpt", "legacy"])),
        "record": draw(
            st.lists(st.tuples(st.sampled_from(_KEYS), _VALUES).map(list), max_size=2)
            | st.text(max_size=10)
        ),
        "tensors": draw(st.lists(st.tuples(_TENSORS, st.integers(0, 200)).map(list), max_size=1)),
        "header": draw(seldom(_HEADERS, [], one_in=4)),
        "damage": draw(seldom(damages, [], one_in=3)),
        "command": draw(st.sampled_from(["predict", "predict", "convert"])),
    }


@functools.cache
def _shipped(task: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    if task == "t":
        return _of_timm()
    weights = shipped_weights()[f"spanetv2_pico_pure.{TAGS[task]}"]
    return load_file(weights.path), dict(weights.record)


def _of_timm() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A small network of timm's for grey images of ten classes."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.safetensors"
        shown = {"input_size": [1, 28, 28], "mean": [0.5], "std": [0.5]}
        save_weights(model, path, classes=list("abcdefghij"), preprocessing=shown)
        with safe_open(path, "pt") as opened:
            return load_file(path), json.loads(opened.metadata()["spanetv2"])


def _reheaded(data: bytes, changes: list[Any]) -> bytes:
    """A safetensors file with other values in its header."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    names = sorted(header)
    for place, key, value in changes:
        name = names[place % len(names)]
        if key == "size":
            length += value
        elif key == "name":
            header[f"{name}\x1b{value}"] = header.pop(name, None)
        elif isinstance(header.get(name), dict):
            header[name][key] = value
    text = json.dumps(header).encode()
    length = len(text) + length - struct.unpack("<Q", data[:8])[0]
    return struct.pack("<Q", max(length, 0)) + text + data[8 + struct.unpack("<Q", data[:8])[0] :]


def _record(recipe: dict[str, Any], record: dict[str, Any]) -> str:
    if isinstance(recipe["record"], str):
        return recipe["record"]
    record = json.loads(json.dumps(record))
    for place, value in recipe["record"]:
        *groups, key = place.split(".")
        inner: Any = record
        for group in groups:
            inner = inner.setdefault(group, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner[key] = value
    return json.dumps(record)


def _changed(state: dict[str, Any], changes: list[Any]) -> dict[str, Any]:
    state = {name: value.clone() for name, value in state.items()}
    for change, place in changes:
        floats = [name for name, value in state.items() if value.is_floating_point()]
        name = floats[place % len(floats)]
        value = state[name]
        match change:
            case "drop":
                del state[name]
            case "nan" | "inf":
                state[name] = torch.full_like(value, float(change))
            case "double":
                state[name] = value.double() if value.is_floating_point() else value
            case "int":
                state[name] = value.to(torch.int8)
            case "sparse":
                state[name] = value.float().to_sparse()
            case "expand":
                state[name] = torch.zeros(1).expand(2**24, 2**24)
            case "half":
                state[name] = value[: len(value) // 2] if value.ndim else value
            case "rename":
                state[f"x\x1b[31m{name}"] = state.pop(name)
            case "scalar":
                state[name] = torch.tensor(1.0)
            case "meta":
                state[name] = value.to("meta")
    return state


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    state, shipped = _shipped(recipe["task"])
    state, text = _changed(state, recipe["tensors"]), _record(recipe, shipped)
    path = folder / f"w.{recipe['form'].replace('legacy', 'pt')}"
    (folder / "secret").write_text("secret")
    if recipe["form"] == "safetensors":
        plain = {
            name: value.to_dense().contiguous() if value.is_sparse else value.contiguous()
            for name, value in state.items()
            if not value.is_meta and value.numel() < 2**30
        }
        save_file(plain, path, metadata={"spanetv2": text})
    else:
        content = {**state, "spanetv2": text}
        if recipe["form"] == "ckpt":
            content = {"state_dict": state, "epoch": 1, "spanetv2": text}
        zipped = recipe["form"] != "legacy"
        try:
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
        except Exception:  # PyTorch's older format has no such tensors
            path.write_bytes(pickle.dumps({"state_dict": text}))
    data = path.read_bytes()
    if recipe["form"] == "safetensors" and recipe.get("header"):
        data = _reheaded(data, recipe["header"])
    path.write_bytes(damage(data, recipe["damage"]))
    write_picture(folder / "x.png", PICTURE)
    if recipe["command"] == "convert":
        return ["convert", path.name, "out.safetensors"]
    return ["predict", path.name, "x.png", *([] if recipe["task"] in "ct" else ["--out", "out"])]


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if outcome.status != 0:
        left = [p.name for p in folder.iterdir() if p.name == "out.safetensors"]
        return [f"refused, and left {left[0]}"] if left else []
    wrong = ("drop", "nan", "inf", "int", "sparse", "expand", "rename", "meta")
    changes = [change for change, _ in recipe["tensors"] if change in wrong]
    if recipe["form"] == "safetensors":
        changes = [c for c in changes if c not in ("sparse", "meta", "expand")]
    if changes and not recipe["damage"]:
        return [f"weights with {changes[0]} were taken"]
    zipped = recipe["form"] in ("pth", "ckpt")
    if zipped and recipe["damage"]:
        state, _ = _shipped(recipe["task"])
        try:
            read = torch.load(folder / f"w.{recipe['form']}", weights_only=True)
            read = read.get("state_dict", read)
            same = all(torch.equal(read[name], value) for name, value in state.items())
        except Exception:
            same = False
        if not same and not recipe["tensors"]:
            return ["damaged weights were taken"]
    return []
