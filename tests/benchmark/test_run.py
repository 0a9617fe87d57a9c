import dataclasses
import json
import statistics

import pytest
import torch

from spanetv2.benchmark import Settings, run_networks, run_operators
from spanetv2.benchmark.networks import find_classifier
from spanetv2.benchmark.rates import Rates
from spanetv2.errors import UserError
from spanetv2.files import write_json

PURE = "spanetv2_pico_pure"


def tiny(**changes):
    fields = {
        "models": (PURE, f"{PURE}@reference"),
        "reference": f"{PURE}@reference",
        "modes": ("eager",),
        "batches": (2,),
        "sizes": (32,),
        "rounds": 2,
        "warmup": 1,
    }
    return Settings(**{**fields, **changes})


def test_run_networks_records_every_cell_with_its_times(tmp_path):
    saved = []
    record = run_networks(
        tiny(), command="the command", save=lambda r: saved.append(len(r["cells"]))
    )
    assert saved == [2, 4]
    assert [(row["model"], row["work"]) for row in record["cells"]] == [
        *((PURE, "inference"), (f"{PURE}@reference", "inference")),
        *((PURE, "training"), (f"{PURE}@reference", "training")),
    ]
    for row in record["cells"]:
        peer = next(
            other
            for other in record["cells"]
            if other["work"] == row["work"] and other["model"].endswith("@reference")
        )
        assert len(row["seconds"]) == 2
        assert row["median_s"] == statistics.median(row["seconds"]) > 0
        assert row["images_per_second"] == pytest.approx(2 / row["median_s"])
        assert row["megapixels_per_second"] == pytest.approx(2 * 32**2 / 1e6 / row["median_s"])
        ratios = [b / a for a, b in zip(row["seconds"], peer["seconds"], strict=True)]
        assert row["speed_ratio"] == pytest.approx(statistics.median(ratios))
        assert row["parameters"] == record["cells"][0]["parameters"] > 1e6
        assert row["first_call_s"] > 0
    assert record["command"] == "the command"
    assert record["settings"]["rounds"] == 2
    assert {"packages", "commit", "hardware", "python", "started"} <= set(record)
    write_json(tmp_path / "record.json", record)
    assert json.loads((tmp_path / "record.json").read_text()) == json.loads(json.dumps(record))


def test_run_networks_compares_shapes_and_dtypes_with_their_like():
    settings = tiny(
        models=(PURE, "resnet10t"),
        reference="resnet10t",
        passes=("inference",),
        dtypes=("float32", "bfloat16"),
        sizes=(32, 64),
        rounds=1,
        warmup=0,
    )
    rows = run_networks(settings)["cells"]
    assert len(rows) == 8
    times = {(r["model"], r["dtype"], r["size"]): r["seconds"][0] for r in rows}
    for row in rows:
        peer = times["resnet10t", row["dtype"], row["size"]]
        assert row["speed_ratio"] == pytest.approx(peer / row["seconds"][0])


def test_run_networks_compiles(monkeypatch):
    compiled = []

    def stand_in(function, **options):
        compiled.append(options)
        return function

    monkeypatch.setattr(torch, "compile", stand_in)
    modes = ("eager", "compiled", "frozen")
    record = run_networks(tiny(modes=modes, passes=("inference",), rounds=1))
    assert compiled == [{"dynamic": False}, {"dynamic": False, "options": {"freezing": True}}] * 2
    assert [row["mode"] for row in record["cells"]] == [*modes] * 2


def test_run_networks_adds_memory_to_every_cell(monkeypatch):
    asked = []

    def peak(cell, **how):
        asked.append((cell.model, cell.work, how))
        return float(len(asked))

    monkeypatch.setattr("spanetv2.benchmark.run.cpu_peak", peak)
    record = run_networks(tiny(memory=True, rounds=1, threads=1))
    how = {"channels_last": False, "threads": 1, "find": find_classifier}
    assert asked == [(row["model"], row["work"], how) for row in record["cells"]]
    assert [row["memory_mib"] for row in record["cells"]] == [1.0, 2.0, 3.0, 4.0]


def test_run_networks_uses_the_threads_it_was_given(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "spanetv2.benchmark.run._measure",
        lambda *_, **__: seen.append(torch.get_num_threads()) or [{}],
    )
    before = torch.get_num_threads()
    record = run_networks(tiny(threads=before + 1))
    assert seen == [before + 1] * 2
    assert record["hardware"]["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_run_networks_refuses_to_measure_nothing():
    settings = tiny(models=(f"{PURE}@optimized",), reference=None, passes=("training",))
    with pytest.raises(UserError, match="got nothing to measure"):
        run_networks(settings)


def test_run_operators_relates_times_to_the_floor(monkeypatch):
    monkeypatch.setattr("spanetv2.benchmark.operators._SHORTEST", 0.0)
    rates = Rates(multiply_adds=1e12, bytes=1e9)
    settings = tiny(
        models=("spam", "sepconv", "attention", "local@fused"),
        reference=None,
        passes=("inference",),
        batches=(1,),
        rounds=1,
    )
    record = run_operators(settings, PURE, rates=lambda dtype, device: rates)
    assert record["rates"] == {"float32": rates._asdict()}
    rows = {(row["model"], row["stage"]): row for row in record["cells"]}
    # 24 and 48 channels are no multiple of attention's head width; the fused operator needs a GPU.
    assert set(rows) == {
        *(("spam", stage) for stage in (1, 2, 3, 4)),
        *(("sepconv", stage) for stage in (1, 2, 3, 4)),
        *(("attention", stage) for stage in (3, 4)),
    }
    assert {(row["model"], row["stage"]) for row in record["left_out"]} == {
        *(("attention", stage) for stage in (1, 2)),
        *(("local@fused", stage) for stage in (1, 2, 3, 4)),
    }
    for (model, stage), row in rows.items():
        assert row["compute_floor_s"] == row["multiply_adds"] / 1e12
        assert row["memory_floor_s"] == row["bytes"] / 1e9
        assert row["floor_share"] == pytest.approx(row["memory_floor_s"] / row["median_s"])
        ratio = rows["sepconv", stage]["seconds"][0] / row["seconds"][0]
        assert row["speed_ratio"] == pytest.approx(ratio), model
    assert rows["spam", 1]["channels"] == 24
    assert [rows["spam", stage]["side"] for stage in (1, 2, 3, 4)] == [8, 4, 2, 1]


def test_run_operators_refuses_unknown_names_and_variants():
    with pytest.raises(UserError, match=r"got operators \['pool'\], expected some of spam"):
        run_operators(tiny(models=("pool",), reference=None))
    with pytest.raises(UserError, match="got variant 'resnet18'"):
        run_operators(tiny(models=("spam",), reference=None), "resnet18")


def test_settings_are_recorded_whole():
    record = run_networks(tiny(models=(PURE,), reference=None, passes=("inference",), rounds=1))
    known = {field.name for field in dataclasses.fields(Settings)}
    assert set(record["settings"]) == known | {"matmul_precision", "cudnn_tf32"}
