"""What several folders of tests share, and what must be set before Triton is first imported."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write empty pictures: drawing them takes most of the time, and other tests look at them."""

    def save(made: object, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(path)
        return path

    monkeypatch.setattr("spanetv2.analysis.corruption_report._save", save)
    monkeypatch.setattr("spanetv2.analysis.model_report._save", save)
