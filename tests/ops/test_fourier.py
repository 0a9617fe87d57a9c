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
