"""Grids: graphs against their definition, spectra and bases against the Laplacian itself."""

import numpy as np
import pytest

from spanetv2.theory.grid import Grid, frequencies, plane_wave, torus_eigenvalues

SIZES = [(1, 1), (1, 5), (2, 3), (4, 6), (7, 5), (8, 8)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("boundary", ["torus", "free"])
def test_grid_fourier_basis_diagonalises_the_laplacian(size, boundary):
    grid = Grid(*size, boundary)
    basis = grid.fourier_basis()
    diagonal = basis.conj().T @ grid.laplacian() @ basis
    np.testing.assert_allclose(diagonal, np.diag(grid.eigenvalues), atol=1e-10)
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(grid.tokens), atol=1e-10)


def test_grid_torus_spectrum_is_the_closed_form():
    n = 16
    w = 2 * np.pi * np.arange(n) / n
    expected = 1 - (np.cos(w)[:, None] + np.cos(w)[None, :]) / 2
    np.testing.assert_allclose(torus_eigenvalues(n, n), expected, atol=1e-10)
    grid = Grid(n, n)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(grid.laplacian()), np.sort(expected.ravel()), atol=1e-10
    )
    assert abs(grid.eigenvalues.mean() - 1) < 1e-10
    assert grid.eigenvalues.min() > -1e-12
    assert abs(grid.eigenvalues.max() - 2) < 1e-12


def test_grid_free_spectrum_is_that_of_the_cosine_transform():
    n = 6
    grid = Grid(n, n, "free")
    adjacency = grid.adjacency()
    values = np.linalg.eigvalsh(np.diag(adjacency.sum(axis=1)) - adjacency)
    cosines = 2 * np.cos(np.pi * np.arange(n) / n)
    expected = np.sort((4 - cosines[:, None] - cosines[None, :]).ravel())
    np.testing.assert_allclose(values, expected, atol=1e-10)
    np.testing.assert_allclose(np.sort(4 * grid.eigenvalues), expected, atol=1e-10)


def test_grid_adjacency_joins_neighbours():
    torus, free = Grid(4, 5), Grid(4, 5, "free")
    for grid in (torus, free):
        np.testing.assert_array_equal(grid.adjacency(), grid.adjacency().T)
    np.testing.assert_array_equal(torus.adjacency().sum(axis=1), 4)
    assert sorted(np.flatnonzero(torus.adjacency()[0])) == [1, 4, 5, 15]
    assert sorted(np.flatnonzero(free.adjacency()[0])) == [1, 5]
    assert sorted(np.flatnonzero(free.adjacency(neighbours=8)[0])) == [1, 5, 6]
    assert free.adjacency().sum() == 2 * (4 * 4 + 3 * 5)
    np.testing.assert_array_equal(Grid(2, 3).adjacency().sum(axis=1), 4)


def test_grid_with_eight_neighbours_is_no_frequency_axis():
    n = 8
    laplacian = Grid(n, n).laplacian(neighbours=8)
    edge, corner = plane_wave(n, n, n // 2, 0).ravel(), plane_wave(n, n, n // 2, n // 2).ravel()
    assert np.vdot(edge, laplacian @ edge).real == pytest.approx(1.5, abs=1e-10)
    assert np.vdot(corner, laplacian @ corner).real == pytest.approx(1.0, abs=1e-10)


def test_grid_symmetric_laplacian_has_degrees_as_its_constant_mode():
    torus, free = Grid(5, 4), Grid(5, 4, "free")
    np.testing.assert_allclose(torus.symmetric_laplacian(), torus.laplacian(), atol=1e-12)
    degrees = free.adjacency().sum(axis=1)
    np.testing.assert_allclose(free.symmetric_laplacian() @ np.sqrt(degrees), 0, atol=1e-12)
    assert np.abs(free.symmetric_laplacian() @ np.ones(20)).max() > 0.05


def test_grid_eigenspaces_partition_the_spectrum():
    grid = Grid(16, 16)
    spaces = grid.eigenspaces()
    assert len(spaces) == 41
    assert {len(s.members) for s in spaces if abs(s.eigenvalue - 1) < 1e-9} == {30}
    assert sorted(np.concatenate([s.members for s in spaces])) == list(range(256))
    for space in spaces:
        np.testing.assert_allclose(grid.eigenvalues[space.members], space.eigenvalue, atol=1e-9)
    assert np.all(np.diff([s.eigenvalue for s in spaces]) > 1e-6)


def test_grid_waves_belong_to_their_frequencies():
    height, width = 6, 5
    wy, wx = frequencies(height, width)
    rows, columns = np.mgrid[:height, :width]
    basis = Grid(height, width).fourier_basis()
    for p, q in [(0, 0), (1, 2), (3, 4), (5, 1)]:
        wave = plane_wave(height, width, p, q)
        expected = np.exp(1j * (wy[p, q] * rows + wx[p, q] * columns)) / np.sqrt(30)
        np.testing.assert_allclose(wave, expected, atol=1e-12)
        np.testing.assert_allclose(basis[:, p * width + q], wave.ravel(), atol=1e-12)
        np.testing.assert_allclose(plane_wave(height, width, p - height, q), wave, atol=1e-12)
    assert (wy >= -np.pi).all()
    assert (wy < np.pi).all()


def test_grid_refuses_what_is_none():
    with pytest.raises(ValueError, match="got a grid of 0x3 tokens"):
        Grid(0, 3)
    with pytest.raises(ValueError, match="got boundary='open', expected 'torus' or 'free'"):
        Grid(3, 3, "open")
    with pytest.raises(ValueError, match="got 6 neighbours"):
        Grid(3, 3).adjacency(neighbours=6)
