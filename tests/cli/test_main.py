"""The command line as a user meets it: in a process of its own."""

import json
import subprocess
import sys

import pytest
import torch
import typer

from spanetv2 import VARIANTS, create_model, load_model, save_weights
from spanetv2.cli.main import main


class Result:
    """What a command printed and its exit status."""

    def __init__(self, returncode: int, stdout: str, stderr: str) -> None:
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command in this process, through the same entry point as the console script."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["spanetv2", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        status = stopped.value.code
        assert status is None or isinstance(status, int)
        return Result(status or 0, *capfd.readouterr())

    return run


def test_help_lists_every_command(run):
    result = run("--help")
    assert result.returncode == 0
    commands = "train quickstart evaluate predict convert export analyze benchmark scenes"
    commands += " check-data convert-data models recipes push"
    for command in commands.split():
        assert f"\n  {command} " in result.stdout


def test_console_script_starts_without_the_heavy_libraries():
    check = (
        "import sys; sys.argv = ['spanetv2', 'models']; import spanetv2.cli.main as cli\n"
        "try: cli.main()\n"
        "finally: print(sorted({'lightning', 'matplotlib', 'sklearn'} & {*sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, timeout=300, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_models_prints_the_table(run):
    result = run("models")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("spanetv2_")]
    assert {line[0] for line in lines} == set(VARIANTS)
    s18 = next(line for line in lines if line[0] == "spanetv2_s18_pure")
    assert s18[-3:] == ["29.16", "4.19", "83.4"]
    rows = json.loads(run("models", "--json").stdout)
    assert rows[0]["name"] == "spanetv2_s18_pure"
    assert rows[0]["mixers"] == ["spam"] * 4


def test_convert(run, tmp_path):
    model = create_model("pico_pure", num_classes=3, img_size=64)
    save_weights(model, tmp_path / "in.safetensors", classes=["a", "b", "c"])
    result = run("convert", tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert result.returncode == 0, result.stderr
    assert "spanetv2_pico_pure, interleaved, sigmoid, 3 classes, 3 channels" in result.stdout
    again, checkpoint = load_model(tmp_path / "out.safetensors")
    assert checkpoint.classes == ["a", "b", "c"]
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(x), model.eval()(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert", "missing.pth", "out.safetensors"), "missing.pth: no such file"),
        (("convert", "missing.pth", "out.pth"), "expected a name that ends in .safetensors"),
        (("predict", "missing.pth", "image.jpg"), "missing.pth: no such file"),
        (("evaluate", "missing.pth"), "missing.pth: no such file"),
    ],
)
def test_user_errors_are_one_line(run, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_system_is_a_sentence(run, monkeypatch, tmp_path):
    target = tmp_path / "file"
    target.write_text("")
    model = create_model("pico_pure", num_classes=3, img_size=64)
    save_weights(model, tmp_path / "in.safetensors")
    result = run("convert", tmp_path / "in.safetensors", target / "out.safetensors")
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {target / 'out.safetensors'}: a part of the path is a file, not a folder; "
        "check the path\n"
    )
    monkeypatch.setenv("SPANETV2_TRACEBACK", "1")
    with pytest.raises(OSError, match="file"):
        run("convert", tmp_path / "in.safetensors", target / "out.safetensors")


def test_unknown_command_and_option_exit_2(run):
    for arguments in (("fly",), ("models", "--nope")):
        result = run(*arguments)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "w"), "stopped\n"),
        (("predict", "w", "images", "--out", "x"), "stopped; the same with --resume goes on\n"),
    ],
)
def test_ctrl_c_is_told_with_how_to_go_on(
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = typer.Typer()

    @app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def command() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["spanetv2", *words])
    with pytest.raises(SystemExit) as stopped:
        main(app)
    assert stopped.value.code == 130
    assert capsys.readouterr().err == said
