"""Learning rates against tables computed by hand; options of length and rate act or are refused."""

from math import cos, pi, sqrt, tanh
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spanetv2
from spanetv2.errors import UserError
from spanetv2.training.config import ScheduleConfig, check_trainer
from spanetv2.training.schedule import Schedule


def rates(config: ScheduleConfig, *, epochs: int, updates: int, first: int = 0) -> list[float]:
    """Rates of the updates from ``first`` on, the peak is 1; a second layer has half of it."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [parameters[0]]}, {"params": [parameters[1]], "lr_scale": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    schedule = Schedule(optimizer, config, epochs=epochs, updates_per_epoch=updates)
    found = []
    for update in range(first, epochs * updates):
        schedule.apply(epoch=update // updates, update=update)
        whole, half = (group["lr"] for group in optimizer.param_groups)
        assert half == pytest.approx(whole / 2)
        found.append(whole)
    return found


LOW = 0.1
WARM = [0.02, 0.265, 0.51, 0.755]
"""Four steps from 0.02 on the way to 1."""


def tanh_rate(share: float) -> float:
    return LOW + 0.9 * 0.5 * (1 - tanh(-7 * (1 - share) + 3 * share))


def cosine(place: float, length: float) -> float:
    return LOW + 0.9 * 0.5 * (1 + cos(pi * place / length))


# 10 epochs of 2 updates; 4 updates of warm-up; milestones and intervals in epochs
PER_UPDATE = {
    "cosine": [cosine(t, 20) for t in range(4, 20)],  # as timm: from epoch 0, warm-up over it
    "poly": [LOW + 0.9 * (1 - t / 20) ** 0.5 for t in range(4, 20)],
    "step": [1.0] * 2 + [0.5] * 6 + [0.25] * 6 + [0.125] * 2,
    "multistep": [1.0] * 6 + [0.5] * 6 + [0.25] * 4,
    "tanh": [tanh_rate(t / 20) for t in range(4, 20)],
    "wsd": [1.0] * 11 + [LOW + 0.9 * (1 - sqrt(t / 6)) for t in range(1, 6)],
    "constant": [1.0] * 16,
}
SMOOTH_OVER_THE_REST = {
    "cosine": [cosine(t, 16) for t in range(16)],
    "poly": [LOW + 0.9 * (1 - t / 16) ** 0.5 for t in range(16)],
    "tanh": [tanh_rate(t / 16) for t in range(16)],
}


def options(name: str, **more: Any) -> dict[str, Any]:
    shape = {"decay_epochs": 3, "decay_milestones": [8, 5], "decay_rate": 0.5}
    return {"name": name, "min_lr": LOW, "warmup_lr": 0.02, **shape, **more}


@pytest.mark.parametrize("name", PER_UPDATE)
def test_rates_per_update_after_a_warmup_in_epochs(name: str) -> None:
    config = ScheduleConfig(**options(name, warmup_epochs=2))
    found = rates(config, epochs=10, updates=2)
    # timm's tanh warms up to where its curve is by then
    warm = [0.02 + t * (tanh_rate(0.2) - 0.02) / 4 for t in range(4)] if name == "tanh" else WARM
    assert found == pytest.approx([*warm, *PER_UPDATE[name]], abs=1e-12)
    assert rates(config, epochs=10, updates=2, first=7) == found[7:]  # gone on with


@pytest.mark.parametrize("name", PER_UPDATE)
def test_rates_per_epoch(name: str) -> None:
    config = ScheduleConfig(**options(name, step="epoch", warmup_epochs=2))
    found = rates(config, epochs=10, updates=3)
    expected = {
        "cosine": [cosine(t, 10) for t in range(2, 10)],
        "poly": [LOW + 0.9 * (1 - t / 10) ** 0.5 for t in range(2, 10)],
        "step": [1.0] + [0.5] * 3 + [0.25] * 3 + [0.125],
        "multistep": [1.0] * 3 + [0.5] * 3 + [0.25] * 2,
        "tanh": [tanh_rate(t / 10) for t in range(2, 10)],
        "wsd": [1.0] * 6 + [LOW + 0.9 * (1 - sqrt(t / 3)) for t in range(1, 3)],
        "constant": [1.0] * 8,
    }[name]
    top = tanh_rate(0.2) if name == "tanh" else 1.0
    table = [0.02, (0.02 + top) / 2, *expected]
    assert found == pytest.approx([rate for rate in table for _ in range(3)], abs=1e-12)
    assert rates(config, epochs=10, updates=3, first=17) == found[17:]


@pytest.mark.parametrize("name", PER_UPDATE)
@pytest.mark.parametrize("counted", ["epochs", "updates"])
def test_rates_after_a_warmup_in_updates(name: str, counted: str) -> None:
    more: dict[str, Any] = {"warmup_updates": 4}
    if counted == "updates":  # the same places, in updates
        more |= {"updates": 20, "decay_epochs": 6, "decay_milestones": [10, 16]}
    config = ScheduleConfig(**{**options(name), **more})
    found = rates(config, epochs=10, updates=2)
    rest = {**PER_UPDATE, **SMOOTH_OVER_THE_REST}[name]
    assert found == pytest.approx([*WARM, *rest], abs=1e-12)
    assert rates(config, epochs=10, updates=2, first=7) == found[7:]


@pytest.mark.parametrize("name", PER_UPDATE)
@pytest.mark.parametrize("warmup", [{"warmup_epochs": 1}, {"warmup_updates": 2}])
def test_cooldown_is_held_at_the_lowest_rate(name: str, warmup: dict[str, int]) -> None:
    config = ScheduleConfig(**options(name, cooldown_epochs=3, **warmup))
    found = rates(config, epochs=10, updates=2)
    assert found[-6:] == pytest.approx([LOW] * 6)
    assert found[-7] > LOW


def test_the_lowest_rate_holds_for_rates_that_fall_by_steps() -> None:
    for name in ("step", "multistep"):
        config = ScheduleConfig(
            name=name, decay_epochs=1, decay_milestones=[1, 2, 3], decay_rate=0.1, min_lr=0.05
        )
        assert rates(config, epochs=4, updates=1) == pytest.approx([1.0, 0.1, 0.05, 0.05])


def test_step_falls_every_so_many_epochs_also_after_a_warmup_in_updates() -> None:
    for warmup in ({"warmup_epochs": 1}, {"warmup_updates": 2}):
        config = ScheduleConfig(name="step", **warmup)  # 90 epochs
        assert rates(config, epochs=91, updates=2)[-3:] == pytest.approx([1.0, 0.1, 0.1])


def test_a_last_phase_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"schedule\.decay_epochs is 8 in a run of .*max_epochs=5"):
        rates(ScheduleConfig(name="wsd", decay_epochs=8), epochs=5, updates=2)


# refused values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimizer.lr": 1e-3, "schedule.min_lr": 0.1}, r"schedule\.min_lr is 0\.1, .*lr=0\.001"),
        (
            {"optimizer.lr": 1e-7, "schedule.min_lr": 0.0, "schedule.warmup_epochs": 1},
            r"schedule\.warmup_lr is 1e-06, expected at most optimizer\.lr=1e-07",
        ),
        ({"optimizer.lr": float("inf")}, r"optimizer\.lr is inf"),
        ({"schedule.decay_epochs": -1}, r"schedule\.decay_epochs is -1"),
        (
            {"trainer.gradient_clip_val": -1.0},
            r"trainer\.gradient_clip_val is -1\.0, expected more",
        ),
        (
            {"trainer.limit_train_batches": 0},
            r"trainer\.limit_train_batches is 0, expected 1 batch",
        ),
        ({"trainer.max_steps": -5}, r"trainer\.max_steps is -5"),
    ],
)
def test_values_that_cannot_act_are_refused(
    tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    out = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        spanetv2.train("classification", "digits", out=out, overrides=overrides)
    assert not out.exists()


def test_clipping_that_is_off_is_no_fault() -> None:
    for value in (None, 0, 1.5):
        check_trainer({"gradient_clip_val": value})


def test_a_warmup_rate_above_the_peak_is_fine_without_a_warmup() -> None:
    found = spanetv2.api.resolve_training(
        "classification", {"optimizer": {"lr": 1e-9}, "schedule": {"warmup_epochs": 0}}
    )
    assert found.config.optimizer.lr == 1e-9


def test_one_class_is_refused(tmp_path: Path, one_class: Path) -> None:
    with pytest.raises(UserError, match=r"got 1 class \(only\), expected 2 or more"):
        spanetv2.train(
            "classification",
            {"model": {"name": "pico_pure"}, "data": {"workers": 0, "total_batch": 2}},
            data=one_class,
            out=tmp_path / "run",
        )


@pytest.fixture
def one_class(tmp_path: Path) -> Path:
    from PIL import Image

    for split in ("train", "val"):
        folder = tmp_path / "data" / split / "only"
        folder.mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (16, 16)).save(folder / f"{index}.png")
    return tmp_path / "data"
