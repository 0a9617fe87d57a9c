import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.transforms import Preprocessing
from spanetv2.tasks.segmentation.inference import (
    Inference,
    average_windows,
    resized_rows,
    segment,
    window_starts,
)

PLAIN = Preprocessing(size=None, mean=(0.0,) * 3, std=(1.0,) * 3)


class Positional(nn.Module):
    """Scores that depend on the pixel, on its place in the window and on the whole window."""

    def __init__(self, classes=4):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, classes, 3, padding=1)
        self.sizes = []

    def forward(self, x_BCHW):
        self.sizes.append(tuple(x_BCHW.shape[-2:]))
        place = (
            torch.linspace(0, 1, x_BCHW.shape[-1]) * torch.linspace(1, 0, x_BCHW.shape[-2])[:, None]
        )
        mean = x_BCHW.mean(dim=(1, 2, 3), keepdim=True)
        return self.conv(x_BCHW) + place[None, None] * torch.arange(4.0)[:, None, None] * mean


def images(*size, batch=2, seed=1):
    torch.manual_seed(seed)
    coarse = torch.rand(batch, 3, *(max(2, side // 4) for side in size))
    return (255 * F.interpolate(coarse, size=size, mode="bilinear")).to(torch.uint8)


def slid(model, x_BCHW, window, stride):
    """Sliding windows as they are defined: add up everything, count, divide."""
    height, width = x_BCHW.shape[-2:]
    total, counts = torch.zeros(len(x_BCHW), 4, height, width), torch.zeros(height, width)
    for i in range(max(height - window + stride - 1, 0) // stride + 1):
        for j in range(max(width - window + stride - 1, 0) // stride + 1):
            bottom, right = min(i * stride + window, height), min(j * stride + window, width)
            top, left = max(bottom - window, 0), max(right - window, 0)
            total[..., top:bottom, left:right] += model(x_BCHW[..., top:bottom, left:right])
            counts[top:bottom, left:right] += 1
    assert counts.min() > 0
    return total / counts


@pytest.mark.parametrize("size", [(40, 33), (33, 40), (16, 50), (9, 11), (16, 16), (17, 16)])
@pytest.mark.parametrize(("window", "stride"), [(16, 10), (16, 16), (16, 3), (7, 5)])
def test_windows_are_averaged_as_defined(size, window, stride):
    model = Positional()
    x = images(*size).float() / 255
    with torch.no_grad():
        expected = slid(model, x, window, stride)
        got = torch.full_like(expected, torch.nan)
        corners = []
        for top, left, part in average_windows(model, x, window=window, stride=stride):
            corners.append((top, left))
            rows, columns = part.shape[-2:]
            assert max(rows, columns) <= window
            assert got[:, :, top : top + rows, left : left + columns].isnan().all(), "twice"
            got[:, :, top : top + rows, left : left + columns] = part
    tops, lefts = (window_starts(side, window, stride) for side in size)
    assert corners == [(top, left) for top in tops for left in lefts]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    settings = Inference(window=window, stride=stride)
    labels = segment(model, [images(*size)], size=size, preprocessing=PLAIN, inference=settings)
    assert labels.dtype == torch.uint8
    clear = expected.topk(2, dim=1).values.diff(dim=1).abs()[:, 0] > 1e-3
    assert clear.float().mean() > 0.9
    assert torch.equal(labels[clear].long(), expected.argmax(1)[clear])
    if min(size) > 2 * window:
        with torch.no_grad():
            assert not torch.allclose(expected, model(x), atol=1e-3)


def test_window_is_never_larger_than_it_says():
    model = Positional()
    settings = Inference(window=16)
    assert settings.step == 10
    assert Inference(window=512).step == 341
    segment(model, [images(40, 33)], size=(40, 33), preprocessing=PLAIN, inference=settings)
    assert set(model.sizes) == {(16, 16)}


@pytest.mark.parametrize("out", [(37, 53), (20, 30), (11, 7), (80, 30), (20, 61)])
def test_resized_rows_are_those_of_the_whole(out):
    torch.manual_seed(0)
    scores = torch.randn(2, 5, 20, 30)
    expected = F.interpolate(scores, size=out, mode="bilinear", align_corners=False)
    for step in (1, 4, 100):
        parts = [
            resized_rows(scores, out, range(start, min(start + step, out[0])))
            for start in range(0, out[0], step)
        ]
        torch.testing.assert_close(torch.cat(parts, dim=2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [None, 16])
@pytest.mark.parametrize("chunk", [1, 2**25])
def test_scores_are_resized_before_classes_are_chosen(monkeypatch, window, chunk):
    monkeypatch.setattr("spanetv2.tasks.segmentation.inference._CHUNK", chunk)
    model = Positional()
    x, size = images(24, 36), (50, 71)
    with torch.no_grad():
        scores = model(x.float() / 255) if window is None else slid(model, x.float() / 255, 16, 10)
        scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    settings = Inference(window=window)
    labels = segment(model, [x], size=size, preprocessing=PLAIN, inference=settings)
    clear = scores.topk(2, dim=1).values.diff(dim=1).abs()[:, 0] > 1e-3
    assert clear.float().mean() > 0.9
    assert torch.equal(labels[clear].long(), scores.argmax(1)[clear])


@pytest.mark.parametrize("flip", [False, True])
def test_scales_and_mirror_images_average_probabilities(flip):
    model = Positional()
    views, size = [images(24, 36), images(48, 72, seed=2)], (24, 36)
    total = 0
    with torch.no_grad():
        for view in views:
            for mirrored in (False, True) if flip else (False,):
                x = view.float() / 255
                scores = model(x.flip(-1)).flip(-1) if mirrored else model(x)
                scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
                total = total + scores.softmax(1)
    settings = Inference(scales=(1.0, 2.0), flip=flip)
    labels = segment(model, views, size=size, preprocessing=PLAIN, inference=settings)
    clear = total.topk(2, dim=1).values.diff(dim=1).abs()[:, 0] > 1e-3
    assert clear.float().mean() > 0.9
    assert torch.equal(labels[clear].long(), total.argmax(1)[clear])


def test_images_are_normalised():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x

    settings = Preprocessing(size=None, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    x = images(8, 8)
    segment(Spy(), [x], size=(8, 8), preprocessing=settings)
    mean, std = (torch.tensor(v)[:, None, None] for v in (settings.mean, settings.std))
    torch.testing.assert_close(seen[0], (x / 255 - mean) / std)


@pytest.mark.parametrize("window", [None, 8])
def test_scores_that_are_not_finite_are_an_error(window):
    class Broken(nn.Module):
        def forward(self, x):
            y = x.clone()
            y[:, 1, -1, -1] = torch.nan
            return y

    with pytest.raises(UserError, match="outputs are not finite"):
        segment(
            Broken(),
            [images(16, 16)],
            size=(16, 16),
            preprocessing=PLAIN,
            inference=Inference(window=window),
        )


def test_settings_are_checked():
    for make, message in (
        (lambda: Inference(window=0), "got window 0"),
        (lambda: Inference(stride=4), "got stride 4 without a window"),
        (lambda: Inference(window=8, stride=9), "would leave gaps"),
        (lambda: Inference(window=8, stride=0), "got stride 0"),
        (lambda: Inference(scales=()), r"got scales \(\)"),
        (lambda: Inference(scales=(1.0, 0.0)), "expected values above 0"),
    ):
        with pytest.raises(UserError, match=message):
            make()
    assert Inference(**{**Inference(window=8).to_dict(), "scales": [1, 2]}).scales == (1.0, 2.0)
