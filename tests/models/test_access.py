"""No file of weights makes the program reach the network, another file or another program."""

import argparse
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from hostile_weights import RECORDS, rewrite

from spanetv2 import create_model
from spanetv2.models.weights import shipped_weights

PROBE = Path(__file__).with_name("access_probe.py")
URL = "http://127.0.0.1:9/weights.pth"


class Reaching:
    """A pickle that would open a file, start a program, or fetch something."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _records(secret: str) -> list[dict[str, Any]]:
    """Whatever a record could name a source by, for our networks and timm's."""
    sources = [
        {"pretrained": True},
        {"pretrained": True, "pretrained_cfg": {"url": URL}},
        {"pretrained": True, "pretrained_cfg": {"file": secret}},
        {"pretrained": True, "pretrained_cfg_overlay": {"hf_hub_id": "timm/resnet18"}},
        {"pretrained": True, "pretrained_cfg_overlay": {"file": secret}},
        {"pretrained_cfg": {"url": URL, "source": "url"}},
        {"checkpoint_path": secret},
        {"checkpoint": secret},
        {"cache_dir": secret},
        {"mixers": [f"{secret}:Mixer"] * 4},
        {"mixers": [{"name": "spam", "file": secret}] * 4},
    ]
    names = ["spanetv2_pico_pure", "resnet18", "resnet18.a1_in1k", "test_vit"]
    records = [{"model_name": name, "model_kwargs": k} for name in names for k in sources]
    records += [{"model_name": name} for name in ("hf-hub:timm/resnet18", f"local-dir:{secret}")]
    records += [{"task": task, **records[4]} for task in ("segmentation", "detection")]
    records += [{"extra": {"reading": {"class_file": secret}}, "preprocessing": {"file": secret}}]
    return records


def _pickles(secret: str) -> list[Any]:
    import urllib.request

    return [
        Reaching(open, secret),
        Reaching(os.system, f"cat {secret}"),
        Reaching(urllib.request.urlopen, URL),
        Reaching(torch.load, secret),
        Reaching(torch.hub.load_state_dict_from_url, URL),
        argparse.Namespace(weights=secret, url=URL),
    ]


def test_loading_touches_nothing_but_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "secret").write_text("secret")
    (folder / "control.txt").write_text("control")
    shipped = "spanetv2_pico_pure.fashion_mnist"
    state = create_model("pico_pure", num_classes=2, img_size=32).state_dict()
    texts = [json.dumps(record) for record in _records(str(secret))]
    for place, text in enumerate([*texts, *(record for _, record, _ in RECORDS.values())]):
        rewrite(shipped, folder / f"{place}.safetensors", text)
    for place, text in enumerate(texts[:11]):
        torch.save({**state, "spanetv2": text}, folder / f"{place}.ckpt")
    for place, thing in enumerate(_pickles(str(secret))):
        torch.save({"state_dict": state, "more": thing}, folder / f"{place}.pth")
        (folder / f"{place}.pt").write_bytes(pickle.dumps({"state_dict": {}, "more": thing}))
    (folder / "sound.safetensors").write_bytes(shipped_weights()[shipped].path.read_bytes())

    done = subprocess.run(
        [sys.executable, PROBE, folder], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    touched = json.loads(done.stdout.splitlines()[-1])
    control = touched.pop("control.txt")
    assert [line.split()[0] for line in control] == ["open", "socket.getaddrinfo", "socket.connect"]
    assert len(touched) > 100
    assert {name: seen for name, seen in touched.items() if seen} == {}
