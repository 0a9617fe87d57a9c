"""Corruptions: what each does to an image and to its spectrum, and what it costs a network."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spanetv2.analysis.corrupted import corrupted_scores, corruption_power, radial_power
from spanetv2.analysis.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from spanetv2.analysis.score import top1_score
from spanetv2.errors import UserError

# Between these strengths the definitions change more than an amount: fog becomes rougher, the
# elastic transform goes from a few large bends to many small ones, snow from small to large flakes,
# and cells of pixels fall onto the pixels or between them.
EXCEPTIONS = {
    "fog": {(2, 3), (3, 4)},
    "elastic_transform": {(2, 3)},
    "snow": {(2, 3)},
    "pixelate": {(1, 2)},
}


def natural(side: int, channels: int = 3) -> Tensor:
    """Images with a spectrum like photographs': power falls with the square of the frequency."""
    generator = torch.Generator().manual_seed(0)
    waves = torch.fft.fft2(torch.randn(2, channels, side, side, generator=generator))
    fy, fx = torch.fft.fftfreq(side)[:, None], torch.fft.fftfreq(side)
    x = torch.fft.ifft2(waves / (fy**2 + fx**2).sqrt().clamp_min(1 / side)).real
    return (0.45 + 0.12 * (x - x.mean()) / x.std()).clamp(0, 1)


def change(x: Tensor, kind: str, strength: int) -> float:
    return float((corrupt(x, kind, strength) - x).square().mean().sqrt())


@pytest.mark.parametrize("side", [32, 160])
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_stronger_corruption_changes_more(kind: str, side: int) -> None:
    x = natural(side)
    found = {strength: change(x, kind, strength) for strength in STRENGTHS}
    assert found[1] > 1e-3
    assert found[5] > found[1] or kind == "elastic_transform"
    for weaker, stronger in itertools.pairwise(STRENGTHS):
        if (weaker, stronger) not in EXCEPTIONS.get(kind, ()):
            # glass blurs of one distance differ by their draws alone
            assert found[stronger] > found[weaker] * (
                0.9 if kind in ("glass_blur", "pixelate") else 1
            )


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_is_a_function_of_image_seed_and_number(kind: str) -> None:
    x = natural(24).repeat(2, 1, 1, 1)
    whole = corrupt(x, kind, 3, seed=1)
    assert torch.equal(whole, corrupt(x, kind, 3, seed=1))
    parts = [corrupt(x[:1], kind, 3, seed=1), corrupt(x[1:], kind, 3, seed=1, first=1)]
    assert torch.equal(whole, torch.cat(parts))
    drawn = kind not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate")
    drawn = drawn and kind != "jpeg_compression"
    assert torch.equal(whole, corrupt(x, kind, 3, seed=2)) is not drawn
    assert torch.equal(whole[0], whole[2]) is not drawn


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 36), (4, 33, 17)])
def test_any_size_channels_and_dtype_are_taken(kind: str, shape: tuple[int, ...]) -> None:
    x = torch.rand(1, *shape)
    for dtype in (torch.float32, torch.float64, torch.float16):
        y = corrupt(x.to(dtype), kind, 4)
        assert y.shape == x.shape
        assert y.dtype == dtype
        assert 0 <= float(y.min()) <= float(y.max()) <= 1
        expected = corrupt(x.to(dtype).float(), kind, 4)
        torch.testing.assert_close(y.float(), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["defocus_blur", "motion_blur", "zoom_blur", "snow", "glass_blur"])
def test_lengths_scale_with_the_side(kind: str) -> None:
    """An image twice as large is changed alike; of lengths in pixels it would be changed less."""
    small = natural(64)
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bicubic").clamp(0, 1)
    ratio = change(large, kind, 5) / change(small, kind, 5)
    assert 0.6 < ratio < 1.3


def test_noise_is_white_and_as_strong_as_defined() -> None:
    grey = torch.full((4, 3, 64, 64), 0.5)
    power = corruption_power(grey, kinds=["gaussian_noise", "impulse_noise"], strengths=[1])
    for number, square in enumerate((0.08**2, 0.03 * 0.25)):
        plane = power.values[number, 0]
        assert plane.sum() == pytest.approx(square, rel=0.05)  # Parseval
        rings = radial_power(power).values[number, 0, 1:]
        assert rings.max() / rings.min() < 1.6


def test_contrast_takes_the_images_own_spectrum() -> None:
    x = natural(32)
    power = corruption_power(x, kinds=["contrast"], strengths=STRENGTHS).values[0]
    own = torch.fft.fft2(x.double()).abs().square().mean((0, 1)).numpy() / 32**4
    own[0, 0] = 0
    for found, kept in zip(power, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True):
        np.testing.assert_allclose(found, np.fft.fftshift(own) * (1 - kept) ** 2, atol=1e-8)


