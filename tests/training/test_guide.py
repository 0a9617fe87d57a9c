"""The guide to the engine names functions that exist."""

import importlib
import re
from pathlib import Path

import spanetv2.training

GUIDE = Path(spanetv2.training.__path__[0]) / "README.md"


def test_every_function_that_the_guide_names_exists() -> None:
    rows = [line.split("|")[-2] for line in GUIDE.read_text().splitlines() if line[:1] == "|"]
    names = [name for row in rows for name in re.findall(r"`([a-z_]+\.[\w.]+)`", row)]
    assert len(names) > 25
    for name in set(names) - {"trainer.callbacks"}:
        module, *path = name.split(".")
        value = importlib.import_module(f"spanetv2.training.{module}")
        for part in path:
            value = getattr(value, part)
