"""What a base install does, and what it says about the rest."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.extras import EXTRAS, install, need_extra, need_packages
from spanetv2.failures import describe_failure

ROOT = Path(__file__).resolve().parents[1]
BASE = f"""\
import sys
sys.modules.update(dict.fromkeys({list(EXTRAS)!r}))  # none of them can be imported or found
from spanetv2.cli.main import main
for line in sys.argv[1].splitlines():
    sys.argv[1:] = line.split()
    try:
        main()
    except SystemExit as end:
        print("exit", end.code, flush=True)
"""


def as_a_base_install(*lines: str, folder: Path) -> tuple[list[str], list[str]]:
    """What commands print, and what they say, where the packages of the extras are missing."""
    done = subprocess.run(
        [sys.executable, "-c", BASE, "\n".join(lines)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.split(r"[\[<>=]", line)[0] for line in project["dependencies"]}
    packages = {"pytorch_grad_cam": "grad-cam", "docstring_parser": "jsonargparse[signatures]"}
    packages["ray"] = "ray[data]"
    packages["typeshed_client"] = packages["docstring_parser"]
    for module, extra in EXTRAS.items():
        name = packages.get(module, module.replace("_", "-"))
        brought = project["optional-dependencies"][extra]
        assert any(line.startswith(f"{name}>=") for line in brought), module
        assert name not in base


def test_base_install_refuses_training_in_one_line_and_does_the_rest(tmp_path: Path) -> None:
    Image.fromarray(np.full((28, 28), 90, np.uint8)).save(tmp_path / "coat.png")
    classifier = "spanetv2_pico_pure.fashion_mnist"
    printed, said = as_a_base_install(
        "train classification --config digits --out run",
        "train classification --help-all",
        "quickstart --out run",
        f"export {classifier} --quantize int8 --calibrate .",
        f"predict {classifier} coat.png --engine ray",
        "recipes",
        f"predict {classifier} coat.png --top-k 1",
        f"export {classifier} --out network.onnx",
        folder=tmp_path,
    )
    for line in said[:5]:
        assert line.startswith("error: ")
    assert [re.findall(r"'spanetv2\[(.*)\]'", line) for line in said[:5]] == [
        ["train"],
        ["train"],
        ["train"],
        ["export"],
        ["ray"],
    ]
    assert printed[:5] == ["exit 1"] * 5
    assert not (tmp_path / "run").exists()
    assert [line for line in printed if line.startswith("exit")][5:] == ["exit 0"] * 3
    assert any(line.startswith("scenes/mask_rcnn ") for line in printed)
    assert any(line.startswith("coat.png\t") for line in printed)
    assert f"not checked ({install('onnxruntime')} to run it here)" in "\n".join(printed)
    assert (tmp_path / "network.onnx").is_file()


def test_need_packages_names_what_is_missing_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_packages("onnxruntime", use="exported networks")
    for package, extra in EXTRAS.items():
        with monkeypatch.context() as hidden:
            hidden.setitem(sys.modules, package, None)
            with pytest.raises(UserError, match=rf"^they need {package}, .*spanetv2\[{extra}\]"):
                need_packages(package, use="they")
            with pytest.raises(UserError, match=package):
                need_extra(extra, use="they")


def test_failure_of_an_import_says_what_to_install() -> None:
    missing = ModuleNotFoundError("No module named 'lightning'", name="lightning.pytorch")
    assert describe_failure(missing) == f"lightning is not installed; {install('lightning')}"
    assert describe_failure(ModuleNotFoundError("No module named 'x'", name="x")) is None