def test_blurs_take_what_is_fine_and_weather_adds_what_is_coarse() -> None:
    x = natural(64)
    own = torch.fft.fftshift(torch.fft.fft2(x.double()).abs().square().mean((0, 1))).numpy() / 64**4
    rows, columns = np.mgrid[-32:32, -32:32]
    radius = np.hypot(rows, columns)
    near, far = (radius > 0) & (radius < 3), radius > 20
    kinds = ["defocus_blur", "motion_blur", "zoom_blur", "fog", "brightness", "frost"]
    power = corruption_power(x, kinds=kinds, strengths=[4]).values[:, 0]
    for plane in power[:3]:
        taken = plane / own
        assert taken[far].mean() > 0.5  # most of the fine waves is gone
        assert taken[near].mean() < 0.3
    for plane in power[3:]:
        assert plane[radius < 3].sum() > 0.5 * plane.sum()


def test_a_disk_is_the_same_in_every_direction_and_a_streak_is_not() -> None:
    point = torch.zeros(1, 1, 65, 65)
    point[..., 32, 32] = 1
    disk = corrupt(point, "defocus_blur", 5)[0, 0]
    torch.testing.assert_close(disk, disk.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(disk, disk.flip(0), atol=1e-6, rtol=0)
    assert float(disk.sum()) == pytest.approx(1, abs=1e-4)
    streak = corrupt(point, "motion_blur", 5)[0, 0]
    rows, columns = streak.nonzero().unbind(1)
    assert float(streak.sum()) == pytest.approx(1, abs=1e-4)
    assert columns.min() >= 31  # one-sided, at most 45 degrees off the rows
    assert columns.max() > 36
    assert rows.max() - rows.min() <= columns.max() - columns.min() + 2


def test_cells_of_pixels_are_even_and_keep_the_mean() -> None:
    x = natural(224)
    y = corrupt(x, "pixelate", 5)
    assert 0.9 * 56**2 < len(torch.unique(y[0, 0])) <= 56**2  # cells of 4 x 4 pixels
    torch.testing.assert_close(y.mean((2, 3)), x.mean((2, 3)), atol=1e-5, rtol=0)
    assert torch.equal(y[..., 0::4, :], y[..., 3::4, :])


def test_brightness_moves_the_value_and_keeps_the_hue() -> None:
    x = torch.tensor([0.2, 0.4, 0.1])[:, None, None].expand(1, 3, 8, 8)
    y = corrupt(x, "brightness", 1)
    torch.testing.assert_close(y.max(dim=1).values, torch.full((1, 8, 8), 0.5))
    torch.testing.assert_close(y / y.max(dim=1, keepdim=True).values, x / 0.4)
    assert corrupt(torch.zeros(1, 3, 4, 4), "brightness", 5).unique().tolist() == [0.5]


class Fine(nn.Module):
    """Tells whether the finest wave is in the image; noise hides it, fog does not."""

    def __init__(self) -> None:
        super().__init__()
        signs = (-1.0) ** torch.arange(32)
        self.register_buffer("wave", signs[:, None] * signs)

    def forward(self, x: Tensor) -> Tensor:
        found = (x.mean(1) * self.wave).mean((1, 2)).abs()
        return torch.stack([torch.full_like(found, 0.02), found], dim=1)


def test_scores_fall_where_the_network_listens() -> None:
    model = Fine()
    x = torch.full((8, 3, 32, 32), 0.5)
    x[4:] += 0.1 * model.wave
    offset, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.5)
    mean, scale = torch.tensor(offset)[:, None, None], torch.tensor(std)[:, None, None]

    class Pixels(nn.Module):
        def forward(self, normalised: Tensor) -> Tensor:
            return model(normalised * scale + mean)

    targets = torch.tensor([0] * 4 + [1] * 4)
    score = top1_score(Pixels(), (x - mean) / scale, targets, std=std, offset=offset, batch_size=3)
    assert score.measure(None) == 1
    done = []
    kinds = ["defocus_blur", "brightness", "contrast"]
    found = corrupted_scores(score, kinds=kinds, strengths=[1, 5], advance=done.append)
    assert found.dims == ("corruption", "strength")
    assert found.unit == "top-1"
    assert found.values.tolist() == [[1, 0.5], [1, 1], [1, 0.5]]
    assert sum(done) == 6 * 8


def test_what_is_not_known_is_refused() -> None:
    x = torch.rand(1, 3, 8, 8)
    with pytest.raises(UserError, match="got corruption 'rain', expected one of gaussian_noise"):
        corrupt(x, "rain", 1)
    with pytest.raises(UserError, match="got strength 6, expected 1 to 5"):
        corrupt(x, "fog", 6)
    with pytest.raises(UserError, match=r"expected \(B, C, H, W\)"):
        corruption_power(x[0])
