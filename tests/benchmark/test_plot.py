import numpy as np
import pytest
from benchmark_records import operator_row, record, row
from PIL import Image

from spanetv2.benchmark.plot import draw
from spanetv2.errors import UserError

MODELS = ("spanetv2_s18_pure", "convformer_s18")


def pixels(content, path):
    draw(content, path)
    with Image.open(path) as drawn:
        return np.asarray(drawn.convert("RGB"))


def bars(fast):
    return record(
        [
            row(model, [seconds, 2 * seconds], mode=mode, work=work)
            for model, seconds in zip(MODELS, (fast, 0.2), strict=True)
            for mode in ("eager", "compiled")
            for work in ("inference", "training")
        ]
    )


def test_draw_bars_depend_on_the_speed(tmp_path):
    first = pixels(bars(0.1), tmp_path / "a.png")
    second = pixels(bars(0.3), tmp_path / "b.png")
    assert first.shape == second.shape
    assert (first != second).any(axis=2).mean() > 0.01


def test_draw_sweep_has_a_panel_for_memory(tmp_path):
    def sweep(memory):
        return record(
            [
                row(model, [0.1 + i], size=size, **memory)
                for i, model in enumerate(MODELS)
                for size in (224, 448)
            ]
        )

    without = pixels(sweep({}), tmp_path / "a.png")
    with_memory = pixels(sweep({"memory_mib": 9.0}), tmp_path / "b.png")
    assert with_memory.shape[1] > 1.5 * without.shape[1]


def test_draw_operators_has_a_panel_per_condition(tmp_path):
    one = [operator_row(name, [1.0], stage=stage) for name in "ab" for stage in (1, 2)]
    two = [*one, *(operator_row("a", [1.0], work="training", stage=s) for s in (1, 2))]
    heights = [
        pixels(record(rows, kind="operators"), tmp_path / "a.png").shape[0] for rows in (one, two)
    ]
    assert heights[1] > 1.5 * heights[0]


def test_draw_refuses_an_empty_record(tmp_path):
    with pytest.raises(UserError, match="without results"):
        draw(record([]), tmp_path / "a.png")
