"""Responses: against the definitions written out with plane waves, and identities."""

import numpy as np
import pytest

from spanetv2.theory.grid import Grid, frequencies, plane_wave, torus_eigenvalues
from spanetv2.theory.response import (
    FrequencyResponse,
    frequency_response,
    frequency_response_of,
    frequency_response_of_kernels,
    full_profile,
    graph_profile,
    radial_profile,
    residual_response,
    spectral_centroid,
)


def mixer(size, *, seed=0, complex_values=False):
    rng = np.random.default_rng(seed)
    count = size[0] * size[1]
    C = rng.standard_normal((count, count))
    return C + 1j * rng.standard_normal(C.shape) if complex_values else C


def applied(C, size):
    return lambda fields: (fields.reshape(len(fields), -1) @ C.T).reshape(-1, *size)


@pytest.mark.parametrize("size", [(4, 6), (5, 5), (1, 4), (7, 2)])
@pytest.mark.parametrize("complex_values", [False, True])
def test_frequency_response_is_the_definition(size, complex_values):
    C = mixer(size, complex_values=complex_values)
    response = frequency_response(C, Grid(*size))
    for p in range(size[0]):
        for q in range(size[1]):
            wave = plane_wave(*size, p, q).ravel()
            assert response.phi[p, q] == pytest.approx(np.vdot(wave, C @ wave), abs=1e-10)
            assert response.gain[p, q] == pytest.approx(np.linalg.norm(C @ wave), abs=1e-10)
    norm = np.linalg.norm(C) ** 2
    assert response.power.mean() * np.prod(size) == pytest.approx(norm)
    assert response.leakage == pytest.approx(1 - np.sum(np.abs(response.phi) ** 2) / norm)


@pytest.mark.parametrize("size", [(4, 6), (5, 5), (9, 8)])
@pytest.mark.parametrize("complex_values", [False, True])
def test_frequency_response_of_agrees_with_dense(size, complex_values):
    C = mixer(size, seed=1, complex_values=complex_values)
    dense = frequency_response(C, Grid(*size))
    probed = frequency_response_of(applied(C, size), Grid(*size), real=not complex_values)
    np.testing.assert_allclose(probed.phi, dense.phi, atol=1e-10)
    np.testing.assert_allclose(probed.gain, dense.gain, atol=1e-10)
    for name in ("leakage", "centroid", "m_eff", "hlr", "rms_gain", "dc_share"):
        assert getattr(probed, name) == pytest.approx(getattr(dense, name), abs=1e-10)


def test_frequency_response_of_some_waves_leaves_the_others_open():
    size = (6, 6)
    C = mixer(size, seed=2)
    dense = frequency_response(C, Grid(*size))
    probed = frequency_response_of(applied(C, size), Grid(*size), waves=[(0, 0), (1, 2), (4, 0)])
    known = np.isfinite(probed.gain)
    assert set(zip(*np.nonzero(known), strict=True)) == {(0, 0), (1, 2), (5, 4), (4, 0), (2, 0)}
    np.testing.assert_allclose(probed.gain[known], dense.gain[known], atol=1e-10)
    np.testing.assert_allclose(probed.phi[known], dense.phi[known], atol=1e-10)
    power = dense.power[known]
    assert probed.m_eff == pytest.approx(1 / power.mean())
    assert probed.centroid == pytest.approx(
        np.sum(torus_eigenvalues(*size)[known] * power) / power.sum()
    )
    only_constant = frequency_response_of(applied(C, size), Grid(*size), waves=[(0, 0)])
    assert np.isnan(only_constant.rms_gain)
    assert np.isnan(only_constant.hlr)


def test_frequency_response_of_kernels_takes_rows_in_any_order():
    grid = Grid(4, 5)
    C = mixer(grid.shape, seed=3)
    kernels = np.empty((20, 4, 5))
    for x in range(20):
        for y in range(20):
            dy, dx = y // 5 - x // 5, y % 5 - x % 5
            kernels[x, dy % 4, dx % 5] = C[x, y]
    blocks = [kernels[7:], kernels[:7]]
    response = frequency_response_of_kernels(blocks, grid)
    dense = frequency_response(C, grid)
    np.testing.assert_allclose(response.phi, dense.phi, atol=1e-12)
    np.testing.assert_allclose(response.gain, dense.gain, atol=1e-12)


def test_full_profile_holds_phi_and_gain():
    grid = Grid(4, 6)
    C = mixer(grid.shape, seed=4, complex_values=True)
    basis = grid.fourier_basis()
    profile = full_profile(C, grid)
    np.testing.assert_allclose(profile, basis.conj().T @ C @ basis, atol=1e-10)
    response = frequency_response(C, grid)
    np.testing.assert_allclose(np.diag(profile), response.phi.ravel(), atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(profile, axis=0), response.gain.ravel(), atol=1e-10)


def test_graph_profile_on_the_torus_is_the_mean_of_the_real_part_of_phi():
    grid = Grid(6, 6)
    C = mixer(grid.shape, seed=5)
    eigenvalues, profile, gain = graph_profile(C, grid)
    response = frequency_response(C, grid)
    # any basis of an eigenspace gives the same mean, that of a numerical solver too
    values, vectors = np.linalg.eigh(grid.laplacian())
    for eigenvalue, mean, size in zip(eigenvalues, profile, gain, strict=True):
        space = np.abs(torus_eigenvalues(6, 6) - eigenvalue) < 1e-9
        assert mean == pytest.approx(response.phi[space].real.mean(), abs=1e-10)
        assert size**2 == pytest.approx(response.power[space].mean(), abs=1e-10)
        solver = vectors[:, np.abs(values - eigenvalue) < 1e-6]
        assert mean == pytest.approx(np.trace(solver.T @ C @ solver) / solver.shape[1], abs=1e-8)


