"""The bank shows what the kernels and gates of SPAM do, against the modules themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import spanetv2
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.analysis.spam_bank import QUANTITIES, gate_gain, kernel_gain, spam_bank
from spanetv2.errors import UserError
from spanetv2.mixers import SpectralRescale
from spanetv2.theory.response import radial_profile


@pytest.mark.parametrize(("side", "grid"), [(3, (6, 8)), (5, (7, 5)), (9, (7, 7))])
def test_kernel_gain_is_what_the_convolution_does_to_a_wave(side, grid) -> None:
    torch.manual_seed(0)
    weight = torch.randn(2, side, side, dtype=torch.float64)
    p, q = 2, 1
    rows = torch.arange(60, dtype=torch.float64)[:, None] * p / grid[0]
    columns = torch.arange(60, dtype=torch.float64) * q / grid[1]
    angle = 2 * torch.pi * (rows + columns)
    parts = [
        F.conv2d(wave.expand(1, 2, -1, -1), weight[:, None], groups=2, padding="valid")
        for wave in (angle.cos(), angle.sin())
    ]
    gain = torch.hypot(*parts)[0]
    assert (gain.amax((1, 2)) - gain.amin((1, 2))).max() < 1e-9  # a wave stays a wave
    torch.testing.assert_close(kernel_gain(weight, grid)[:, p, q], gain[:, 0, 0])
    assert gain.min() > 0.01


def test_kernel_gain_refuses_even_and_flat_kernels() -> None:
    with pytest.raises(UserError, match=r"expected \(channels, odd, odd\)"):
        kernel_gain(torch.zeros(2, 4, 4), (8, 8))
    with pytest.raises(UserError, match=r"expected \(channels, odd, odd\)"):
        kernel_gain(torch.zeros(3, 3), (8, 8))


def test_gate_gain_is_the_real_gain() -> None:
    torch.manual_seed(0)
    module = SpectralRescale(2, (6, 6)).eval()
    with torch.no_grad():
        module.theta.normal_()
    gain = gate_gain(module, 2, (6, 6))
    gate = module.gain(6, 6).double().detach()
    torch.testing.assert_close(gain[:, :, 1], gate[:, :, 1], atol=1e-6, rtol=0)
    mirrored = (gate[:, 1, 0] + gate[:, -1, 0]) / 2
    torch.testing.assert_close(gain[:, 1, 0], mirrored, atol=1e-6, rtol=0)
    assert (gate[:, 1, 0] - gate[:, -1, 0]).abs().min() > 1e-3


def test_spam_bank_has_each_heads_curves() -> None:
    torch.manual_seed(0)
    model = spanetv2.create_model("pico_hybrid", img_size=64, num_classes=2).eval()
    mixer = model.stages[0].blocks[1].token_mixer
    with torch.no_grad():
        mixer.spectral.theta.normal_()
    calls, _ = record_calls(model, find_mixers(model), torch.randn(1, 3, 64, 64))
    banks = spam_bank(calls)
    assert [bank.stage for bank in banks] == [1, 1, 2, 2]
    bank = banks[1]
    assert bank.grid == (16, 16)
    assert bank.curves.coords["head"] == ["3x3", "5x5", "7x7", "9x9"]
    assert tuple(bank.curves.coords["quantity"]) == QUANTITIES
    head = 2
    gate = gate_gain(mixer.spectral, 24, (16, 16))[12:18]
    kernel = kernel_gain(mixer.local_convs[head].weight[:, 0], (16, 16))
    composed = radial_profile((kernel * gate).square().mean(0).numpy())[1] ** 0.5
    np.testing.assert_allclose(bank.curves.values[head, -1], composed)
    np.testing.assert_allclose(bank.curves.values[head, 1], radial_profile(gate.mean(0).numpy())[1])
    assert (bank.curves.values[:, 2] < bank.curves.values[:, 3]).all()
    assert composed.std() > 0.01


@pytest.mark.parametrize("side", [3, 5, 7, 9])
def test_kernel_gain_at_the_published_initialisation(side: int) -> None:
    """Weights of 0.02 give the heads a root mean square gain of 0.02 k: .06, .10, .14, .18."""
    torch.manual_seed(0)
    weight = torch.randn(512, side, side) * 0.02
    rms = kernel_gain(weight, (14, 14)).square().mean().sqrt()
    assert rms.item() == pytest.approx(0.02 * side, rel=0.03)
    power = weight.double().square().sum((1, 2))
    torch.testing.assert_close(kernel_gain(weight, (14, 14)).square().mean((1, 2)), power)
