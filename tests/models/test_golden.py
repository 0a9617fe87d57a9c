"""Parity with the authors' implementation, number for number."""

import filecmp
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import spanetv2
from spanetv2.models.weights import save_weights, to_native

sys.path.insert(0, str(Path(__file__).parent))
import golden

TOLERANCE = 1e-4


def _build(path: Path) -> tuple[torch.nn.Module, torch.Tensor]:
    variant, form, size = golden.parse(path)
    order, _, scaled = form.partition("_")
    gate = "scaled_sigmoid" if scaled else "sigmoid"
    model = spanetv2.create_model(variant, head_order=order, gate=gate).eval()
    spanetv2.load_weights(model, golden.authors_state_dict(f"{variant}/{form}"), gate=gate)
    return model, golden.image(*size)


def _errors(model: torch.nn.Module, image: torch.Tensor, path: Path) -> dict[str, float]:
    expected = np.load(path)
    with torch.no_grad():
        last, maps = model.forward_intermediates(image)  # pyright: ignore[reportCallIssue]
        pooled = model.forward_head(last, pre_logits=True)  # pyright: ignore[reportCallIssue]
        got = {"logits": model(image), "pooled": pooled}
        for i, y_BCHW in enumerate(maps):
            y_BHWC = y_BCHW.permute(0, 2, 3, 1)
            assert tuple(y_BHWC.shape) == tuple(expected[f"stage{i}_shape"])
            got[f"stage{i}_mean"] = y_BHWC.mean((1, 2))
            got[f"stage{i}_std"] = y_BHWC.flatten(1, 2).std(1)
            got[f"stage{i}_corner"] = y_BHWC[:, :2, :2, :8]
    assert {*got, *(f"stage{i}_shape" for i in range(4))} == set(expected.files)
    return {name: golden.relative_error(value, expected[name]) for name, value in got.items()}


@pytest.mark.parametrize("path", golden.FILES, ids=lambda path: path.stem)
def test_model_agrees_with_the_authors(path):
    errors = _errors(*_build(path), path)
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize(
    "stem", ["s18_pure_interleaved_224x224", "s18_pure_concatenated_scaled_224x224"]
)
def test_converted_file_agrees_with_the_authors(stem, tmp_path):
    path = golden.FOLDER / f"{stem}.npz"
    model, image = _build(path)
    save_weights(model, tmp_path / "weights.safetensors")
    again, _ = spanetv2.load_model(tmp_path / "weights.safetensors")
    errors = _errors(again, image, path)
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("stem", ["s18_pure_interleaved_224x224", "s18_pure_concatenated_224x224"])
def test_wrong_head_order_does_not_agree(stem):
    path = golden.FOLDER / f"{stem}.npz"
    variant, form, size = golden.parse(path)
    wrong = "concatenated" if form == "interleaved" else "interleaved"
    state = to_native(golden.authors_state_dict(f"{variant}/{form}"))
    renamed = {
        name.replace(f"grouped_{form}", f"grouped_{wrong}"): value
        for name, value in state.items()
        if not name.endswith("spectral.alpha")
    }
    model = spanetv2.create_model(variant, head_order=wrong).eval()
    spanetv2.load_weights(model, renamed)
    errors = _errors(model, golden.image(*size), path)
    assert errors["logits"] > 0.01, errors


def test_zeros_and_nan_do_not_pass_the_comparison():
    assert golden.relative_error(torch.zeros(2, 3), np.ones((2, 3))) == 1
    assert golden.relative_error(torch.full((2,), torch.nan), np.ones(2)) == float("inf")


def test_copies_equal_the_shared_golden_files():
    shared = Path(__file__).parents[3] / "shared" / "golden"
    if not shared.is_dir():
        pytest.skip("no golden files beside this repository to compare the copies with")
    names = [path.name for path in shared.iterdir() if path.suffix in (".npz", ".json")]
    assert len(names) == 7
    _, different, missing = filecmp.cmpfiles(shared, golden.FOLDER, names, shallow=False)
    assert not different
    assert not missing
