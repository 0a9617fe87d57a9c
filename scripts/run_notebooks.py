"""Executes the notebooks of docs/notebooks and keeps their outputs: python scripts/run_notebooks.py

Tests run them with the small settings below instead, and keep nothing.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
SMALL = {
    "own_images": "PER_CLASS, EPOCHS, FOLDER = 2, 1, 'runs/own_images'",
    "frequencies": "DRAWS, IMAGES = 1, 10",
    "spam_in_your_network": "EPOCHS, SEEDS = 1, 1",
}
"""Name of a notebook -> what stands in the cell tagged "parameters" in tests."""


def run_notebook(path: Path, folder: Path, settings: str | None = None) -> nbformat.NotebookNode:
    """Execute a notebook.

    Args:
        path: the notebook.
        folder: where it runs, and leaves its files.
        settings: what to put into its cell of settings.

    Returns:
        The notebook with its outputs, without what was written to standard error.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    if settings is not None:
        (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
        cell.source = settings
    client = NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(folder)}}, record_timing=False
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run_notebook(path, Path(folder)), path)
        print(path)
