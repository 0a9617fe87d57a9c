"""Convolutions: against the sum written out, closed forms, and the exact results."""

import numpy as np
import pytest

from spanetv2.theory import laws
from spanetv2.theory.convolution import (
    box_kernel,
    convolution,
    convolution_response,
    convolve,
    kernel_centroids,
    kernel_spectra,
    residual,
    window_graph,
)
from spanetv2.theory.grid import Grid, frequencies
from spanetv2.theory.response import frequency_response, full_profile, spectral_centroid

TORUS, FREE = Grid(9, 8), Grid(6, 5, "free")


def kernel(height, width, *, seed=0, complex_values=False):
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((height, width))
    return h + 1j * rng.standard_normal(h.shape) if complex_values else h


@pytest.mark.parametrize("grid", [TORUS, FREE])
def test_convolution_is_the_sum_over_offsets(grid):
    h = kernel(3, 5)
    C = convolution(h, grid)
    x = np.random.default_rng(1).standard_normal(grid.shape)
    expected = np.zeros(grid.shape)
    for t in np.ndindex(*grid.shape):
        for (i, j), weight in np.ndenumerate(h):
            y = (t[0] + i - 1, t[1] + j - 2)
            if grid.boundary == "torus":
                y = (y[0] % grid.height, y[1] % grid.width)
            elif not (0 <= y[0] < grid.height and 0 <= y[1] < grid.width):
                continue
            expected[t] += weight * x[y]
    np.testing.assert_allclose((C @ x.ravel()).reshape(grid.shape), expected, atol=1e-12)


@pytest.mark.parametrize("grid", [TORUS, FREE, Grid(3, 4, "free")])
@pytest.mark.parametrize("complex_values", [False, True])
def test_convolve_and_response_agree_with_dense(grid, complex_values):
    h = kernel(3, 5 if grid.width > 4 else 7, complex_values=complex_values)
    C = convolution(h, grid)
    x = np.random.default_rng(2).standard_normal((4, *grid.shape))
    expected = (x.reshape(4, -1) @ C.T).reshape(x.shape)
    np.testing.assert_allclose(convolve(x, h, grid), expected, atol=1e-12)
    dense, fast = frequency_response(C, grid), convolution_response(h, grid)
    np.testing.assert_allclose(fast.phi, dense.phi, atol=1e-10)
    np.testing.assert_allclose(fast.gain, dense.gain, atol=1e-10)


def test_convolution_on_the_torus_is_diagonal():
    h = kernel(5, 3, seed=3)
    profile = full_profile(convolution(h, TORUS), TORUS)
    np.testing.assert_allclose(profile, np.diag(np.diag(profile)), atol=1e-10)
    response = convolution_response(h, TORUS)
    np.testing.assert_allclose(np.abs(np.diag(profile)), response.gain.ravel(), atol=1e-10)
    assert response.power.mean() == pytest.approx((h**2).sum(), abs=1e-10)
    assert response.leakage == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("k", [3, 5, 7])
def test_box_convolution_has_the_closed_form(k):
    wy, wx = frequencies(*TORUS.shape)
    response = frequency_response(convolution(box_kernel(k), TORUS), TORUS)
    np.testing.assert_allclose(response.phi, laws.box_response(k, wy, wx), atol=1e-10)
    np.testing.assert_allclose(
        window_graph(k, TORUS), convolution(box_kernel(k), TORUS), atol=1e-12
    )


def test_window_graph_with_a_free_boundary_is_normalised_per_token():
    A = window_graph(3, FREE)
    np.testing.assert_allclose(A.sum(axis=1), 1, atol=1e-12)
    assert sorted(np.unique(A)) == pytest.approx([0, 1 / 9, 1 / 6, 1 / 4])


def test_kernel_selectivity_is_bounded_by_its_window():
    h = np.stack([kernel(3, 3, seed=s) for s in range(200)] + [box_kernel(3)])
    power = np.abs(kernel_spectra(h, Grid(12, 12))) ** 2
    selectivity = power.max(axis=(1, 2)) / power.mean(axis=(1, 2))
    assert selectivity.max() <= 9 * (1 + 1e-12)
    assert selectivity[-1] == pytest.approx(9)  # the mean reaches it


def test_kernel_modulated_by_signs_is_shifted_to_the_corner():
    h = kernel(5, 5, seed=4)
    signs = (-1.0) ** np.add.outer(np.arange(-2, 3), np.arange(-2, 3))
    phi, shifted = kernel_spectra(np.stack([h, h * signs]), Grid(12, 12))
    np.testing.assert_allclose(shifted, np.roll(phi, (6, 6), axis=(0, 1)), atol=1e-10)


def test_kernel_centroids_are_those_of_the_response():
    h = np.stack([kernel(3, 3, seed=s) for s in range(5)])
    expected = [convolution_response(one, Grid(7, 9)).centroid for one in h]
    np.testing.assert_allclose(kernel_centroids(h), expected, atol=1e-10)


def test_residual_bounds():
    A = window_graph(5, Grid(8, 8))
    low, high = (frequency_response(residual(A, sign), Grid(8, 8)) for sign in (1, -1))
    assert low.gain.max() == pytest.approx(2)  # 6 dB over the identity
    assert low.dc_gain == pytest.approx(2)
    assert high.dc_gain == pytest.approx(0, abs=1e-10)
    assert high.centroid > 1 > low.centroid
    # away from the constant, the shortcut keeps I + C from being a low-pass filter
    assert low.rms_gain > 0.9
    laplacian = Grid(8, 8).laplacian()
    assert spectral_centroid(residual(A, -1.0), laplacian) == pytest.approx(21 / 20, abs=1e-10)


def test_convolution_refuses_windows_that_do_not_fit():
    for bad, message in [
        (np.ones(3), r"got a kernel of shape \(3,\), expected \(height, width\)"),
        (np.ones((2, 3)), "got a window of 2x3, expected odd sides"),
        (np.ones((11, 3)), "got a window of 11x3 on a torus grid of 9x8 tokens.*at most 9"),
    ]:
        with pytest.raises(ValueError, match=message):
            convolution(bad, TORUS)
    with pytest.raises(ValueError, match="sides of at most 11"):
        convolution(np.ones((13, 3)), FREE)
    with pytest.raises(ValueError, match="got a window of 4"):
        window_graph(4, TORUS)
    with pytest.raises(ValueError, match=r"got fields of shape \(1, 3, 3\)"):
        convolve(np.zeros((1, 3, 3)), box_kernel(3), TORUS)
