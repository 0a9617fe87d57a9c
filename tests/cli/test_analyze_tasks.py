"""``spanetv2 analyze model`` on segmenters and detectors."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import spanetv2
from spanetv2.cli.analyze.model import model as command
from spanetv2.errors import UserError
from spanetv2.scenes import write_scenes

SEGMENTER = "spanetv2_pico_pure.scenes_semantic_fpn"
DETECTOR = "spanetv2_pico_pure.scenes_mask_rcnn"
QUICK = ["--probe-images", "1", "--channels", "1", "--rows", "2", "--device", "cpu"]


def run(*arguments: object):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [*map(str, arguments), *QUICK])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes", train=0, val=3, seed=3)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("weights", "score", "figure"),
    [(SEGMENTER, "mIoU", "miou"), (DETECTOR, "box AP", "box_ap")],
)
def test_a_backbone_is_measured_with_the_tasks_own_figure(
    weights: str, score: str, figure: str, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(weights, "--images", scenes, "--out", out)
    assert result.exit_code == 0, result.output
    (model,) = json.loads((out / "analysis.json").read_text())["models"]
    assert model["score"] == score
    assert model["top1"] is None
    assert {m["kind"] for m in model["jacobian"]} == {"spam"}
    assert all(".stages." in m["mixer"] for m in model["jacobian"])
    expected = spanetv2.evaluate(weights, str(scenes), split="val").figures[figure]
    assert model["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.3
    low, high = np.array(model["filtered_accuracy"]["values"])
    assert low[0] < expected / 2  # the coarsest waves alone are not enough
    assert low[-1] > low[0]
    assert high[0] > high[-1]
    assert [gap["part"] for gap in model["gaps"]] == ["class activation maps"]
    assert "explore" not in (out / "index.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_models_of_two_tasks_are_not_measured_on_one_set(scenes: Path, tmp_path: Path) -> None:
    arguments = ("--images", scenes, "--max-images", 1, "--out", tmp_path / "out")
    result = run(SEGMENTER, "--compare", "test_vit", *arguments)
    assert result.exit_code == 0, result.output
    expected = "test_vit: not measured: got test_vit, which is for classification, beside"
    assert expected in result.stderr


@pytest.mark.parametrize("weights", [SEGMENTER, DETECTOR])
def test_a_dense_task_needs_its_data(weights: str, tmp_path: Path) -> None:
    result = run(weights, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert "expected --images with a folder of" in str(result.exception)
    result = run(weights, "--images", tmp_path, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert not (tmp_path / "out").exists()
