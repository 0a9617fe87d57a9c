"""Real runs of a tiny plan, in processes of their own and in this one."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_plan import RECIPE, TINY

from spanetv2.cli.recipes import find_recipe
from spanetv2.errors import UserError
from studies.mixers import worker
from studies.mixers.plan import PLANS, find_plan, run_config
from studies.mixers.results import gather, read_results, write_results
from studies.mixers.run import _prepare, run_plan
from studies.mixers.worker import RESULT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows, one seed, side by side."""
    out = tmp_path_factory.mktemp("plan")
    run_plan(TINY, out)
    return out


def _result(folder: Path) -> dict:
    return json.loads((folder / RESULT).read_text(encoding="utf-8"))


def test_every_run_leaves_its_result(finished: Path) -> None:
    for name, mixer in (("spam-seed0", "spam"), ("sepconv-seed0", "sepconv")):
        found = _result(finished / name)
        assert found["mixers"] == [mixer] * 4
        assert found["images"] == 360  # the test digits
        assert 0 <= found["top1"] <= 1
        assert found["training"]["updates"] == 6
        assert [point["step"] for point in found["curve"]] == [1, 2, 3, 4, 5, 6]
        assert [one["stage"] for one in found["responses"]] == [1, 2, 3, 4]
        assert len(found["filtered"]["values"]) == 2
        assert len(found["bank"]) == (4 if mixer == "spam" else 0)
        assert found["environment"]["packages"]["torch"]
    tables = gather(finished)
    assert tables.rows() == ["spam", "sepconv"]
    assert {row["row"] for row in tables.filtered} == {"spam", "sepconv"}


def test_tables_come_back_from_their_files(finished: Path, tmp_path: Path) -> None:
    tables = gather(finished)
    write_results(tables, tmp_path)
    again = read_results(tmp_path)
    assert again.about == tables.about
    for name in ("runs", "curves", "filtered", "mixers", "responses", "bank"):
        before, after = getattr(tables, name), getattr(again, name)
        assert len(before) == len(after) > 0
        for one, other in zip(before, after, strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():
                known = pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
                assert other[key] == known


def test_finished_runs_stay_and_others_go_on(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    plan = dataclasses.replace(TINY, rows=("spam",))
    (run,) = plan.runs()
    folder = tmp_path / run.name
    assert not _prepare(run, folder, None, "cpu")
    # As an interrupted run leaves it: a checkpoint, nothing else.
    before = _result(folder)
    weights = load_file(folder / "weights.safetensors")
    for name in (RESULT, "metrics.json", "weights.safetensors"):
        (folder / name).unlink()
    assert _prepare(run, folder, None, "cpu")
    worker.main(folder)
    again = load_file(folder / "weights.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert _result(folder)["top1"] == before["top1"]
    assert "resuming from" in capsys.readouterr().err


def test_the_seed_decides(finished: Path, tmp_path: Path) -> None:
    """A repetition of a run is the run, bit by bit; another seed is another run."""
    known = _result(finished / "sepconv-seed0")
    for seed in (0, 1):
        plan = dataclasses.replace(TINY, rows=("sepconv",), seeds=(seed,))
        (run,) = plan.runs()
        _prepare(run, tmp_path / run.name, None, "cpu")
        torch.manual_seed(99)
        worker.main(tmp_path / run.name)
        same = _result(tmp_path / run.name)["curve"] == known["curve"]
        assert same == (seed == 0)


def test_a_failure_names_the_run_and_its_reason(tmp_path: Path) -> None:
    recipe = {**RECIPE, "data": {**RECIPE["data"], "dataset": "nothing"}}
    plan = dataclasses.replace(TINY, recipe=recipe, rows=("sepconv",))
    with pytest.raises(UserError, match=r"1 of 1 runs failed: sepconv-seed0; .*got data set"):
        run_plan(plan, tmp_path)


def test_a_folder_of_another_recipe_is_refused(finished: Path) -> None:
    recipe = {**RECIPE, "optimizer": {"lr": 0.5}}
    with pytest.raises(UserError, match="holds a run with other settings"):
        run_plan(dataclasses.replace(TINY, recipe=recipe), finished)


def test_plans_choose() -> None:
    plan = find_plan("cpu")
    names = [run.name for run in plan.runs()]
    assert names[:5] == [f"{row}-seed0" for row in plan.rows]
    assert len(names) == 15
    chosen = plan.chosen(["spam_no_srf", "sepconv_unmatched"], [4], 1)
    assert [run.name for run in chosen.runs()] == ["spam_no_srf-seed4", "sepconv_unmatched-seed4"]
    for arguments, message in (
        ((["mlp"], None, None), "got row 'mlp'"),
        ((None, [-1], None), "expected numbers from 0 up"),
        ((None, None, 0), "got 0 jobs"),
        (([], None, None), "got no rows or no seeds"),
    ):
        with pytest.raises(UserError, match=message):
            plan.chosen(*arguments)
    with pytest.raises(UserError, match="got plan 'tpu', expected one of cpu, gpu"):
        find_plan("tpu")


@pytest.mark.parametrize("name", PLANS)
def test_one_recipe_for_all_rows_of_a_plan(name: str) -> None:
    plan = PLANS[name]
    few = plan.chosen(["spam", "spam_scaled_sigmoid", "pooling"], [0, 1])
    configs = [run_config(run, out="x", data=None, device="cpu") for run in few.runs()]
    for config in configs:
        del config["seed"]
        for key in ("kwargs", "head_order", "gate"):
            del config["model"][key]
    assert all(config == configs[0] for config in configs)
    if plan.task == "classification":
        assert configs[0]["data"]["val_split"] is None  # no look at the test images on the way
    else:
        schedule = configs[0]["schedule"]
        assert schedule["validate_every"] == schedule["updates"]


@pytest.mark.parametrize(
    ("name", "shipped"),
    [
        ("cpu", "fashion_mnist"),
        ("gpu", "fashion_mnist"),
        ("gpu_scenes", "scenes/segmentation"),
    ],
)
def test_recipes_are_the_shipped_ones_but_for_their_length(name: str, shipped: str) -> None:
    known = yaml.safe_load(find_recipe(shipped).read_text(encoding="utf-8"))
    recipe = PLANS[name].recipe
    groups = ["preprocessing", "augmentation", "optimizer"]
    groups += [group for group in ("mixing", "head", "class_weights") if group in known]
    for group in groups:
        assert recipe[group] == known[group]
    assert recipe["data"]["total_batch"] == known["data"]["total_batch"]
    assert recipe["trainer"]["gradient_clip_val"] == known["trainer"]["gradient_clip_val"]
    assert recipe["schedule"]["min_lr"] == known["schedule"]["min_lr"]
