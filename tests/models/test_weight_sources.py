"""What a checkpoint argument stands for: files, folders in the Hub's layout, and the Hub itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from hub_stub import HubStub, commit_id, go_offline, running_hub
from safetensors.torch import save_file

import spanetv2
from spanetv2 import UserError, create_model, load_model, save_weights
from spanetv2.cli.naming import find_checkpoint, short_titles
from spanetv2.models.weights import read_checkpoint

CLASSES = ["daisy", "rose", "tulip"]
IMAGES = {
    "input_size": [1, 32, 32],
    "mean": [0.3],
    "std": [0.2],
    "interpolation": "bilinear",
    "crop_pct": 0.9,
    "crop_mode": "squash",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStub]:
    with running_hub(monkeypatch, tmp_path / "cache") as stub:
        yield stub


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    options = {"num_classes": 3, "in_chans": 1, "img_size": 32, "stem_stride": 2}
    return create_model("pico_pure", head_order="concatenated", **options).eval()


def answers(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What timm writes of a network of ours that was loaded from a file."""
    path = tmp_path / "weights.safetensors"
    save_weights(network(), path, classes=CLASSES, preprocessing=IMAGES)
    made = tmp_path / "flowers"
    timm.models.save_for_hf(load_model(path)[0], made, safe_serialization=True)
    return made


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
@pytest.mark.parametrize("safe", [True, False])
def test_what_timm_writes_is_read(tmp_path: Path, folder: Path, prefix: str, safe: bool) -> None:
    if not safe:
        timm.models.save_for_hf(load_model(folder)[0], tmp_path / "pickled")
        folder = tmp_path / "pickled"
        assert [path.name for path in folder.iterdir() if path.name != "config.json"] == [
            "pytorch_model.bin"
        ]
    model, checkpoint = load_model(f"{prefix}{folder}")
    assert torch.equal(answers(model), answers(network()))
    assert (checkpoint.classes, checkpoint.preprocessing) == (CLASSES, IMAGES)
    assert checkpoint.model_name == "spanetv2_pico_pure"


def test_networks_of_timm_are_read_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2).eval()
    told = {"label_names": ["a", "b"], "label_descriptions": {"a": "apple", "b": "banana"}}
    timm.models.save_for_hf(model, tmp_path / "fruit", model_config=told, safe_serialization=True)
    again, checkpoint = load_model(tmp_path / "fruit")
    assert checkpoint.classes == ["apple", "banana"]
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing["input_size"] == [3, 160, 160]


def test_a_file_that_is_named_itself_opens_no_other(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert read_checkpoint(folder / "model.safetensors").classes is None
    with pytest.raises(UserError, match=r"model.safetensors: its config.json is not JSON"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ([], "holds a list, expected a JSON object"),
        ({"model_type": "vit"}, "a network of transformers"),
        ({"architecture": "resnet18", "model_args": {"checkpoint_path": "/x"}}, "names no other"),
        ({"architecture": "spanetv2_pico_pure", "model_args": {"colour": 1}}, "has 'colour'"),
        ({"architecture": "spanetv2_pico_pure", "model_args": [1]}, "are no JSON objects"),
        ({"architecture": 3}, "model_name is 3"),
        ({"spanetv2": {"classes": "cat"}}, "classes is 'cat'"),
    ],
)
def test_a_config_is_held_against_the_schema(folder: Path, config: object, expected: str) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=expected):
        load_model(folder)


def test_the_hub_is_read_by_name_revision_and_file(hub: HubStub, folder: Path) -> None:
    hub.add("me/flowers", folder)
    other = folder.parent / "other"
    timm.models.save_for_hf(network(1), other, safe_serialization=True)
    hub.add("me/flowers", other)
    hub.add("me/flowers", {"authors.pth": (folder / "model.safetensors").read_bytes()})
    old, checkpoint = load_model(f"hf-hub:me/flowers@{commit_id(0)}")
    assert torch.equal(answers(old), answers(network()))
    assert checkpoint.classes == CLASSES
    new = create_model("pico_pure", f"hf-hub:me/flowers@{commit_id(1)}").eval()
    assert torch.equal(answers(new), answers(network(1)))
    with pytest.raises(UserError, match=r"repository without model.safetensors or weights"):
        load_model("hf-hub:me/flowers")
    hub.add("me/flowers", {"deep/er/mine.safetensors": (other / "model.safetensors").read_bytes()})
    named = create_model("pico_pure", "hf-hub:me/flowers/deep/er/mine.safetensors").eval()
    assert torch.equal(answers(named), answers(network(1)))


def test_timm_loads_them_by_name_once_we_are_imported(hub: HubStub, folder: Path) -> None:
    hub.add("me/flowers", folder)
    for name in ("hf-hub:me/flowers", f"local-dir:{folder}"):
        model = timm.create_model(name, pretrained=True).eval()
        assert torch.equal(answers(model), answers(network()))
        assert model.pretrained_cfg["label_names"] == CLASSES


