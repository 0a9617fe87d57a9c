"""The spectral filter and SPAM's heads as operators."""

import numpy as np
import pytest

from spanetv2.theory.convolution import box_kernel, convolution, convolution_response
from spanetv2.theory.grid import Grid, torus_eigenvalues
from spanetv2.theory.laws import head_power_shares
from spanetv2.theory.response import frequency_response, full_profile
from spanetv2.theory.spam import (
    gate,
    modulation,
    rescale,
    spam_head,
    spam_head_response,
    srf,
    srf_freedom,
    srf_gain,
)

SIZES = [(14, 14), (7, 7), (6, 9), (5, 8), (1, 4)]


def random_gate(size, *, seed=0):
    rng = np.random.default_rng(seed)
    return gate(2 * rng.standard_normal((size[0], size[1] // 2 + 1)))


@pytest.mark.parametrize("size", SIZES)
def test_srf_is_the_half_spectrum_filter_with_averaged_columns(size):
    grid = Grid(*size)
    values = random_gate(size)
    matrix = srf(values, grid)
    identity = np.eye(grid.tokens).reshape(-1, *size)
    columns = rescale(identity, values, grid).reshape(grid.tokens, -1)
    np.testing.assert_allclose(matrix, columns.T, atol=1e-10)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-10)
    profile = full_profile(matrix, grid)
    np.testing.assert_allclose(profile, np.diag(srf_gain(values, grid).ravel()), atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_srf_gain_is_even_and_only_attenuates(size):
    gain = srf_gain(random_gate(size, seed=1), Grid(*size))
    mirrored = gain[-np.arange(size[0]) % size[0]][:, -np.arange(size[1]) % size[1]]
    np.testing.assert_allclose(gain, mirrored, atol=1e-15)
    assert gain.min() > 0
    assert gain.max() < 1


@pytest.mark.parametrize("size", SIZES)
def test_srf_freedom_is_the_rank_of_its_parameters(size):
    grid = Grid(*size)
    shape = (size[0], size[1] // 2 + 1)
    units = np.eye(shape[0] * shape[1]).reshape(-1, *shape)
    rank = np.linalg.matrix_rank(np.stack([srf_gain(unit, grid).ravel() for unit in units]))
    assert srf_freedom(grid) == rank


def test_srf_connects_all_tokens():
    assert np.abs(srf(random_gate((7, 7)), Grid(7, 7))).min() > 0


def test_gate_contrast_and_start():
    assert gate(3.0) / gate(-3.0) == pytest.approx(np.exp(3))
    assert gate(1.5, alpha=2.0) == pytest.approx(gate(3.0))
    start = gate(0.02 * np.random.default_rng(0).standard_normal(100_000))
    assert start.mean() == pytest.approx(0.5, abs=1e-4)
    assert start.std() == pytest.approx(0.005, rel=0.02)


@pytest.mark.parametrize("boundary", ["torus", "free"])
def test_spam_head_response_agrees_with_dense(boundary):
    grid = Grid(7, 8, boundary)
    h = np.random.default_rng(2).standard_normal((5, 5))
    values = random_gate(grid.shape, seed=3)
    dense = frequency_response(spam_head(h, values, grid), grid)
    fast = spam_head_response(h, values, grid)
    np.testing.assert_allclose(fast.phi, dense.phi, atol=1e-10)
    np.testing.assert_allclose(fast.gain, dense.gain, atol=1e-10)
    if boundary == "torus":
        product = srf_gain(values, grid) * convolution_response(h, grid).phi
        np.testing.assert_allclose(dense.phi, product, atol=1e-10)


def test_modulation_closed_form():
    grid = Grid(6, 7)
    rng = np.random.default_rng(4)
    q, h = rng.standard_normal(grid.shape) + 0.5, rng.standard_normal((3, 3))
    before = convolution_response(h, grid)
    after = frequency_response(modulation(q, convolution(h, grid)), grid)
    np.testing.assert_allclose(after.power, (q**2).mean() * before.power, atol=1e-10)
    np.testing.assert_allclose(after.phi, q.mean() * before.phi, atol=1e-10)
    assert after.leakage == pytest.approx(q.var() / (q**2).mean(), abs=1e-10)


def retuned(k, passed):
    """Centroid of a flat kernel (k None) or a k x k mean after a filter of contrast exp(2)."""
    grid = Grid(14, 14)
    values = gate(np.where(passed, 2.0, -2.0)[:, :8])
    if k is None:
        return spam_head_response(np.ones((1, 1)), values, grid).centroid
    return spam_head_response(box_kernel(k), values, grid).centroid


def test_srf_retunes_any_head():
    eigenvalues = torus_eigenvalues(14, 14)
    low, high = eigenvalues < 0.5, eigenvalues > 1 + 1e-9
    assert convolution_response(box_kernel(3), Grid(14, 14)).centroid == pytest.approx(1 / 3)
    assert retuned(None, low) == pytest.approx(0.331, abs=5e-4)
    assert retuned(3, low) == pytest.approx(0.196, abs=5e-4)
    assert retuned(9, low) == pytest.approx(0.050, abs=5e-4)
    assert retuned(3, high) == pytest.approx(1.009, abs=5e-4)
    # lambda = 1 itself, 26 waves, is not passed here; they make the difference to 1.416 and 0.417
    assert retuned(None, high) == pytest.approx(1.4443, abs=5e-5)
    assert retuned(9, high) == pytest.approx(0.4110, abs=5e-5)


def test_difference_of_heads_is_a_band_pass():
    kernel = np.pad(box_kernel(3), 3) - box_kernel(9)
    response = convolution_response(kernel, Grid(14, 14))
    assert response.dc_gain == pytest.approx(0, abs=1e-10)
    assert response.gain.max() == pytest.approx(0.949, abs=5e-4)
    assert response.centroid == pytest.approx(0.389, abs=5e-4)


def test_heads_start_with_unequal_power():
    rms, shares = head_power_shares([3, 5, 7, 9])
    np.testing.assert_allclose(rms, [0.06, 0.10, 0.14, 0.18])
    np.testing.assert_allclose(100 * shares, [5.5, 15.2, 29.9, 49.4], atol=0.05)
    kernels = 0.02 * np.random.default_rng(5).standard_normal((400, 9, 9))
    measured = [convolution_response(kernel, Grid(9, 9)).power.mean() for kernel in kernels]
    assert np.sqrt(np.mean(measured)) == pytest.approx(rms[-1], rel=0.02)


def test_srf_refuses_the_gate_of_another_grid():
    with pytest.raises(ValueError, match=r"got a gate of shape \(7, 4\), expected \(7, 5\)"):
        srf(np.ones((7, 4)), Grid(7, 8))
    with pytest.raises(ValueError, match="expected odd sides"):
        spam_head(np.ones((2, 2)), np.ones((7, 5)), Grid(7, 8))
