"""Folders as hubs hand them out, for ``analyze``: they lead nowhere else.

Each is a tiny network that transformers saved, with its record, lists of files and weights changed.
"""

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.pictures import PICTURE, damage, damages, seldom, write_picture
from tests.fuzz.tools import QUICK
from tests.fuzz.worker import Outcome

SHARE = 1
_KEYS = [
    *("model_type", "architectures", "auto_map", "_name_or_path", "backbone", "architecture"),
    *("use_pretrained_backbone", "use_timm_backbone", "backbone_config", "quantization_config"),
    *("id2label", "image_size", "patch_size", "hidden_size", "num_channels", "torch_dtype"),
    *("num_labels", "num_attention_heads", "transformers_version", "_attn_implementation"),
    *(
        "adapter_file",
        "base_model_name_or_path",
        "custom_pipelines",
        "model_args",
        "pretrained_cfg",
    ),
]
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**10),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["timm_wrapper", "timm_backbone", "detr", "vit", "nonsense", "resnet18", "hf-hub:a/b"]
    ),
    st.sampled_from(["http://127.0.0.1:9/x", "../secret", "local-dir:../secret", "\x1b[31m"]),
    st.sampled_from([["ViTModel"], ["pipeline"], ["AutoModel"], ["TimmWrapperModel"], [1], {}]),
    st.just({"AutoConfig": "code.Config", "AutoModel": "code.Model"}),
    st.just({"quant_method": "bitsandbytes", "load_in_8bit": True}),
)
_HOSTILE = [
    {"model_type": "timm_wrapper", "architecture": "hf-hub:a/b"},
    {"model_type": "timm_wrapper", "architecture": "local-dir:../secret"},
    {
        "model_type": "timm_wrapper",
        "architecture": "resnet10t",
        "model_args": {"pretrained": True, "pretrained_cfg": {"url": "http://127.0.0.1:9/x"}},
    },
    {
        "model_type": "timm_wrapper",
        "architecture": "resnet10t",
        "model_args": {"checkpoint_path": "../secret"},
    },
    {"model_type": "timm_backbone", "backbone": "resnet10t", "use_pretrained_backbone": True},
    {"model_type": "detr", "backbone": "a/b", "use_pretrained_backbone": True},
    {"model_type": "new", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}},
    {"model_type": "new", "auto_map": {"AutoConfig": "a/b--code.C"}},
]


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    edits = st.lists(st.tuples(st.sampled_from(_KEYS), _VALUES).map(list), max_size=2)
    return {
        "whole": draw(seldom(st.sampled_from(_HOSTILE), None, one_in=2)),
        "edits": draw(edits),
        "index": draw(seldom(st.sampled_from(["../secret", "/etc/passwd", "none", "../here"]), "")),
        "adapter": draw(seldom(st.sampled_from(["a/b", "../secret"]), "")),
        "pickle": draw(seldom(st.just(True), False)),
        "damage": draw(seldom(damages, [], one_in=3)),
        "prefix": draw(st.sampled_from(["hf-dir:", ""])),
    }


@functools.cache
def _saved() -> dict[str, bytes]:
    """Files of a small ViT of two classes."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=2,
        intermediate_size=8,
        image_size=32,
        patch_size=16,
    )
    with tempfile.TemporaryDirectory() as folder:
        ViTForImageClassification(config).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    place = folder / "net"
    place.mkdir()
    (folder / "secret").write_text("secret")
    (folder / "ran").mkdir()
    files = dict(_saved())
    record = json.loads(files["config.json"])
    record = recipe["whole"] or record
    files["config.json"] = json.dumps({**record, **dict(recipe["edits"])}).encode()
    weights = files["model.safetensors"]
    if recipe["index"]:
        listed = {"metadata": {}, "weight_map": {"classifier.weight": recipe["index"]}}
        del files["model.safetensors"]
        files["model.safetensors.index.json"] = json.dumps(listed).encode()
    elif recipe["pickle"]:
        del files["model.safetensors"]
        files["pytorch_model.bin"] = b"cos\nmkdir\n(S'../ran/code'\ntR."
    else:
        files["model.safetensors"] = damage(weights, recipe["damage"])
    if recipe["adapter"]:
        adapter = {"peft_type": "LORA", "base_model_name_or_path": recipe["adapter"]}
        files["adapter_config.json"] = json.dumps(adapter).encode()
    files["code.py"] = b"import os\nos.mkdir('ran/code')\n"
    for name, content in files.items():
        (place / name).write_bytes(content)
    (folder / "in").mkdir()
    write_picture(folder / "in" / "0.png", PICTURE)
    return ["analyze", "model", f"{recipe['prefix']}net", *QUICK, "--out", "out"]


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    return ["code of the folder was run"] if any((folder / "ran").iterdir()) else []
