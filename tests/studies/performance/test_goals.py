import pytest
from benchmark_records import operator_row, record, row

from studies.performance.goals import GOALS, goals_table, processors_table

PURE, PEER = "spanetv2_s18_pure", "convformer_s18"


def verdict(table, start):
    (found,) = [line for line in table.rows if line[0].startswith(start)]
    return found[1:]


def test_goals_table_without_results_measures_nothing():
    table = goals_table([])
    assert len(table.rows) == len(GOALS) == 48
    assert {line[-1] for line in table.rows} == {"not measured"}


def test_goals_table_compares_cells_of_one_record():
    first = record([row(PURE, [1.0, 2.0]), row(f"{PURE}@reference", [1.5, 3.0])])
    second = record([row(PEER, [1.2, 2.4])])  # another record's times say nothing about it
    table = goals_table([first, second])
    assert verdict(table, "CPU, float32, batch 8, compiled, inference: S18 pure / reference") == [
        *(">= 1.40", "1.50", "reached")
    ]
    assert sum(line[-1] == "not measured" for line in table.rows) == len(GOALS) - 1


@pytest.mark.parametrize(("seconds", "result"), [(1.0, "reached"), (1.01, "missed")])
def test_goals_table_judges_by_the_bound(seconds, result):
    table = goals_table([record([row(PURE, [seconds] * 2), row(PEER, [1.0] * 2)])])
    assert verdict(table, "CPU, float32, batch 8, compiled, inference: S18 pure / conv")[-1] == (
        result
    )


def test_goals_table_takes_the_latest_record():
    old = record([row(PURE, [2.0]), row(PEER, [1.0])], started="2026-01-01T00:00:00+00:00")
    new = record([row(PURE, [1.0]), row(PEER, [2.0])], started="2026-02-01T00:00:00+00:00")
    start = "CPU, float32, batch 8, compiled, inference: S18 pure / conv"
    assert verdict(goals_table([new, old]), start)[1] == "2.00"


def test_goals_table_compares_the_fastest_modes_where_every_runtime_was_measured():
    start = (
        "CPU, float32, batch 8, inference, the fastest of PyTorch, ONNX Runtime and OpenVINO: S18 p"
    )
    times = {"frozen": (3.0, 1.8), "onnxruntime": (4.0, 2.0), "openvino": (2.0, 2.5)}
    rows = [
        row(model, [seconds], mode=mode)
        for mode, pair in times.items()
        for model, seconds in zip((PURE, PEER), pair, strict=True)
    ]
    assert verdict(goals_table([record(rows)]), start) == [">= 0.90", "0.90", "reached"]
    assert verdict(goals_table([record(rows[:4])]), start)[-1] == "not measured"


def test_goals_table_judges_memory_where_it_was_measured():
    start = "CPU, float32, batch 8, compiled, inference: memory of S18 pure"
    rows = [row(PURE, [1.0], memory_mib=110.0), row(PEER, [1.0], memory_mib=100.0)]
    assert verdict(goals_table([record(rows)]), start) == ["<= 1.00", "1.10", "missed"]
    without = [row(PURE, [1.0]), row(PEER, [1.0])]
    assert verdict(goals_table([record(without)]), start)[-1] == "not measured"


def test_goals_table_judges_time_per_pixel():
    rows = [row(PURE, [1.0], batch=8), row(PURE, [5.0], batch=2, size=1024)]
    expected = 5.0 / (2 * 1024**2) * (8 * 224**2)
    start = "CPU, float32, compiled, inference: time per pixel"
    assert verdict(goals_table([record(rows)]), start)[1] == f"{expected:.2f}"


@pytest.mark.parametrize(("work", "figure"), [("inference", "1.80"), ("training", "4.50")])
def test_goals_table_judges_operators_by_passes_over_the_memory(work, figure):
    rows = [operator_row("local@fused", [0.9], dtype="bfloat16", work=work)]
    table = goals_table([record(rows, kind="operators", device="cuda")])
    start = f"GPU, bfloat16, batch 128, {work}: time of local mixing / of a pass over memory, 56"
    assert verdict(table, start)[1:] == [figure, "reached"]
    assert verdict(table, start.replace("56", "28"))[-1] == "not measured"


def test_goals_table_leaves_out_what_was_superseded():
    rows = [row(name, [1.0], dtype="bfloat16", batch=128) for name in (f"{PURE}@fused", PEER)]
    old = record(rows, device="cuda", superseded="another operator")
    start = "GPU, bfloat16, batch 128, compiled, inference: S18 pure / conv"
    assert verdict(goals_table([old]), start)[-1] == "not measured"
    assert verdict(goals_table([record(rows, device="cuda")]), start)[-1] == "reached"


def test_goals_table_adds_the_optimised_network_of_the_kernels():
    seconds = {f"{PURE}@fused": 2.0, f"{PURE}@fused_optimized": 1.0, PEER: 1.5}
    rows = [row(name, [s], dtype="bfloat16", batch=128) for name, s in seconds.items()]
    lines = goals_table([record(rows, device="cuda")]).rows
    found = [line[2:] for line in lines if line[-1] != "not measured"]
    assert found == [["0.75", "missed"], ["1.50", "reached"]]


def test_goals_table_adds_other_implementations_below():
    rows = [row(PURE, [2.0]), row(f"{PURE}@optimized", [1.0]), row(PEER, [1.5])]
    lines = goals_table([record(rows)]).rows
    assert [line[2:] for line in lines[:2]] == [["0.75", "missed"], ["1.50", "reached"]]
    assert lines[1][0] == "... the same, optimised for inference"


def test_processors_table_has_a_column_for_every_kind():
    first = record([row(PURE, [1.0] * 2), row(PEER, [0.9] * 2)])
    second = record([row(PURE, [1.0] * 2), row(PEER, [0.5] * 2)])
    first["hardware"] |= {"kind": "AMD family 26 avx512f"}
    second["hardware"] |= {"processor": "Intel(R) Xeon(R)", "instructions": ["avx512f"]}
    table = processors_table([first, second])
    assert table.header[2:] == ["AMD family 26 avx512f", "Intel avx512f"]
    assert table.rows[0][1:] == [">= 0.85", "0.90, reached", "0.50, missed"]
    assert table.rows[2][2:] == ["not measured"] * 2
