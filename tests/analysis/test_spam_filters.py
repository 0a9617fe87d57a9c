"""The picture of the spectral filters shows the gain that really acts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import spanetv2
from spanetv2.analysis import spam_filters
from spanetv2.analysis.spam_filters import full_spectrum, radial_profile, spectral_filters
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM, SpectralRescale


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("grid", [(4, 4), (5, 7), (6, 3), (3, 8), (1, 1)])
def test_full_spectrum_is_the_response_of_the_module(grid: tuple[int, int]) -> None:
    """Against the definition: the spectrum of the module's output for an impulse."""
    torch.manual_seed(0)
    module = SpectralRescale(2, grid).eval()
    with torch.no_grad():
        module.theta.normal_()
        impulse = torch.zeros(1, 2, *grid)
        impulse[..., 0, 0] = 1
        answer = np.fft.fftshift(np.fft.fft2(module(impulse)[0].numpy()), axes=(-2, -1))
        drawn = full_spectrum(module.gain(*grid).numpy(), grid[1])
    assert drawn.shape == (2, *grid)
    np.testing.assert_allclose(answer.imag, 0, atol=1e-6)
    np.testing.assert_allclose(drawn, answer.real, atol=1e-6)
    assert drawn.std() > 0.01 or grid == (1, 1)


def test_full_spectrum_refuses_another_width() -> None:
    with pytest.raises(ValueError, match="got 3 half-spectrum columns, expected 4 for 7"):
        full_spectrum(np.zeros((5, 3)), 7)


@pytest.mark.parametrize("size", [7, 8, 32])
def test_radial_profile_recovers_a_radial_function(size: int) -> None:
    frequency = 2 * np.pi * np.fft.fftshift(np.fft.fftfreq(size))
    radius = np.hypot(frequency[:, None], frequency[None, :])
    rings, gain = radial_profile(radius)
    np.testing.assert_allclose(rings, gain)
    assert rings[0] == 0
    assert rings[-1] <= np.pi + 1e-9
    assert (np.diff(rings) > 0).all()


@pytest.mark.parametrize(
    "size", [(224, 288), (224, 192), (64, 72), (32, 36), (96, 64), (36, 36), (20, 36), (64, 64)]
)
def test_filters_are_drawn_on_the_grid_of_the_model(size: tuple[int, int]) -> None:
    """Against the definition: the spectrum of each filter's answer to an impulse on its grid."""
    torch.manual_seed(0)
    model = spanetv2.create_model("pico_pure", num_classes=2, img_size=size)
    grid = model.stem.output_grid(*size)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("theta"):
                parameter.normal_(std=2)
    for stage, drawn in zip(model.stages, spam_filters._collect(model), strict=True):
        for block, gains in zip(stage.blocks, drawn.gains, strict=True):
            spectral = block.token_mixer.spectral
            impulse = torch.zeros(1, len(gains), *grid)
            impulse[..., 0, 0] = 1
            with torch.no_grad():
                answer = np.fft.fft2(spectral(impulse)[0].double().numpy()).real
            np.testing.assert_allclose(gains, np.fft.fftshift(answer, axes=(-2, -1)), atol=1e-5)
        grid = ((grid[0] + 1) // 2, (grid[1] + 1) // 2)


@pytest.mark.parametrize("grid", [(7, 14), (8, 32), (28, 7), (3, 12)])
def test_radial_profile_of_a_long_grid_starts_with_the_constant(grid: tuple[int, int]) -> None:
    values = np.zeros(grid)
    values[grid[0] // 2, grid[1] // 2] = 1
    rings, gain = radial_profile(values)
    assert (rings[0], gain[0]) == (0, 1)
    assert not gain[1:].any()


def small_model() -> nn.Module:
    torch.manual_seed(0)
    coarse = nn.Sequential(SPAM(8, (4, 4)), SPAM(8, (4, 4)))
    model = nn.ModuleDict({"stages": nn.ModuleList([SPAM(8, (8, 8)), coarse])})
    with torch.no_grad():
        for mixer in coarse.children():
            assert isinstance(mixer, SPAM)
            mixer.spectral.theta.mul_(20)  # these set the range of the colours
    return model


def test_spectral_filters_draws_each_stage_in_its_own_row(tmp_path: Path) -> None:
    model = small_model()
    spectral_filters(model, tmp_path / "before.png")
    first = next(module for module in model.modules() if isinstance(module, SPAM))
    with torch.no_grad():
        first.spectral.theta[0].mul_(5)
    spectral_filters(model, tmp_path / "after.png")
    before, after = pixels(tmp_path / "before.png"), pixels(tmp_path / "after.png")
    changed = np.nonzero((before != after).any(axis=(1, 2)))[0]
    assert changed.size > 0
    assert changed.max() < 0.55 * before.shape[0]


def test_spectral_filters_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = small_model().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    spectral_filters(model, tmp_path / "filters.png", channels=1)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_spectral_filters_refuses_a_model_without_spam(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="got a Linear without a SPAM mixer whose filter can be drawn"
    ):
        spectral_filters(nn.Linear(2, 2), tmp_path / "filters.png")
    assert list(tmp_path.iterdir()) == []
