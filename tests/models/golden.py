"""The authors' implementation on weights and inputs made by a formula (tests/data/golden)."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "data" / "golden"
FILES = sorted(FOLDER.glob("*.npz"))


def unit(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform values of unit variance, drawn for a key."""
    draws = np.random.default_rng(zlib.crc32(key.encode())).random(math.prod(shape))
    return ((2 * draws - 1) * math.sqrt(3)).reshape(shape)


def parameter(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The formula's value of one of the authors' parameters, float32."""
    leaf = key.rpartition(".")[2]
    draws = unit(key, shape)
    if leaf.startswith("filter"):
        values = 2 * draws
    elif len(shape) >= 2:
        values = draws / math.sqrt(math.prod(shape[1:]))
    elif leaf == "bias":
        values = 0.1 * draws
    else:
        values = 1 + 0.1 * draws
    return torch.from_numpy(values.astype(np.float32))


def authors_state_dict(form: str) -> dict[str, torch.Tensor]:
    """The authors' state dict of a form such as ``s18_pure/interleaved``."""
    shapes = json.loads((FOLDER / "state_dict_keys.json").read_text())[form]
    return {key: parameter(key, tuple(shape)) for key, shape in shapes.items()}


def image(height: int, width: int) -> torch.Tensor:
    """The formula's batch of two input images."""
    return torch.from_numpy(unit("input", (2, 3, height, width)).astype(np.float32))


def parse(path: Path) -> tuple[str, str, tuple[int, int]]:
    """Variant, form, and (height, width) of a golden file's name."""
    size, form = path.stem.rpartition("_")[2], path.stem.rpartition("_")[0]
    variant, _, kind = form.partition("_")[2].partition("_")
    height, width = map(int, size.split("x"))
    return f"{form.partition('_')[0]}_{variant}", kind, (height, width)


def relative_error(got: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest expected value; infinite for not-a-number."""
    difference = np.abs(got.detach().double().numpy() - expected.astype(np.float64)).max()
    return float(difference / np.abs(expected).max()) if np.isfinite(difference) else math.inf
