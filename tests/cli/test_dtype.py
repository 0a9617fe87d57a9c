"""``--dtype`` of the commands that use weights, for every task, with weights of the package."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import spanetv2
from spanetv2.cli.main import make_app
from spanetv2.errors import UserError
from spanetv2.scenes import write_scenes
from spanetv2.tasks import find_task

CLASSIFIER = "spanetv2_pico_pure.fashion_mnist"
DETECTOR = "spanetv2_pico_pure.scenes_mask_rcnn"
SEGMENTER = "spanetv2_pico_pure.scenes_semantic_fpn"
DENSE = [DETECTOR, SEGMENTER]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes", train=0, val=2, seed=3)


def test_every_task_of_the_package_computes_in_bfloat16():
    for name in ("classification", "detection", "segmentation"):
        assert find_task(name).dtypes == ("float32", "bfloat16")


def test_predict_says_which_precision_it_took(tmp_path):
    image = tmp_path / "a.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (28, 28), dtype=np.uint8)).save(image)
    rows = {}
    for dtype in ("float32", "bfloat16"):
        out = tmp_path / f"{dtype}.json"
        done = run("predict", CLASSIFIER, image, "--dtype", dtype, "--json", out, "--device", "cpu")
        assert done.exit_code == 0, done.output
        assert f"computed in {dtype} (as asked" in done.stderr
        (rows[dtype],) = json.loads(out.read_text())
    full, low = (json.dumps(rows[name]["predictions"]) for name in ("float32", "bfloat16"))
    assert full != low
    best = [rows[name]["predictions"][0]["probability"] for name in ("float32", "bfloat16")]
    assert best[1] == pytest.approx(best[0], rel=0.05)


@pytest.mark.parametrize("weights", DENSE)
def test_predictions_in_bfloat16_are_nearly_the_same(weights, scenes, tmp_path):
    results = {}
    for dtype in ("float32", "bfloat16"):
        done = spanetv2.predict(
            weights, scenes / "images", dtype=dtype, device="cpu", out=tmp_path / dtype
        )
        assert done.dtype == dtype
        assert done.images == 2
        results[dtype] = done.records
    if weights == DETECTOR:
        counts = [sum(len(r["objects"]) for r in rows) for rows in results.values()]
        assert counts[0] > 0
        assert abs(counts[0] - counts[1]) <= 1
    else:
        for one, other in zip(*results.values(), strict=True):
            shares = [row["classes"]["background"] for row in (one, other)]
            assert shares[1] == pytest.approx(shares[0], abs=0.01)


@pytest.mark.parametrize(
    ("weights", "figure"), [(DETECTOR, "box_ap"), (SEGMENTER, "pixel_accuracy")]
)
def test_evaluations_in_bfloat16_are_nearly_the_same(weights, figure, scenes):
    found = [
        spanetv2.evaluate(weights, scenes, device="cpu", dtype=dtype)
        for dtype in ("float32", "bfloat16")
    ]
    full, low = (done.figures[figure] for done in found)
    assert found[1].about["dtype"] == "bfloat16"
    assert any("computed in bfloat16" in note for note in found[1].notes)
    assert full > 0.3
    assert low == pytest.approx(full, abs=0.05)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_unknown_precisions_are_refused_in_a_line(command, tmp_path):
    arguments = [tmp_path] if command == "predict" else ["--data", tmp_path]
    with pytest.raises(
        UserError, match="got dtype 'int4', expected one of auto, float32, bfloat16"
    ):
        CliRunner().invoke(
            make_app(),
            [command, CLASSIFIER, *map(str, arguments), "--dtype", "int4"],
            catch_exceptions=False,
        )
