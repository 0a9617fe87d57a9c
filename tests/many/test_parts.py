"""Predicting and evaluating in parts gives what one piece gives, byte by byte."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import spanetv2
from spanetv2.cli.main import make_app
from spanetv2.data.preprocessing import Preprocessing
from spanetv2.errors import ConfigError, UserError
from spanetv2.scenes import SceneSettings, write_scenes
from spanetv2.tasks.shard import Shard
from tests.support.shards import write_shards

SEGMENTER = "spanetv2_pico_pure.scenes_semantic_fpn"
DETECTOR = "spanetv2_pico_pure.scenes_mask_rcnn"
NAMES = ["ant", "bee", "cow"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenes, and a file that is none."""
    data = tmp_path_factory.mktemp("scenes") / "scenes"
    return write_scenes(data, train=0, val=5, settings=SceneSettings(size=96))


def classifier(folder: Path, **extra: object) -> Path:
    torch.manual_seed(0)
    model = spanetv2.create_model("pico_pure", num_classes=3, img_size=16, stem_stride=1)
    for parameter in model.parameters():  # an untrained head answers all alike
        if parameter.ndim > 1:
            parameter.data.mul_(3)
    images = Preprocessing(input_size=(3, 16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)
    path = folder / "weights.safetensors"
    spanetv2.save_weights(
        model, path, classes=NAMES, preprocessing=images.to_dict(), extra=extra or None
    )
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with images of the same names, one of them damaged, and a file of labels."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    rows = ["image,label"]
    for name in NAMES:
        (root / "val" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "val" / name / f"{i}.png")
            rows.append(f"val/{name}/{i}.png,{name if i else 'ant bee'}")
    (root / "val" / "bee" / "2.png").write_bytes(b"text")
    (root / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("weights"))


def outputs(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for the rows of parts and what they are of."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "rows" not in path.parts and path.name != "manifest.json"
    }


def figures(path: Path) -> dict[str, object]:
    """The figures of an evaluation, but for times."""
    values = json.loads(path.read_text())
    return {key: value for key, value in values.items() if "second" not in key}


CASES = ("classification", "segmentation", "detection")


@pytest.fixture
def case(
    request: pytest.FixtureRequest, scenes: Path, photos: Path, weights: Path
) -> tuple[str | Path, Path, dict[str, object]]:
    """Weights, images, and options of ``predict``."""
    if request.param == "classification":
        return weights, photos / "val", {"batch_size": 3}
    validation = scenes / "images" / "validation"
    return SEGMENTER if request.param == "segmentation" else DETECTOR, validation, {}


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_shards_of_a_prediction_merge_into_the_same_files(case, tmp_path):
    checkpoint, images, options = case
    options = {**options, "device": "cpu"}
    whole = spanetv2.predict(checkpoint, images, out=tmp_path / "whole", **options)
    assert whole.images >= 5
    folders = [tmp_path / f"machine{number % 2}" for number in range(3)]
    for number, folder in enumerate(folders, 1):
        part = spanetv2.predict(checkpoint, images, out=folder, shard=f"{number}/3", **options)
        assert part.images < whole.images
        assert not {"results.json", "predictions.jsonl"} & {path.name for path in folder.iterdir()}
    done = spanetv2.merge({*folders}, out=tmp_path / "merged")
    assert outputs(tmp_path / "merged") == outputs(tmp_path / "whole")
    assert (done.images, done.failed) == (whole.images, whole.failed)
    assert done.records == whole.records


EVALUATIONS = {
    "classification": {"batch_size": 3},
    "several": {"batch_size": 3},
    "segmentation": {},
    "detection": {},
}


@pytest.mark.parametrize("kind", EVALUATIONS)
def test_shards_of_an_evaluation_merge_into_the_same_figures(
    kind, scenes, photos, weights, tmp_path
):
    options = {**EVALUATIONS[kind], "device": "cpu"}
    checkpoint, data = {"segmentation": SEGMENTER, "detection": DETECTOR}.get(kind), scenes
    if kind == "classification":
        checkpoint, data = weights, photos
    elif kind == "several":
        checkpoint, data = classifier(tmp_path, multi_label=True), photos
        options |= {"labels": str(photos / "labels.csv")}
    whole = spanetv2.evaluate(checkpoint, data, json=tmp_path / "whole.json", **options)
    for number in (2, 1):
        shard = {"out": tmp_path / "parts", "shard": f"{number}/2"}
        assert spanetv2.evaluate(checkpoint, data, **shard, **options) is None
    done = spanetv2.merge(tmp_path / "parts", json=tmp_path / "merged.json")
    assert done.figures == whole.figures
    assert done.measurement.failures == whole.measurement.failures
    assert figures(tmp_path / "merged.json") == figures(tmp_path / "whole.json")
    assert figures(tmp_path / "parts" / "evaluation.json") == figures(tmp_path / "whole.json")
    results = tmp_path / "whole.results.json"
    assert results.is_file() == (kind == "detection")
    if kind == "detection":
        assert (tmp_path / "merged.results.json").read_bytes() == results.read_bytes()
        assert json.loads(results.read_text())


def test_a_digest_of_more_shards_than_batches_merges(weights, photos, tmp_path):
    for number in range(1, 5):
        spanetv2.predict(weights, photos / "val" / "ant", out=tmp_path / "x", shard=f"{number}/4")
    assert spanetv2.merge(tmp_path / "x").images == 4


def test_resuming_goes_on_behind_what_is_there(weights, photos, tmp_path):
    options = {"batch_size": 2, "device": "cpu"}
    spanetv2.predict(weights, photos / "val", out=tmp_path / "whole", **options)
    folder = tmp_path / "again"
    spanetv2.predict(weights, photos / "val", out=folder, **options)
    (rows,) = (folder / "rows").iterdir()
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(lines[:2]) + lines[2][:30])  # killed amid the third
    (folder / "predictions.jsonl").unlink()
    told = []
    spanetv2.predict(
        weights,
        photos / "val",
        out=folder,
        resume=True,
        report=lambda answer, *_: told.append(answer),
        **options,
    )
    assert len(told) == 12 - 2 * 2
    assert outputs(folder) == outputs(tmp_path / "whole")
    assert rows.read_bytes() == b"".join(lines)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_shards_of_an_evaluation_of_a_stream_merge_and_resume(weights, photos, tmp_path):
    files = sorted((photos / "val").rglob("*.png"))
    samples = [(file.read_bytes(), NAMES.index(file.parent.name)) for file in files]
    data = write_shards(tmp_path / "data", {"val": samples}, each=4)
    options = {"dataset": "wds", "batch_size": 2, "device": "cpu"}
    spanetv2.evaluate(weights, data, json=tmp_path / "whole.json", **options)
    whole = figures(tmp_path / "whole.json")
    assert (whole["images"], whole["failed"]) == (11, 1)
    out = tmp_path / "parts"
    for number in (1, 2):
        spanetv2.evaluate(weights, data, out=out, shard=f"{number}/2", **options)
    rows = out / "rows" / "2-of-2.jsonl"
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(lines[0] + lines[1][:30])  # killed amid the second
    with pytest.raises(UserError, match="by another number of --workers"):
        spanetv2.evaluate(weights, data, out=out, shard="2/2", resume=True, workers=2, **options)
    spanetv2.evaluate(weights, data, out=out, shard="2/2", resume=True, **options)
    spanetv2.merge(out, json=tmp_path / "merged.json")
    assert figures(tmp_path / "merged.json") == whole


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_other_results_is_refused_and_stays(resume, weights, photos, tmp_path):
    folder = tmp_path / "out"
    spanetv2.predict(weights, photos / "val" / "ant", out=folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for change in ({"top_k": 1}, {"paths": photos / "val" / "cow"}, {"batch_size": 1}):
        call = {"paths": photos / "val" / "ant", **change}
        with pytest.raises(UserError, match=r"holds results of another run \(.*, not .*--over"):
            spanetv2.predict(weights, out=folder, resume=resume, **call)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    spanetv2.predict(weights, photos / "val" / "cow", out=folder, overwrite=True)
    assert "ant" not in (folder / "predictions.jsonl").read_text().split('"path": ')[1][:60]


def test_overwriting_removes_what_was_made_and_no_other_file(scenes, tmp_path):
    images = sorted((scenes / "images" / "validation").iterdir())
    folder = tmp_path / "out"
    spanetv2.predict(SEGMENTER, images[:2], out=folder)
    (folder / "labels" / "own.txt").write_text("mine")
    spanetv2.predict(SEGMENTER, images[2:3], out=folder, overwrite=True)
    assert sorted(outputs(folder)) == [
        "labels/own.txt",
        f"labels/{images[2].stem}.png",
        f"overlays/{images[2].stem}.jpg",
        "predictions.jsonl",
    ]


def test_images_that_came_in_between_are_refused(weights, photos, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(4):
        (images / f"{i}.png").write_bytes((photos / "val" / "ant" / f"{i}.png").read_bytes())
    options = {"batch_size": 1, "out": tmp_path / "out", "shard": "1/2"}
    spanetv2.predict(weights, images, **options)
    (images / "00.png").write_bytes((photos / "val" / "ant" / "0.png").read_bytes())
    with pytest.raises(UserError, match="images found are others"):
        spanetv2.predict(weights, images, resume=True, **options)
    spanetv2.predict(weights, images, **{**options, "shard": "2/2"})
    with pytest.raises(UserError, match="shards 1 and 2 of 2 found different images"):
        spanetv2.merge(tmp_path / "out")


def test_merging_names_what_is_missing_or_of_another_run(weights, photos, tmp_path):
    options = {"batch_size": 2}
    for number in (1, 4):
        spanetv2.predict(
            weights, photos / "val", out=tmp_path / "a", shard=f"{number}/5", **options
        )
    rows = tmp_path / "a" / "rows" / "4-of-5.jsonl"
    rows.write_bytes(rows.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(UserError, match=r"4 of 5 shards are missing in .*: 2/5, 3/5, 4/5 \(not f"):
        spanetv2.merge(tmp_path / "a")
    spanetv2.predict(weights, photos / "val", out=tmp_path / "b", shard="2/5", top_k=1, **options)
    with pytest.raises(UserError, match=r"of different runs \(top_k none, not 1\)"):
        spanetv2.merge([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UserError, match=r"a folder without manifest\.json"):
        spanetv2.merge(photos)


def test_a_manifest_that_cannot_be_used_says_why(weights, photos, tmp_path):
    for content, said in {
        None: r"cannot read .*manifest\.json \(too many levels of symbolic links\), expected what",
        "{": r"manifest\.json: not JSON .*, expected what",
        "{}": r"manifest\.json is damaged, expected what",
    }.items():
        path = tmp_path / "manifest.json"
        path.unlink(missing_ok=True)
        path.symlink_to(path) if content is None else path.write_text(content)
        with pytest.raises(UserError, match=f"{said}.* choose another folder"):
            spanetv2.predict(weights, photos / "val" / "ant", out=tmp_path)
        assert list(tmp_path.iterdir()) == [path]


def test_parts_that_cannot_be_are_refused_in_a_line(weights, photos, tmp_path):
    images = photos / "val"
    for shard in ("0/3", "4/3", "3", "1/0"):
        with pytest.raises(UserError, match="expected K/N"):
            spanetv2.predict(weights, images, out=tmp_path / "x", shard=shard)
    with pytest.raises(ConfigError, match="without --out"):
        spanetv2.evaluate(weights, photos, shard="1/2")
    with pytest.raises(UserError, match="about all shards"):
        spanetv2.predict(weights, images, out=tmp_path / "x", shard="1/2", json=tmp_path / "y")
    with pytest.raises(ConfigError, match="expected one of them"):
        spanetv2.evaluate(weights, photos, out=tmp_path / "x", resume=True, overwrite=True)
    assert not (tmp_path / "x").exists()


def test_shards_are_a_partition():
    parts = [Shard(3, 16).part(i, 4) for i in range(4)]
    for batch in range(500):
        assert Shard(3, 16).takes(batch) == (sum(part.takes(batch) for part in parts) == 1)


def run(*arguments: object) -> str:
    """The command, as it is typed."""
    found = CliRunner().invoke(make_app(), [str(argument) for argument in arguments])
    assert found.exit_code in (0, 1), found.output
    return found.stdout


def test_several_devices_answer_and_measure_as_one(weights, photos, scenes, tmp_path):
    options = ("--batch-size", "2", "--device")
    one = run("predict", weights, photos / "val", *options, "cpu")
    assert len(one.splitlines()) == 33
    assert run("predict", weights, photos / "val", *options, "cpu,cpu") == one
    data = ("evaluate", DETECTOR, "--data", scenes, "--json")
    run(*data, tmp_path / "one.json", "--device", "cpu")
    run(*data, tmp_path / "two.json", "--device", "cpu,cpu")
    assert figures(tmp_path / "two.json") == figures(tmp_path / "one.json")


def test_torchrun_shares_the_images_among_its_processes(weights, photos, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = ["-m", "spanetv2", "predict", weights, photos / "val", "--device", "cpu"]
    found = subprocess.run(
        [*command, *arguments, "--json", tmp_path / "two.json", "--batch-size", "2"],
        # sums depend on the number of threads
        env={
            **os.environ,
            "OMP_NUM_THREADS": f"{torch.get_num_threads()}",
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert "bee/2.png: not an image" in found.stderr
    run("predict", weights, photos / "val", "--batch-size", "2", "--json", tmp_path / "one.json")
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_killed_runs_resume_to_the_same_files():
    found = subprocess.run(
        [sys.executable, Path(__file__).parent / "killed.py"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr + found.stdout
    assert found.stdout.startswith("6 kills"), found.stdout
