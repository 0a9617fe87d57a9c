"""Networks of every task in the benchmark: by name, in the package, in folders as the Hub has."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from spanetv2 import save_pretrained
from spanetv2.benchmark.memory import cpu_peak
from spanetv2.benchmark.settings import Cell
from spanetv2.cli.main import main
from spanetv2.cli.measured import find_network, full_name, usual_shape
from spanetv2.errors import UserError
from spanetv2.models.weights import read_checkpoint
from spanetv2.models.weights.shipped import shipped_weights

CLASSIFIER = "pico_pure.fashion_mnist"
SEGMENTER = "pico_pure.scenes_semantic_fpn"
DETECTOR = "pico_pure.scenes_mask_rcnn"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run folder, and a folder in the Hub's layout."""
    made = tmp_path_factory.mktemp("networks")
    (made / "run@night").mkdir()
    weights = shipped_weights()[f"spanetv2_{SEGMENTER}"].path
    shutil.copy(weights, made / "run@night" / "weights.safetensors")
    save_pretrained(find_network(CLASSIFIER, 28).model, made / "hub", classes=list("abcdefghij"))
    return made


def test_every_place_of_a_checkpoint_is_a_network(folder: Path) -> None:
    run, hub = str(folder / "run@night"), f"local-dir:{folder / 'hub'}"
    assert [full_name(name) for name in (run, hub, CLASSIFIER)] == [run, hub, CLASSIFIER]
    assert usual_shape([run]) == (2, 192)
    assert usual_shape([hub, run]) == (8, 28)
    assert find_network(hub, 28).channels == 1
    expected = read_checkpoint(SEGMENTER).state_dict
    got = find_network(run, 192).model.state_dict()
    assert all(got[name].equal(value) for name, value in expected.items() if "theta" not in name)


def test_filters_are_those_of_the_size_that_is_measured() -> None:
    theta = find_network(SEGMENTER, 96).model.state_dict()
    name = next(name for name in theta if name.endswith("spectral.theta"))
    assert theta[name].shape[1] == 24


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("s18_pure", "spanetv2_s18_pure"),
        ("dfformer_s18", "dfformer_s18"),
        ("mask_rcnn:s18_pure", "mask_rcnn:spanetv2_s18_pure"),
        ("upernet:convformer_s18", "upernet:convformer_s18"),
        ("torchvision:resnet18", "torchvision:resnet18"),
    ],
)
def test_full_name(name: str, full: str) -> None:
    assert full_name(name) == full


def test_memory_is_measured_of_networks_that_the_command_knows() -> None:
    cell = Cell(
        model=CLASSIFIER, mode="eager", work="inference", dtype="float32", batch=64, size=28
    )
    peak = cpu_peak(cell, channels_last=False, threads=1, find=find_network)
    assert 1 < peak < 500


def run(monkeypatch, capfd, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["spanetv2", "benchmark", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0), *capfd.readouterr()


def test_benchmark_measures_all_tasks_in_one_run(folder, tmp_path, monkeypatch, capfd) -> None:
    names = [DETECTOR, str(folder / "run@night"), f"{folder / 'run@night'}@maps"]
    code, shown, _ = run(
        monkeypatch,
        capfd,
        *(*names, "--reference", names[1], "--size", 64, "--batch", 1, "--rounds", 1),
        *("--warmup", 0, "--mode", "eager", "--mode", "onnxruntime", "--pass", "training"),
        *("--pass", "inference", "--device", "cpu", "--out", tmp_path / "r.json"),
        # no exported segmenter, which takes long
        *("--dtype", "bfloat16"),
    )
    assert code == 0, shown
    cells = json.loads((tmp_path / "r.json").read_text())["cells"]
    assert [(row["model"], row["work"]) for row in cells] == [
        (name, work) for work in ("training", "inference") for name in names
    ]
    assert all(row["speed_ratio"] > 0 for row in cells)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.safetensors"], "nothing.safetensors: no such file"),
        (["mask_rcnn:pico_pur"], "did you mean pico_pure"),
        (["mask_rcnn:pico_pure@fast"], "expected one of reference"),
        ([SEGMENTER + "@optimized"], "@optimized is for classifiers"),
        ([DETECTOR, "--mode", "onnxruntime", "--dtype", "int8"], "cannot be exported in int8"),
    ],
)
def test_benchmark_refuses_in_a_line_and_writes_nothing(
    arguments, message, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--size", "64", "--batch", "1", "--rounds", "1", "--device", "cpu")
    code, _, error = run(monkeypatch, capfd, *arguments, *few)
    assert code == 1
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_other_networks_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="expected a classifier of torchvision"):
        find_network("torchvision:nothing", 64)
