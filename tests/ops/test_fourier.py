"""The waves that all Fourier matrices are made of, against the transform."""

import pytest
import torch

from spanetv2.ops.fourier import column_multiplicity, waves

CPU = torch.device("cpu")


@pytest.mark.parametrize("length", [1, 2, 7, 50, 56])
def test_waves_are_the_discrete_fourier_transform(length: int) -> None:
    cos, sin = waves(length, length, torch.float64, CPU)
    x = torch.randn(length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.complex(cos @ x, -sin @ x), torch.fft.fft(x, norm="ortho"))


@pytest.mark.parametrize("width", [1, 2, 7, 8])
def test_column_multiplicity_counts_the_whole_spectrum(width: int) -> None:
    times = column_multiplicity(width // 2 + 1, width)
    assert times.sum() == width
    x = torch.randn(width, generator=torch.Generator().manual_seed(0))
    power = torch.fft.rfft(x, norm="ortho").abs().square()
    torch.testing.assert_close((times * power).sum(), x.square().sum())


@pytest.mark.parametrize(("height", "width"), [(7, 8), (50, 9), (64, 64)])
def test_tables_of_the_fused_operator_are_the_same_waves_in_zeros(height: int, width: int) -> None:
    pytest.importorskip("triton")
    from spanetv2.ops.multiscale_spectral.operator import _make_tables

    cos_w, _, back_cos_w, _, _, sin_h = _make_tables(height, width)
    half = width // 2 + 1
    cos, _ = waves(width, half, torch.float64, CPU)
    padded = torch.zeros_like(cos_w)
    padded[:width, :half] = cos.t()
    assert torch.equal(cos_w, padded)
    times = column_multiplicity(half, width)[:, None]
    assert torch.equal(back_cos_w[:half, :width], times * cos.float())
    _, sin = waves(height, height, torch.float64, CPU)
    assert torch.equal(sin_h[:height, :height], sin.t().float())
