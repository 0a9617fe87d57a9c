"""Batch plan, groups, schedule, freezing, loss watch: the parts of a run, each by itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import spanetv2
from spanetv2.errors import UserError
from spanetv2.tasks.classification.build import build_model
from spanetv2.tasks.classification.config import ModelConfig
from spanetv2.training.batching import plan_batches
from spanetv2.training.checkpoints import (
    SafeCheckpointIO,
    find_checkpoint,
    set_aside_broken,
)
from spanetv2.training.config import OptimizerConfig, ScheduleConfig
from spanetv2.training.finite import LossWatch, all_finite
from spanetv2.training.freezing import freeze, hold_frozen_in_eval
from spanetv2.training.logs import COLUMNS, RunLog
from spanetv2.training.optimizer import build_optimizer
from spanetv2.training.schedule import Schedule
from spanetv2.training.seeding import seed_step

# batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "devices", "per_device", "expected"),
    [
        (4096, 8, 128, (128, 4)),
        (4096, 32, 128, (128, 1)),
        (4096, 64, 128, (64, 1)),  # more devices: fewer images on each
        (128, 1, None, (128, 1)),
        (128, 2, None, (64, 1)),
    ],
)
def test_plan_batches_keeps_the_total(
    total: int, devices: int, per_device: int | None, expected: tuple[int, int]
) -> None:
    plan = plan_batches(total, devices=devices, per_device=per_device)
    assert (plan.per_device, plan.accumulation) == expected
    assert plan.total == total
    assert "NOT" not in str(plan)


def test_plan_batches_reports_a_difference() -> None:
    plan = plan_batches(4096, devices=3, per_device=128)
    assert plan.total == 4224
    assert "NOT the total batch of 4096 asked for (+3.1 %); the learning rate is left" in str(plan)


def test_plan_batches_keeps_pairs_for_mixup() -> None:
    assert plan_batches(4096, devices=3, even=True).per_device % 2 == 0
    with pytest.raises(UserError, match=r"data\.batch_size=7 with mixup"):
        plan_batches(28, devices=1, per_device=7, even=True)
    with pytest.raises(UserError, match="at least one image for each"):
        plan_batches(2, devices=4)


# optimiser ----------------------------------------------------------------------------------------


def test_optimizer_leaves_weight_decay_off_vectors_and_biases() -> None:
    model = spanetv2.create_model("pico_hybrid", num_classes=10)
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.05))
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim > 1 and not name.endswith(".bias")), (
            name
        )
    everything = build_optimizer(model, OptimizerConfig(weight_decay=0.05, decay_all=True))
    assert {g["weight_decay"] for g in everything.param_groups} == {0.05}


def test_layer_decay_scales_from_the_stem_to_the_head() -> None:
    model = spanetv2.create_model("pico_pure", num_classes=10)
    optimizer = build_optimizer(model, OptimizerConfig(layer_decay=0.5))
    scale = {id(p): g["lr_scale"] for g in optimizer.param_groups for p in g["params"]}
    scales = {name: scale[id(p)] for name, p in model.named_parameters()}
    assert max(scales.values()) == scales["head.fc.fc2.weight"] == 1.0
    assert min(scales.values()) == scales["stem.conv.weight"] < 0.1
    Schedule(optimizer, ScheduleConfig(warmup_epochs=0), epochs=2, updates_per_epoch=10).apply(
        epoch=0, update=0
    )
    rates = {g["lr"] for g in optimizer.param_groups}
    assert max(rates) == pytest.approx(1e-3)
    assert len(rates) == len(set(scales.values()))


def test_one_batch_stays_one_whatever_was_imported_before() -> None:
    """Python caches the two orders of a union as one type; the first one said decides."""
    script = (
        "from typing import Optional, Union, _cleanups; "
        "from spanetv2.training.parser import RunParser; "
        "from spanetv2.training.config import BaseRunConfig; "
        "[clear() for clear in _cleanups]; Optional[Union[float, int, None]]; "
        "parser = RunParser('x', BaseRunConfig); "
        "words = ['--trainer.limit_train_batches=1', '--trainer.limit_val_batches=0.5']; "
        "values = parser.add_words(words, parser.defaults()); "
        "again = parser.add_values({'trainer': {'limit_train_batches': 2}}, values); "
        "print([parser.build(v)[1]['limit_train_batches'] for v in (values, again)])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout == "[1, 2]\n", run.stderr


def test_optimizer_names_are_timms() -> None:
    model = nn.Linear(2, 2)
    assert type(build_optimizer(model, OptimizerConfig(name="lamb"))).__name__ == "Lamb"
    with pytest.raises(UserError, match="expected one of timm's"):
        build_optimizer(model, OptimizerConfig(name="adamx"))
    with pytest.raises(UserError, match="beta3"):
        build_optimizer(model, OptimizerConfig(name="lamb", kwargs={"beta3": 1}))


# schedule -----------------------------------------------------------------------------------------


def _rates(config: ScheduleConfig, *, epochs: int, updates: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = Schedule(optimizer, config, epochs=epochs, updates_per_epoch=updates)
    rates = []
    for epoch in range(epochs):
        for update in range(updates):
            schedule.apply(epoch=epoch, update=epoch * updates + update)
            rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_schedule_of_the_imagenet_recipes() -> None:
    config = ScheduleConfig(
        step="epoch", warmup_epochs=20, warmup_lr=1e-6, min_lr=1e-5, cooldown_epochs=10
    )
    rates = _rates(config, epochs=310, updates=2)
    assert rates[0] == rates[1] == pytest.approx(1e-6)  # stepped per epoch
    assert rates[2] == pytest.approx(1e-6 + (1 - 1e-6) / 20)
    assert max(rates) == rates[40] == pytest.approx(0.989, abs=1e-3)  # cosine runs from epoch 0
    assert rates[2 * 150] == pytest.approx(0.5, abs=1e-2)
    assert rates[-20:] == pytest.approx([1e-5] * 20)


def test_schedule_per_update_moves_within_an_epoch() -> None:
    rates = _rates(ScheduleConfig(step="update", warmup_epochs=1), epochs=4, updates=5)
    assert len(set(rates)) == 20
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_schedule_refuses_to_be_all_warmup() -> None:
    with pytest.raises(UserError, match=r"trainer\.max_epochs=5 leaves no epoch"):
        _rates(ScheduleConfig(warmup_epochs=3, cooldown_epochs=2), epochs=5, updates=1)


def test_schedule_counted_in_updates_warms_up_then_decays_over_the_rest() -> None:
    # 1500 updates of warm-up from a millionth, then a straight line to 0 at the end
    config = ScheduleConfig(
        name="poly", decay_rate=1.0, updates=40, warmup_updates=10, warmup_lr=1e-6, min_lr=0.0
    )
    rates = _rates(config, epochs=4, updates=10)
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5] == pytest.approx(0.5, abs=1e-6)
    assert rates[10:] == pytest.approx([1 - i / 30 for i in range(30)])
    assert _rates(config, epochs=1, updates=40) == rates  # epochs do not matter


def test_schedule_milestones_in_epochs_after_a_warmup_in_updates() -> None:
    config = ScheduleConfig(
        name="multistep", decay_milestones=[2, 3], warmup_updates=4, warmup_lr=1e-3
    )
    rates = _rates(config, epochs=4, updates=10)
    assert rates[:5] == pytest.approx([1e-3, 0.25075, 0.5005, 0.75025, 1.0])
    assert rates[5:] == pytest.approx([1.0] * 15 + [0.1] * 10 + [0.01] * 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"updates": 100, "validate_every": 30}, "a divisor of schedule.updates=100"),
        ({"updates": 100, "warmup_epochs": 1}, "give schedule.warmup_updates"),
        ({"updates": 100, "step": "epoch"}, "schedule.step is 'epoch'"),
        ({"validate_every": 10}, "schedule.validate_every is 10"),
        ({"updates": 0}, "schedule.updates is 0"),
    ],
)
def test_schedule_config_refuses_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ScheduleConfig(**options)


def test_optimizer_takes_a_rate_per_parameter() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    config = OptimizerConfig(lr=1.0, weight_decay=0.1)
    optimizer = build_optimizer(model, config, lr_scale=lambda n: 0.5 if n[0] == "0" else 1.0)
    found = {
        id(p): (g["lr_scale"], g["weight_decay"])
        for g in optimizer.param_groups
        for p in g["params"]
    }
    assert {name: found[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": (0.5, 0.1),
        "0.bias": (0.5, 0.0),
        "1.weight": (1.0, 0.0),
        "1.bias": (1.0, 0.0),
        "2.weight": (1.0, 0.1),
        "2.bias": (1.0, 0.0),
    }
    everything = build_optimizer(
        model, OptimizerConfig(weight_decay=0.1, decay_all=True), lr_scale=lambda _: 1.0
    )
    assert [g["weight_decay"] for g in everything.param_groups] == [0.1]


# freezing -----------------------------------------------------------------------------------------


def test_freeze_all_leaves_the_classifier() -> None:
    model = spanetv2.create_model("pico_pure", num_classes=10)
    frozen = freeze(model, "all")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith("head.fc.") for name in trained)
    assert len(frozen) + len(trained) == len(list(model.parameters()))
    model.train()
    hold_frozen_in_eval(model, frozen)
    assert not model.get_submodule("stages").training
    assert model.get_submodule("head.fc").training


@pytest.mark.parametrize("name", ["spanetv2_pico_pure", "test_convnext", "test_resnet"])
def test_freeze_stages_takes_them_from_the_front(name: str) -> None:
    model = timm.create_model(name, num_classes=10)
    assert freeze(model, None) == []
    before = 0
    for stages in range(4):
        frozen = freeze(model, stages)
        assert before < len(frozen)
        before = len(frozen)
    assert all(p.requires_grad for n, p in model.named_parameters() if n.startswith(("head", "fc")))
    with pytest.raises(UserError, match="expected 0 to 4"):
        freeze(model, 5)


# models -------------------------------------------------------------------------------------------


def test_build_model_fine_tunes_from_weights(tmp_path: Path) -> None:
    for name in ("spanetv2_pico_pure", "test_convnext"):
        source = build_model(ModelConfig(name=name), num_classes=7, input_size=(3, 32, 32))
        path = tmp_path / f"{name}.safetensors"
        spanetv2.save_weights(source, path)
        model = build_model(ModelConfig(), num_classes=3, input_size=(3, 32, 32), weights=str(path))
        expected, got = source.state_dict(), model.state_dict()
        same = [key for key in expected if torch.equal(expected[key], got[key])]
        assert 0 < len(expected) - len(same) <= 2  # the last layer alone is new
    with pytest.raises(UserError, match="another model"):
        build_model(
            ModelConfig(name="test_resnet"),
            num_classes=3,
            input_size=(3, 32, 32),
            weights=str(tmp_path / "test_convnext.safetensors"),
        )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(), "got no model"),
        (ModelConfig(name="s18_pur"), "did you mean"),
        (ModelConfig(name="test_resnet", stem_stride=2), r"give --model\.stem_stride null"),
        (ModelConfig(name="pico_pure", kwargs={"depth": 3}), "depth"),
        (ModelConfig(name="pico_pure", pretrained=True), "give weights of yours: .*--weights FILE"),
    ],
)
def test_build_model_explains_what_is_wrong(config: ModelConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_model(config, num_classes=3, input_size=(3, 32, 32))


# losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_watch_names_the_update(value: float) -> None:
    watch = LossWatch()
    assert watch.note(torch.tensor(1.0), update=0, epoch=0, lr=0.1) is None
    bad = watch.note(torch.tensor(value), update=1, epoch=0, lr=0.2)
    assert bad is not None
    assert (bad.update, bad.lr) == (1, 0.2)
    assert watch.flush() is None


def test_all_finite_looks_at_every_tensor() -> None:
    good = torch.ones(3)
    assert all_finite([good, torch.tensor([1, 2])])
    assert not all_finite([good, torch.tensor([1.0, float("inf")])])


def test_seed_step_is_a_function_of_its_arguments() -> None:
    draws = []
    for arguments in ((0, 1, 0), (0, 1, 0), (0, 2, 0), (0, 1, 1), (1, 1, 0)):
        seed_step(*arguments)
        draws.append(float(torch.rand(())))
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4


# files --------------------------------------------------------------------------------------------


def test_checkpoint_io_keeps_the_one_before_and_survives_truncation(tmp_path: Path) -> None:
    io = SafeCheckpointIO()
    path = tmp_path / "last.ckpt"
    assert find_checkpoint(tmp_path) == (None, None)
    whole = {"state_dict": {}, "optimizer_states": [], "loops": {}, "global_step": 1, "epoch": 0}
    for value in (1.0, 2.0, 3.0):
        io.save_checkpoint(whole | {"value": torch.full((1000,), value)}, path)
    assert find_checkpoint(tmp_path) == (path, None)
    assert float(io.load_checkpoint(path)["value"][0]) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last-previous.ckpt", "last.ckpt"]
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 255
    for broken in (content[:-1], content[: len(content) // 2], b"", bytes(damaged)):
        path.write_bytes(broken)
        found, remark = find_checkpoint(tmp_path)
        assert found == tmp_path / "last-previous.ckpt"
        assert remark is not None
        assert "truncated or damaged" in remark
        assert float(io.load_checkpoint(found)["value"][0]) == 2
        set_aside_broken(tmp_path)
        assert not path.exists()  # it must not displace the good one
    (tmp_path / "last-previous.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match="truncated or damaged"):
        find_checkpoint(tmp_path)


def test_checkpoint_io_refuses_arbitrary_objects(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"path": Path("x")}, path)
    with pytest.raises(Exception, match=r"[Ww]eights only"):
        SafeCheckpointIO().load_checkpoint(path)


def test_run_log_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    figures = ("top1", "top5", "loss")
    first = RunLog(tmp_path, figures=figures)
    for step in (10, 20, 30):
        first.log_metrics({"epoch": 0, "lr": 0.1, "train/loss": step / 3}, step=step)
    first.log_metrics({"gpu/temperature": 50.0}, step=30)
    first.finalize("success")
    second = RunLog(tmp_path, figures=figures, resume_step=20)
    second.log_metrics({"epoch": 1, "val/top1": 0.5}, step=30)
    second.finalize("success")
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        ",".join([*COLUMNS, "val/top1", "val/top5", "val/loss"]),
        "10,0,0.1,3.33333,,,,,",
        "20,0,0.1,6.66667,,,,,",
        "30,1,,,,,0.5,,",
    ]
