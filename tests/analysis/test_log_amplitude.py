"""Relative log-amplitude against its definition, written out."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from spanetv2.analysis.log_amplitude import half_diagonal, log_amplitude, relative_log_amplitude
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.errors import UserError


def park_and_kim(features_BCHW: torch.Tensor) -> np.ndarray:
    """The published recipe: centred spectrum, its half diagonal, minus the first element."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(features_BCHW.double()), dim=(-2, -1))
    mean = torch.log(spectrum.abs() + 1e-6).mean(dim=(0, 1))
    diagonal = mean.diagonal()[len(mean) // 2 :]
    return (diagonal - diagonal[0]).numpy()


@pytest.mark.parametrize("side", [7, 8, 14])
def test_curve_is_the_published_recipe(side: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, side, side).cumsum(-1).cumsum(-2)
    frequency, values = half_diagonal(log_amplitude(features).numpy())
    expected = park_and_kim(features)
    np.testing.assert_allclose(values - values[0], expected, atol=1e-4)
    assert expected[-1] < -1
    np.testing.assert_allclose(frequency, 2 * np.pi * np.arange(len(expected)) / side)
    assert frequency[-1] < np.pi


def test_half_diagonal_of_a_wide_grid_takes_equal_frequencies() -> None:
    values = np.abs(np.fft.fftfreq(8))[:, None] + 10 * np.abs(np.fft.fftfreq(16))
    frequency, found = half_diagonal(values)
    np.testing.assert_allclose(found, 11 * frequency / (2 * np.pi))


@pytest.mark.parametrize(
    ("name", "options", "layout"),
    [
        ("spanetv2_pico_pure", {"img_size": 32}, "NHWC"),
        ("vit_tiny_patch16_224", {"img_size": 96, "depth": 2}, "NSC"),
        ("convnext_atto", {}, "NCHW"),
    ],
)
def test_blocks_are_measured_in_every_layout(name: str, options: dict, layout: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    images = torch.randn(3, 3, 96, 96)
    calls, _ = record_calls(model, find_mixers(model), images[:1])
    seen = {}
    last = calls[-1].mixer.block
    handle = model.get_submodule(last).register_forward_hook(
        lambda _m, _i, output: seen.setdefault("map", output)
    )
    with torch.no_grad():
        model(images)
    handle.remove()
    features = seen["map"]
    if layout == "NHWC":
        features = features.permute(0, 3, 1, 2)
    elif layout == "NSC":
        features = features[:, 1:].transpose(1, 2).unflatten(2, (6, 6))
    done = []
    curves, gaps = relative_log_amplitude(model, calls, images, batch_size=2, advance=done.append)
    assert not gaps
    assert len(curves) == len(calls)
    assert done == [2, 1]
    np.testing.assert_allclose(curves[-1].curve.values, park_and_kim(features), atol=1e-4)
    assert curves[-1].block == last
    assert curves[-1].finest == curves[-1].curve.values[-1]
    assert [curve.depth for curve in curves] == list(range(len(curves)))
    assert not any(module._forward_hooks for module in model.modules())


def test_maps_without_a_diagonal_wave_are_gaps() -> None:
    model = timm.create_model("spanetv2_pico_pure", img_size=32, num_classes=2).eval()
    images = torch.randn(1, 3, 32, 32)
    calls, _ = record_calls(model, find_mixers(model), images)
    curves, gaps = relative_log_amplitude(model, calls, images)
    assert {curve.stage for curve in curves} == {1, 2}
    assert [gap.part for gap in gaps] == [
        *(f"stages.2.blocks.{i}" for i in range(4)),
        "stages.3.blocks.0",
    ]
    assert "a 2 x 2 map has no diagonal wave" in gaps[0].reason


def test_bad_input_is_refused() -> None:
    model = timm.create_model("spanetv2_pico_pure", img_size=32, num_classes=2).eval()
    images = torch.randn(1, 3, 32, 32)
    calls, _ = record_calls(model, find_mixers(model), images)
    with pytest.raises(UserError, match="got 0 images"):
        relative_log_amplitude(model, calls, images[:0])
    with torch.no_grad():
        nn.init.constant_(model.stem.conv.weight, float("nan"))
    with pytest.raises(UserError, match="not finite in stages"):
        relative_log_amplitude(model, calls, images)
