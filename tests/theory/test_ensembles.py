"""Random mixers: their moments, and how responses are averaged."""

import numpy as np
import pytest

from spanetv2.theory.ensembles import (
    FAMILIES,
    attention_draws,
    average,
    correlated_tokens,
    disc,
    iid_tokens,
    kernels,
    projections,
    token_spectrum,
)
from spanetv2.theory.grid import Grid, frequencies
from spanetv2.theory.response import FrequencyResponse


def test_kernels_of_every_family():
    drawn = {f: kernels(np.random.default_rng(0), 5000, 3, f) for f in FAMILIES}
    signed = drawn["signed"]
    assert signed.shape == (5000, 3, 3)
    assert abs(signed.mean()) < 0.003
    assert signed.var() == pytest.approx(1 / 27, rel=0.02)
    assert drawn["non-negative"].min() >= 0
    np.testing.assert_allclose(drawn["positive mean"] - signed, np.sqrt(1 / 27), atol=1e-12)
    np.testing.assert_allclose(drawn["softmaxed"].sum(axis=(1, 2)), 1, atol=1e-12)
    with pytest.raises(ValueError, match="got the family 'odd', expected one of signed"):
        kernels(np.random.default_rng(0), 1, 3, "odd")


def test_logits_have_the_wanted_spread():
    rng = np.random.default_rng(1)
    for tau in (1 / 3, 1.0):
        logits = []
        for _ in range(20):
            tokens, (query, key) = iid_tokens(rng, 40), projections(rng, tau)
            logits.append((tokens @ query) @ (tokens @ key).T / np.sqrt(32))
        assert np.std(logits) == pytest.approx(tau, rel=0.04)


def test_tokens_are_normalised():
    rng = np.random.default_rng(2)
    for tokens in (iid_tokens(rng, 30), correlated_tokens(rng, Grid(5, 6))):
        assert tokens.shape == (30, 192)
        np.testing.assert_allclose(tokens.mean(axis=1), 0, atol=1e-12)
        np.testing.assert_allclose(tokens.std(axis=1), 1, atol=1e-12)


def test_correlated_tokens_have_the_amplitude_of_one_over_f():
    grid = Grid(16, 16)
    spectrum = token_spectrum(correlated_tokens(np.random.default_rng(3), grid, 2000), grid)
    assert spectrum.mean() == pytest.approx(1)
    radius = np.hypot(*frequencies(16, 16)).ravel()[1:]
    slope = np.polyfit(np.log(radius), np.log(spectrum.ravel()[1:]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.15)


def test_average_takes_profiles_as_they_are_and_gains_as_squares():
    grid = Grid(1, 2)
    responses = [
        FrequencyResponse(grid=grid, phi=np.array([[1, 1j]]), gain=np.array([[1.0, 1.0]])),
        FrequencyResponse(grid=grid, phi=np.array([[1, -1j]]), gain=np.array([[1.0, 7.0]])),
    ]
    result = average(iter(responses))
    np.testing.assert_allclose(result.mean.phi, [[1, 0]])
    np.testing.assert_allclose(result.mean.gain, [[1, 5]])
    np.testing.assert_allclose(result.spread, [[0, 3]])
    assert result.leakage == pytest.approx((0 + (1 - 2 / 50)) / 2)
    assert result.draws == 2
    with pytest.raises(ValueError, match="no responses"):
        average([])


def test_attention_draws_depend_on_the_seed_alone():
    grid = Grid(4, 4)
    draws = [
        average(attention_draws(np.random.default_rng(seed), grid, draws=2, tau=1.0, window=3))
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(draws[0].mean.gain, draws[1].mean.gain)
    assert np.abs(draws[0].mean.gain - draws[2].mean.gain).max() > 1e-3


def test_disc_covers_the_middle():
    field = disc(Grid(16, 16))
    assert (field > 0).sum() == 52  # pixels with radius^2 < 16 about (7.5, 7.5)
    np.testing.assert_allclose(field, field[::-1, ::-1].T, atol=1e-15)
    with pytest.raises(ValueError, match="covers no token"):
        disc(Grid(4, 4), radius=0.5)
