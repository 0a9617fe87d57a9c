"""from_pretrained, save_pretrained and push_to_hub: what one writes, the others read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hub_stub import HubStub, commit_id, running_hub

import spanetv2
from spanetv2 import UserError, from_pretrained, push_to_hub, save_pretrained
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.detection.model import Detector, DetectorOptions, create_detector
from spanetv2.tasks.segmentation.model import HeadOptions, SegmentationModel, create_segmenter

KINDS = ["classifier", "timm", "segmenter", "detector"]
SMALL: dict[str, Any] = {"img_size": 32}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStub]:
    with running_hub(monkeypatch, tmp_path / "cache") as stub:
        yield stub


def network(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "classifier":
        mixers = ["spam", {"name": "spam", "modulation": False}, "spam", "attention"]
        return spanetv2.create_model("pico_pure", num_classes=2, mixers=mixers, **SMALL)
    if kind == "timm":
        return timm.create_model("test_resnet", num_classes=2)
    if kind == "segmenter":
        return create_segmenter("pico_pure", 2, HeadOptions(width=16), **SMALL)
    light = DetectorOptions(fpn_channels=32, box_channels=64, mask_channels=32)
    return create_detector("pico_pure", 2, light, **SMALL)


def assert_same(got: torch.nn.Module, expected: torch.nn.Module) -> None:
    assert type(got) is type(expected)
    ours, theirs = got.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize("kind", KINDS)
def test_networks_come_back_with_their_classes(hub: HubStub, tmp_path: Path, kind: str) -> None:
    model = network(kind)
    extra = {"category_ids": [3, 7]} if kind == "detector" else {"note": "mine"}
    files = save_pretrained(model, tmp_path / "made", classes=["a", "b"], extra=extra)
    assert {file.name for file in files} == {"README.md", "config.json", "model.safetensors"}
    assert hub.requests == []
    again = from_pretrained(tmp_path / "made")
    assert not again.training
    assert_same(again, model)
    assert again.recorded["classes"] == ["a", "b"]
    # loaded, trained on, and pushed: what was known is still known
    with torch.no_grad():
        next(again.parameters()).add_(1)
    address = push_to_hub(again, "me/mine", private=True, message="mine")
    assert address.startswith(f"{hub.url}/me/mine/commit/")
    assert hub.messages == ["mine"]
    for name in ("me/mine", "hf-hub:me/mine"):
        fetched = from_pretrained(name)
        assert_same(fetched, again)
        assert fetched.recorded == again.recorded
    assert fetched.recorded["extra"].items() >= extra.items()
    assert b"a, b" in hub.repositories["me/mine"].commits[-1]["README.md"]


def test_classes_and_revisions_are_told_apart(hub: HubStub, tmp_path: Path) -> None:
    model = network("segmenter")
    push_to_hub(model, "me/streets", classes=["road", "sky"])
    push_to_hub(model, "me/streets", classes=["sea", "sky"], card="---\nlicense: mit\n---\n# Sea\n")
    old = from_pretrained("me/streets", revision=commit_id(1))
    assert isinstance(old, SegmentationModel)
    assert old.recorded["classes"] == ["road", "sky"]
    assert from_pretrained("me/streets").recorded["classes"] == ["sea", "sky"]
    assert hub.repositories["me/streets"].commits[-1]["README.md"].endswith(b"# Sea\n")


def test_what_is_written_is_read_by_every_way(tmp_path: Path) -> None:
    save_pretrained(network("classifier"), tmp_path / "c", classes=["a", "b"])
    theirs = timm.create_model(f"local-dir:{tmp_path / 'c'}", pretrained=True)
    assert_same(theirs, network("classifier"))
    assert read_checkpoint(tmp_path / "c").classes == ["a", "b"]
    save_pretrained(network("detector"), tmp_path / "d", classes=["a", "b"])
    detector = from_pretrained(f"local-dir:{tmp_path / 'd'}")
    assert isinstance(detector, Detector)
    with torch.no_grad():
        assert set(detector([torch.rand(3, 40, 40)])[0]) >= {"boxes", "labels", "scores"}


def test_what_cannot_be_is_one_line(hub: HubStub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got no classes, expected the names of 2"):
        save_pretrained(network("detector"), tmp_path / "d")
    with pytest.raises(UserError, match="got 1 class names, expected 2"):
        save_pretrained(network("classifier"), tmp_path / "d", classes=["a"])
    with pytest.raises(UserError, match="without a model name"):
        save_pretrained(torch.nn.Linear(2, 2), tmp_path / "d")
    with pytest.raises(UserError, match="me/none: no such repository"):
        from_pretrained("me/none")
    with pytest.raises(UserError, match="got revision v1"):
        from_pretrained("spanetv2_pico_pure.fashion_mnist", revision="v1")
    with pytest.raises(UserError, match="no right to write there"):
        push_to_hub(network("classifier"), "them/mine")
    assert not (tmp_path / "d").exists()
    assert "them/mine" not in hub.repositories
