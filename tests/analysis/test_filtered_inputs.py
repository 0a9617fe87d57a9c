"""Filtering is exact, and accuracy follows the band that carries the class."""

import numpy as np
import pytest
import torch
from torch import nn

from spanetv2.analysis.filtered import filter_images, filtered_accuracy, top1
from spanetv2.analysis.heat_map import fourier_heat_map, fourier_image
from spanetv2.errors import UserError


class WaveReader(nn.Module):
    """Says 1 where the images hold more of the wave (0, period) than its bias."""

    def __init__(self, wave_HW: torch.Tensor, bias: float = 0.5) -> None:
        super().__init__()
        self.wave = nn.Parameter(wave_HW)
        self.bias = bias

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        amount = (x_BCHW.mean(1) * self.wave).sum((1, 2))
        return torch.stack([torch.full_like(amount, self.bias), amount], dim=1)


def images_with(wave_HW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    targets = torch.arange(8) % 2
    return (targets[:, None, None, None] * wave_HW).expand(-1, 3, -1, -1).clone(), targets


def test_low_pass_keeps_waves_up_to_the_radius() -> None:
    slow = fourier_image((16, 12), 1, 0).float().expand(1, 3, -1, -1)
    fast = fourier_image((16, 12), 5, 2).float().expand(1, 3, -1, -1)
    radius = float(2 * np.pi / 16)
    low = filter_images(slow + fast + 1, radius, "low")
    torch.testing.assert_close(low, slow + 1, atol=1e-6, rtol=0)
    high = filter_images(slow + fast + 1, radius, "high", torch.zeros(3))
    torch.testing.assert_close(high, fast, atol=1e-6, rtol=0)
    back = filter_images(slow + fast + 1, radius, "high")
    torch.testing.assert_close(back, fast + 1, atol=1e-6, rtol=0)


def test_filtered_accuracy_drops_where_the_class_is_filtered_out() -> None:
    wave = fourier_image((16, 16), 0, 4).float()  # |w| = pi / 2
    images, targets = images_with(wave)
    done = []
    found = filtered_accuracy(
        WaveReader(wave),
        images,
        targets,
        radii=[np.pi / 4, np.pi / 2, np.pi],
        batch_size=3,
        advance=done.append,
    )
    assert found.dims == ("band", "radius")
    assert found.values.tolist() == [[0.5, 1.0, 1.0], [1.0, 0.5, 0.5]]
    assert done == [8] * 6


def test_heat_map_finds_the_wave_that_a_model_listens_to() -> None:
    wave = fourier_image((16, 16), 0, 2).float()
    images, targets = images_with(wave)
    found = fourier_heat_map(WaveReader(wave), images, targets, std=[1.0] * 3, size=5, strength=1)
    errors = {
        (i, j): found.values[a, b]
        for a, i in enumerate(found.coords["i"])
        for b, j in enumerate(found.coords["j"])
    }
    assert errors[0, 2] == errors[0, -2] > 0.2
    others = [value for place, value in errors.items() if place not in ((0, 2), (0, -2))]
    assert len(others) == 23
    assert max(others) == 0


def test_heat_map_strength_is_in_units_of_pixels() -> None:
    seen = []

    class Watcher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return torch.zeros(len(x), 2)

    images, targets = torch.zeros(4, 2, 8, 8), torch.zeros(4, dtype=torch.long)
    fourier_heat_map(Watcher(), images, targets, std=[0.5, 0.25], size=3, strength=0.1)
    assert len(seen) == 5  # (i, j) and (-i, -j) are one wave
    for x in seen:
        rms = x.square().mean((2, 3)).sqrt()
        torch.testing.assert_close(rms, torch.tensor([0.2, 0.4]).expand(4, -1))
    signs = torch.stack([x[:, :, 0, 0].sign() for x in seen])
    assert signs.unique().tolist() == [-1, 1]


@pytest.mark.parametrize("place", [(0, 0), (4, 0), (0, 3), (4, 3), (1, 2), (-1, -2)])
def test_fourier_image_is_one_real_wave_of_norm_1(place: tuple[int, int]) -> None:
    wave = fourier_image((8, 6), *place)
    spectrum = torch.fft.fft2(wave, norm="ortho").abs()
    assert wave.norm().item() == pytest.approx(1)
    i, j = place
    expected = torch.zeros(8, 6, dtype=torch.float64)
    expected[i % 8, j % 6] = expected[-i % 8, -j % 6] = 1
    torch.testing.assert_close(spectrum, expected / expected.norm(), atol=1e-9, rtol=0)


def test_bad_input_is_refused() -> None:
    wave = fourier_image((8, 8), 0, 1).float()
    images, targets = images_with(wave)
    model = WaveReader(wave)
    with pytest.raises(UserError, match="got 3 labels for 8 images"):
        top1(model, images, targets[:3])
    with pytest.raises(UserError, match="got 0 labels for 0 images"):
        top1(model, images[:0], targets[:0])
    with pytest.raises(UserError, match="got label 5 for 2 outputs"):
        top1(model, images, targets + 4)
    with pytest.raises(UserError, match="not finite"):
        top1(model, images * float("nan"), targets)
    with pytest.raises(UserError, match="expected ascending"):
        filtered_accuracy(model, images, targets, radii=[2.0, 1.0])
    with pytest.raises(UserError, match="got band 'mid'"):
        filter_images(images, 1.0, "mid")
    with pytest.raises(UserError, match="got a radius of -1"):
        filter_images(images, -1, "low")
    with pytest.raises(UserError, match="an odd number up to 8"):
        fourier_heat_map(model, images, targets, std=[1.0] * 3, size=9)
    with pytest.raises(UserError, match="an odd number up to 8"):
        fourier_heat_map(model, images, targets, std=[1.0] * 3, size=4)
    with pytest.raises(UserError, match="expected a positive"):
        fourier_heat_map(model, images, targets, std=[1.0] * 3, size=3, strength=0)
    with pytest.raises(UserError, match="got 1 values of std for 3 channels"):
        fourier_heat_map(model, images, targets, std=[1.0], size=3)
