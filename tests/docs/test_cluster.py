"""The scripts for SLURM: the shell reads them, and the commands know what they are told."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_group

from spanetv2.cli.main import make_app
from spanetv2.cli.train import main as train

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "docs/cluster").glob("*.sbatch")), ROOT / "scripts/slurm-trial"]


def calls(path: Path) -> list[list[str]]:
    """What the script tells ``spanetv2``: lists of words, with 1 in place of the shell's values."""
    code = re.sub(r"^ *#.*", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = code.replace("\\\n", " ").splitlines()
    found = (re.search(r"(?:^|srun .*)\bspanetv2 (\w+ .*)", line) for line in lines)
    said = [re.sub(r'"\$@"', "", match[1]) for match in found if match]
    return [shlex.split(re.sub(r"\$\w+", "1", text)) for text in said]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_is_valid_bash(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True, timeout=300)


def test_train_script_names_options_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    ((command, *options),) = calls(ROOT / "docs/cluster/train.sbatch")
    assert command == "train"
    assert {"--resume", "--trainer.num_nodes", "--trainer.devices"} <= {*options}
    assert train(["classification", "--config", "digits", *options, "--print-config"]) == 0
    assert "num_nodes: 1" in capsys.readouterr().out


def test_predict_script_names_options_of_predicting() -> None:
    ((command, *options),) = calls(ROOT / "docs/cluster/predict.sbatch")
    known = {name for p in get_group(make_app()).commands[command].params for name in p.opts}
    given = {word for word in options if word.startswith("--")}
    assert {"--out", "--shard", "--resume"} <= given <= known
