"""A run computes in one form from its beginning to its end, whatever machine it goes on on."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from spanetv2 import UserError, create_model
from spanetv2.ops.linear import fastest_form
from spanetv2.training.form import settle_form, use_form
from spanetv2.training.resume import RECORD

SHORT = ("--trainer.max_epochs=2", "--trainer.limit_train_batches=2")


def _recorded(runs: Any, folder: Path) -> str:
    return json.loads(runs.load(folder)[RECORD])["form"]


@pytest.mark.parametrize("form", ["maps", "tokens"])
def test_resumed_run_takes_the_recorded_form_whatever_is_asked_for(
    runs: Any, capfd: pytest.CaptureFixture[str], form: str
) -> None:
    other = "tokens" if form == "maps" else "maps"
    whole = runs.train("whole", *SHORT, f"--model.form={form}")
    cut = runs.train("cut", *SHORT, f"--model.form={form}", "--trainer.max_steps=2")
    assert _recorded(runs, cut) == form
    capfd.readouterr()
    runs.train("cut", *SHORT, f"--model.form={other}", "--trainer.max_steps=-1", "--resume")
    assert (
        f"model.form stays {form}, which the run began with (got {other})" in capfd.readouterr().err
    )
    assert _recorded(runs, cut) == form
    runs.assert_same_weights(whole, cut)


def test_new_run_takes_the_faster_form_and_records_it(runs: Any) -> None:
    folder = runs.train("run", *SHORT, "--trainer.max_steps=1")
    assert _recorded(runs, folder) == fastest_form("cpu", compiled=False, training=True)


def _trainer(precision: str = "32-true", device: str = "cpu") -> Any:
    strategy = SimpleNamespace(
        root_device=SimpleNamespace(type=device), broadcast=lambda form: form
    )
    return SimpleNamespace(precision=precision, strategy=strategy)


def test_form_is_tokens_where_nothing_else_is_known() -> None:
    config: Any = SimpleNamespace(model=SimpleNamespace(form="auto", compile=True))
    assert settle_form(config, _trainer("16-mixed"), None) == ("tokens", "")
    assert settle_form(config, _trainer(device="cuda"), None) == ("tokens", "")
    assert settle_form(config, _trainer(), {}) == ("tokens", "")  # a checkpoint of 0.2.0
    for precision, dtype in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        expected = fastest_form("cpu", compiled=True, training=True, dtype=dtype)
        assert settle_form(config, _trainer(precision), None) == (expected, "")
    nothing: Any = SimpleNamespace()
    assert settle_form(nothing, _trainer("16-mixed"), {"form": "maps"}) == ("maps", "")


def test_every_process_takes_the_form_of_the_first() -> None:
    net = create_model("pico_hybrid", num_classes=2, img_size=32)
    average = create_model("pico_hybrid", num_classes=2, img_size=32)
    trainer = SimpleNamespace(strategy=SimpleNamespace(broadcast=lambda form: "maps"))
    module: Any = SimpleNamespace(net=net, evaluated_net=average, form="tokens", trainer=trainer)
    use_form(module)
    assert module.form == "maps"
    for model in (net, average):
        forms = {part.form for part in model.modules() if hasattr(part, "form")}
        assert forms == {"maps"}


def test_two_processes_take_the_form_of_the_first_and_a_resumed_run_the_recorded_one(
    runs: Any, tmp_path: Path
) -> None:
    def take(*options: str, elsewhere: list[int]) -> list[list[str]]:
        """The forms that each process computes in; some are on another kind of processor."""
        arguments = {"folder": str(tmp_path), "elsewhere": elsewhere}
        witness = {"class_path": "form_witness.FormWitness", "init_args": arguments}
        devices = ("--trainer.devices=2", "--trainer.strategy=ddp")
        callback = f"--trainer.callbacks={json.dumps([witness])}"
        result = runs.spawn("two", *SHORT, *devices, callback, *options)
        assert result.returncode == 0, result.stderr
        return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]

    form = fastest_form("cpu", compiled=False, training=True)
    assert take("--trainer.max_steps=1", elsewhere=[1]) == [[form], [form]]
    assert _recorded(runs, tmp_path / "two") == form
    for rank in (0, 1):
        (tmp_path / f"{rank}.json").unlink()
    assert take("--trainer.max_steps=-1", "--resume", elsewhere=[0, 1]) == [[form], [form]]
    assert _recorded(runs, tmp_path / "two") == form
    assert runs.load(tmp_path / "two")["global_step"] == 4


def test_form_of_another_network_is_refused(runs: Any) -> None:
    with pytest.raises(UserError, match=r"model\.form is an option of our own models"):
        runs.train("run", "--model.name=resnet18", "--model.stem_stride=null", "--model.form=maps")