def test_graph_profile_of_a_free_laplacian_is_its_eigenvalues():
    grid = Grid(4, 7, "free")
    eigenvalues, profile, gain = graph_profile(grid.laplacian(), grid)
    np.testing.assert_allclose(profile, eigenvalues, atol=1e-10)
    np.testing.assert_allclose(gain, eigenvalues, atol=1e-7)


def test_real_profile_is_blind_to_a_sobel_kernel():
    grid = Grid(8, 8)
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    C = np.zeros((64, 64))
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            C[np.arange(64), grid.neighbour(dy, dx)[0]] += sobel[dy + 1, dx + 1]
    _, profile, _ = graph_profile(C, grid)
    np.testing.assert_allclose(profile, 0, atol=1e-10)
    assert frequency_response(C, grid).gain.max() == pytest.approx(8)


def test_scalars_of_a_known_response():
    grid = Grid(4, 4)
    gain = np.ones((4, 4))
    gain[0, 0], gain[2, 2] = 2.0, 3.0
    response = FrequencyResponse(grid=grid, phi=gain.astype(complex), gain=gain)
    assert response.dc_gain == 2
    assert response.dc_share == pytest.approx(4 / 27)
    assert response.rms_gain == pytest.approx(np.sqrt((9 + 14) / 15))
    assert response.m_eff == pytest.approx(16 / 27)
    # lambda: 0 once, 1/2 four times, 1 six times, 3/2 four times, 2 once
    assert response.centroid == pytest.approx((4 * 0.5 + 6 + 4 * 1.5 + 2 * 9) / 27)
    assert response.hlr == pytest.approx(((4 + 9) / 5) / ((4 + 4) / 5))
    assert response.leakage == pytest.approx(0)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.3])
def test_residual_response_needs_no_operator(value):
    grid = Grid(5, 4)
    C = mixer(grid.shape, seed=7)
    expected = frequency_response(np.eye(20) + value * C, grid)
    result = residual_response(frequency_response(C, grid), value)
    np.testing.assert_allclose(result.phi, expected.phi, atol=1e-10)
    np.testing.assert_allclose(result.gain, expected.gain, atol=1e-7)


def test_centroid_needs_no_basis():
    grid = Grid(5, 6)
    C = mixer(grid.shape, seed=6)
    assert spectral_centroid(C, grid.laplacian()) == pytest.approx(
        frequency_response(C, grid).centroid, abs=1e-10
    )


def test_cutoff_is_read_along_the_axes():
    grid = Grid(32, 32)
    wy, wx = frequencies(32, 32)
    gain = 3 * np.exp(-(np.hypot(wy, wx) ** 2))
    response = FrequencyResponse(grid=grid, phi=gain.astype(complex), gain=gain)
    assert response.cutoff == pytest.approx(np.sqrt(np.log(2) / 2), abs=0.01)
    flat = FrequencyResponse(grid=grid, phi=gain.astype(complex), gain=np.ones((32, 32)))
    assert np.isnan(flat.cutoff)


def test_scalars_of_nothing_are_undefined():
    response = frequency_response(np.zeros((9, 9)), Grid(3, 3))
    for name in ("leakage", "centroid", "m_eff", "hlr", "dc_share", "cutoff"):
        assert np.isnan(getattr(response, name)), name


def test_radial_profile_averages_rings():
    wy, wx = frequencies(16, 16)
    radius, mean, std = radial_profile(np.hypot(wy, wx))
    assert len(radius) == 9
    np.testing.assert_allclose(mean, radius, atol=1e-12)
    assert radius[0] == 0
    assert std[0] == 0
    assert (std[1:] < np.pi / 16).all()
    assert radius[-1] <= np.pi + 1e-9


def test_radial_profile_leaves_out_what_is_unknown():
    values = np.full((8, 8), np.nan)
    values[0, 1], values[1, 0], values[0, 4] = 1.0, 3.0, 5.0
    radius, mean, std = radial_profile(values)
    np.testing.assert_allclose(radius, [np.pi / 4, np.pi])
    np.testing.assert_allclose(mean, [2, 5])
    np.testing.assert_allclose(std, [1, 0])


def test_responses_refuse_what_is_no_operator():
    grid = Grid(3, 3)
    with pytest.raises(ValueError, match=r"shape \(4, 4\), expected \(9, 9\) for a grid of 3x3"):
        frequency_response(np.eye(4), grid)
    with pytest.raises(ValueError, match="infinite or undefined"):
        frequency_response(np.full((9, 9), np.nan), grid)
    with pytest.raises(ValueError, match="got 4 rows, expected 9"):
        frequency_response_of_kernels([np.zeros((4, 3, 3))], grid)
    with pytest.raises(ValueError, match=r"expected \(R, 3, 3\)"):
        frequency_response_of_kernels([np.zeros((9, 9))], grid)
    with pytest.raises(ValueError, match="got no waves"):
        frequency_response_of(lambda fields: fields, grid, waves=[])
    with pytest.raises(ValueError, match="from the operator, expected"):
        frequency_response_of(lambda fields: fields[:1], grid)
    with pytest.raises(ValueError, match=r"got values of shape \(3,\)"):
        radial_profile(np.zeros(3))
    with pytest.raises(ValueError, match="got bins=0"):
        radial_profile(np.zeros((3, 3)), bins=0)