def test_a_run_folder_on_the_hub_is_one(hub: HubStub, tmp_path: Path) -> None:
    path = tmp_path / "run" / "weights.safetensors"
    save_weights(network(), path, classes=CLASSES, preprocessing=IMAGES)
    hub.add("me/run", tmp_path / "run")
    assert torch.equal(answers(load_model("hf-hub:me/run")[0]), answers(network()))


def test_what_was_fetched_is_there_offline(
    hub: HubStub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("me/flowers", folder)
    load_model("hf-hub:me/flowers")
    before = len(hub.requests)
    go_offline(monkeypatch)
    assert read_checkpoint("hf-hub:me/flowers").classes == CLASSES
    assert len(hub.requests) == before
    with pytest.raises(UserError, match=r"me/others: cannot be reached, and was not fetched"):
        read_checkpoint("hf-hub:me/others")


def test_what_cannot_be_had_is_one_line(hub: HubStub, folder: Path) -> None:
    hub.add("me/flowers", folder)
    hub.add("me/empty", {"README.md": b""})
    for name, expected in {
        "hf-hub:me/nothing": "me/nothing: no such repository, or a private one",
        "hf-hub:me/flowers@v9": "me/flowers: no revision v9",
        "hf-hub:me/flowers/other.pth": "me/flowers: a repository without other.pth",
        "hf-hub:me/empty": "a repository without model.safetensors or weights.safetensors",
        "hf-hub:flowers": "expected hf-hub:OWNER/NAME",
        "hf-hub:me/--": "no name that a repository can have",
        f"local-dir:{folder}/none": "none: no such folder",
        f"local-dir:{folder}/config.json": "config.json: no such folder",
    }.items():
        with pytest.raises(UserError, match=expected) as caught:
            read_checkpoint(name)
        assert "\n" not in str(caught.value)


def test_a_dead_address_is_one_line(hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.shutdown()
    hub.server_close()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # it tries again
    with pytest.raises(UserError, match="hf-hub:me/flowers: cannot be reached"):
        read_checkpoint("hf-hub:me/flowers")


def test_private_ones_ask_for_a_token(
    hub: HubStub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("me/secret", folder, private=True)
    assert read_checkpoint("hf-hub:me/secret").classes == CLASSES
    monkeypatch.delenv("HF_TOKEN")
    hub.add("me/secret2", folder, private=True)
    with pytest.raises(UserError, match="log in with an account that may read it"):
        read_checkpoint("hf-hub:me/secret2")


def test_nothing_but_the_prefix_reaches_the_hub(hub: HubStub, folder: Path, tmp_path: Path) -> None:
    hub.add("me/flowers", folder)
    for name in (f"{folder}", "spanetv2_pico_pure.fashion_mnist"):
        read_checkpoint(name)
    for name in ("me/flowers", "hf-hub/me/flowers"):
        with pytest.raises(UserError, match="no such file"):
            read_checkpoint(name)
    named = {"model_name": "hf-hub:me/flowers"}
    record = json.dumps(named)
    save_file(network().state_dict(), tmp_path / "w.safetensors", metadata={"spanetv2": record})
    with pytest.raises(UserError):
        load_model(tmp_path / "w.safetensors")
    assert hub.requests == []


def test_commands_that_take_any_network_take_them(hub: HubStub, folder: Path) -> None:
    hub.add("me/flowers", folder)
    for name in ("hf-hub:me/flowers", f"local-dir:{folder}"):
        found = find_checkpoint(name)
        assert found is not None
        assert found.classes == CLASSES
    assert find_checkpoint("resnet18") is None
    assert short_titles(["hf-hub:me/flowers", f"local-dir:{folder.parent}"]) == [
        "flowers",
        folder.parent.name,
    ]


def test_a_run_starts_from_the_hub(hub: HubStub, folder: Path, tmp_path: Path) -> None:
    hub.add("me/flowers", folder)
    run = spanetv2.train(
        "classification",
        "digits",
        overrides={
            "weights": "hf-hub:me/flowers",
            "model.stem_stride": 2,
            "model.head_order": "concatenated",
            "optimizer.lr": 1e-7,
            "schedule.warmup_lr": 1e-9,
            "schedule.min_lr": 1e-9,
            "trainer.max_epochs": 1,
            "trainer.limit_train_batches": 1,
            "out": str(tmp_path / "run"),
        },
    )
    trained = read_checkpoint(run.weights).state_dict["stem.conv.weight"]
    torch.testing.assert_close(trained, network().stem.conv.weight.detach(), rtol=1e-4, atol=1e-4)
    for name in ("hf-hub:me/flowers", "local-dir:flowers", "data/flowers"):
        unnamed = spanetv2.api.resolve_training("classification", overrides={"weights": name})
        assert unnamed.config.out == "runs/flowers"
    with pytest.raises(UserError, match="in the folder of the run itself"):
        spanetv2.train(
            "classification",
            "digits",
            overrides={"weights": f"local-dir:{run.folder}", "out": str(run.folder)},
            overwrite=True,
        )
