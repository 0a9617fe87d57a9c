"""Attention: the map against the softmax written out, streaming against dense, exact results."""

import numpy as np
import pytest

from spanetv2.theory.attention import (
    attend,
    attention,
    attention_map,
    attention_response,
    check_stochastic,
    softmax,
    squared_weights,
)
from spanetv2.theory.convolution import window_graph
from spanetv2.theory.ensembles import iid_tokens, projections
from spanetv2.theory.grid import Grid
from spanetv2.theory.laws import mean_power_without_dc
from spanetv2.theory.response import frequency_response

CASES = [
    (grid, window)
    for grid in (Grid(9, 12), Grid(9, 12, "free"), Grid(3, 4, "free"))
    for window in (None, 3, 5)
]


def queries_and_keys(tokens, *, seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((2, tokens, 4))


@pytest.mark.parametrize(("grid", "window"), CASES)
def test_attention_map_is_the_softmax_over_the_window(grid, window):
    queries, keys = queries_and_keys(grid.tokens)
    C = attention_map(queries, keys, grid, window=window)
    for x in range(0, grid.tokens, 5):
        seen = {}
        for y in range(grid.tokens):
            offset = [y // grid.width - x // grid.width, y % grid.width - x % grid.width]
            if grid.boundary == "torus":
                offset = [min(abs(d), n - abs(d)) for d, n in zip(offset, grid.shape, strict=True)]
            if window is None or max(map(abs, offset)) <= window // 2:
                seen[y] = np.exp(queries[x] @ keys[y] / 2)
        expected = np.zeros(grid.tokens)
        expected[list(seen)] = np.array(list(seen.values())) / sum(seen.values())
        np.testing.assert_allclose(C[x], expected, atol=1e-12)


@pytest.mark.parametrize(("grid", "window"), CASES)
def test_attention_response_agrees_with_dense(grid, window):
    queries, keys = queries_and_keys(grid.tokens, seed=1)
    dense = frequency_response(attention_map(queries, keys, grid, window=window), grid)
    streamed = attention_response(queries, keys, grid, window=window)
    np.testing.assert_allclose(streamed.phi, dense.phi, atol=1e-10)
    np.testing.assert_allclose(streamed.gain, dense.gain, atol=1e-10)
    values = np.random.default_rng(2).standard_normal((grid.tokens, 2))
    expected = attention_map(queries, keys, grid, window=window) @ values
    assert squared_weights(queries, keys, grid, window=window) == pytest.approx(
        np.mean(np.sum(attention_map(queries, keys, grid, window=window) ** 2, axis=1)), abs=1e-12
    )
    np.testing.assert_allclose(attend(queries, keys, values, grid, window=window), expected)


@pytest.mark.parametrize(("grid", "window"), CASES)
def test_row_stochastic_mixers_obey_the_identity_and_the_bound(grid, window):
    C = attention_map(*queries_and_keys(grid.tokens, seed=2), grid, window=window)
    for matrix in (C, window_graph(3, grid)):
        response = frequency_response(check_stochastic(matrix), grid)
        assert response.power.max() <= 1 + 1e-9
        assert response.dc_gain == pytest.approx(1, abs=1e-10)
        law = mean_power_without_dc(grid.tokens / np.sum(matrix**2), grid.tokens)
        assert response.power.ravel()[1:].mean() == pytest.approx(float(law), abs=1e-10)
        # the graph's own basis has the same mean, on the cosines of a free boundary as well
        power = np.linalg.norm(matrix @ grid.fourier_basis(), axis=0) ** 2
        assert power[1:].mean() == pytest.approx(float(law), abs=1e-10)
        assert response.m_eff == pytest.approx(grid.tokens / np.sum(matrix**2), abs=1e-10)


def test_attention_takes_tokens_and_projections():
    rng = np.random.default_rng(3)
    grid = Grid(5, 5)
    tokens, (query, key) = iid_tokens(rng, 25), projections(rng, 1.0)
    logits = (tokens @ query) @ (tokens @ key).T / np.sqrt(32)
    np.testing.assert_allclose(attention(tokens, query, key, grid), softmax(logits), atol=1e-12)


def test_softmax_survives_large_logits():
    weights = softmax(np.array([[1000.0, 999.0, -np.inf]]))
    np.testing.assert_allclose(weights, [[1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0]])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.ones((2, 3)) / 3, r"got a float64 array of shape \(2, 3\), expected a real square"),
        (np.eye(2) * 1j, "got a complex128 array"),
        (np.array([[1.5, -0.5], [0, 1]]), "with the weight -0.5, expected none below 0"),
        (np.array([[0.5, 0.4], [0, 1]]), "sums to 1 only within 0.1"),
        (np.array([[np.nan, 1], [0, 1]]), "infinite or undefined"),
    ],
)
def test_check_stochastic_refuses_other_matrices(bad, message):
    with pytest.raises(ValueError, match=message):
        check_stochastic(bad)


def test_check_stochastic_allows_the_rounding_of_float32():
    C = softmax(np.random.default_rng(4).standard_normal((50, 50)))
    assert check_stochastic(C.astype(np.float32)).dtype == np.float64


def test_attention_refuses_what_does_not_fit():
    queries, keys = queries_and_keys(9)
    with pytest.raises(ValueError, match="got 9 tokens, expected 16 for a grid of 4x4"):
        attention_map(queries, keys, Grid(4, 4))
    with pytest.raises(ValueError, match="expected two equal shapes"):
        attention_response(queries, keys[:, :2], Grid(3, 3))
    with pytest.raises(ValueError, match="got a window of 5x5 on a torus grid of 3x3"):
        attention_map(queries, keys, Grid(3, 3), window=5)
    with pytest.raises(ValueError, match="expected odd sides"):
        attention_response(queries, keys, Grid(3, 3), window=2)
