"""``pretrained=True`` of the published variants: one table, and one line until it is filled in."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hub_stub import HubStub, running_hub

import spanetv2
from spanetv2 import UserError
from spanetv2.models.published import PUBLISHED, PublishedWeights
from spanetv2.models.registry import describe_published
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights import to_authors
from spanetv2.tasks.classification.build import build_model
from spanetv2.tasks.classification.config import ModelConfig
from spanetv2.training.backbone import BackboneConfig, backbone_options

NAME = "spanetv2_pico_pure"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStub]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with running_hub(monkeypatch, tmp_path / "cache") as stub:
        yield stub


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME)


def test_the_table_has_every_published_variant() -> None:
    assert set(PUBLISHED) == {name for name, variant in VARIANTS.items() if variant.published}


@pytest.mark.parametrize("name", [n for n in VARIANTS if not n.startswith(NAME[:-5])])
def test_what_is_nowhere_is_one_line_that_says_what_to_do(name: str) -> None:
    if name in PUBLISHED and PUBLISHED[name].is_there:
        pytest.skip("published")
    for ask in (timm.create_model, spanetv2.create_model):
        with pytest.raises(UserError, match=f"No pretrained weights exist for {name}") as caught:
            ask(name, pretrained=True)
        assert isinstance(caught.value, RuntimeError)  # as timm's
        assert f'create_model("{name.partition("_")[2]}", FILE), --weights FILE' in str(
            caught.value
        )
    with pytest.raises(UserError, match="--weights FILE"):
        backbone_options(BackboneConfig(pretrained=True), name)
    with pytest.raises(UserError, match="--weights FILE"):
        build_model(ModelConfig(name=name, pretrained=True), num_classes=2, input_size=(3, 32, 32))


def test_a_file_of_ones_own_needs_no_table(tmp_path: Path) -> None:
    spanetv2.save_weights(network(), tmp_path / "w.safetensors")
    overlay = {"file": str(tmp_path / "w.safetensors")}
    model = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=overlay)
    assert torch.equal(model.stem.conv.weight, network().stem.conv.weight)


@pytest.mark.parametrize("kind", ["url", "hf_hub_filename", "hf_hub_id"])
def test_a_line_in_the_table_is_all_it_needs(hub: HubStub, tmp_path: Path, kind: str) -> None:
    file = BytesIO()
    torch.save({"state_dict": to_authors(network().state_dict())}, file)
    files = {"s.pth": file.getvalue()}
    if kind == "hf_hub_id":
        spanetv2.save_pretrained(network(), tmp_path / "made")
        files["model.safetensors"] = (tmp_path / "made" / "model.safetensors").read_bytes()
    hub.add("them/s", files)
    line: dict[str, Any] = {
        "url": {"url": f"{hub.url}/them/s/resolve/main/s.pth"},
        "hf_hub_filename": {"hf_hub_id": "them/s", "hf_hub_filename": "s.pth"},
        "hf_hub_id": {"hf_hub_id": "them/s"},
    }[kind]
    published = PublishedWeights(**line)
    assert published.is_there
    told = describe_published(published)
    model = timm.create_model(NAME, pretrained=True, pretrained_cfg=told)
    for name, value in network().state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
