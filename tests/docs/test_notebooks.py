"""The notebooks: they run, and what they show is what they were run for."""

import re
from pathlib import Path

import nbformat
import pytest

from scripts.run_notebooks import FOLDER, SMALL, run_notebook

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_every_notebook_is_run_with_small_settings() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SMALL)


@pytest.mark.filterwarnings("default")  # of the kernel's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    done = run_notebook(path, tmp_path, SMALL[path.stem])
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_with_its_outputs(path: Path) -> None:
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == [*range(1, len(cells) + 1)]
    assert path.stat().st_size < 200_000
    assert not re.search(r"Traceback|/site-packages/", path.read_text(encoding="utf-8"))
