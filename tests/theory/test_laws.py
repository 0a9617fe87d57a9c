"""The closed forms: expected numbers, and what random mixers do beside what the laws say."""

import numpy as np
import pytest

from spanetv2.theory import laws
from spanetv2.theory.convolution import (
    box_kernel,
    convolution,
    convolution_response,
    kernel_centroids,
    kernel_spectra,
    residual,
    window_graph,
)
from spanetv2.theory.ensembles import (
    attention_draws,
    average,
    correlated_tokens,
    disc,
    kernels,
    token_spectrum,
)
from spanetv2.theory.grid import Grid, frequencies
from spanetv2.theory.response import frequency_response, radial_profile, spectral_centroid

GRID = Grid(16, 16)
WY, WX = frequencies(16, 16)
SIDES = (3, 5, 7, 9)


@pytest.fixture(scope="module")
def windowed():
    """Averages of 30 windowed attention maps for (tau, k)."""
    rng = np.random.default_rng(0)
    return {
        (tau, k): average(attention_draws(rng, GRID, draws=30, tau=tau, window=k))
        for tau in (1 / 3, 1.0)
        for k in SIDES
    }


@pytest.fixture(scope="module")
def everywhere():
    """Averages of 30 global attention maps for tau."""
    rng = np.random.default_rng(1)
    return {tau: average(attention_draws(rng, GRID, draws=30, tau=tau)) for tau in (1 / 3, 1.0)}


@pytest.mark.parametrize("k", SIDES)
def test_centroids_of_windows(k):
    A = window_graph(k, GRID)
    assert frequency_response(A, GRID).centroid == pytest.approx(1 / k, abs=1e-10)
    assert laws.window_centroid(k) == pytest.approx(1 / k, abs=1e-10)
    expected = {3: 7 / 6, 5: 21 / 20, 7: 43 / 42, 9: 73 / 72}[k]
    assert laws.complement_centroid(k) == pytest.approx(expected, abs=1e-10)
    measured = spectral_centroid(residual(A, -1), GRID.laplacian())
    assert measured == pytest.approx(expected, abs=1e-10)


def test_box_cutoff_numbers():
    cutoffs = [laws.box_cutoff(k) for k in SIDES]
    np.testing.assert_allclose(cutoffs, [0.9756, 0.5665, 0.4011, 0.3109], atol=1e-4)
    for k, cutoff in zip(SIDES, cutoffs, strict=True):
        assert laws.box_response(k, cutoff, 0.0) == pytest.approx(np.sqrt(0.5), abs=1e-12)
    assert laws.box_cutoff(101) * 101 == pytest.approx(2.78, abs=0.01)
    fine = convolution_response(box_kernel(5), Grid(128, 128))
    assert fine.cutoff == pytest.approx(cutoffs[1], abs=1e-3)
    with pytest.raises(ValueError, match="got a window of 1"):
        laws.box_cutoff(1)


def test_high_to_low_ratios():
    low = [frequency_response(window_graph(k, GRID), GRID).hlr for k in SIDES]
    np.testing.assert_allclose(low, [0.06908, 0.02505, 0.01344, 0.00808], atol=1e-5)
    high = [frequency_response(residual(window_graph(k, GRID), -1), GRID).hlr for k in SIDES]
    np.testing.assert_allclose(high, [2.1001, 1.0184, 1.0840, 1.0146], atol=1e-4)


@pytest.mark.parametrize(
    ("n", "dc", "leakage"),
    [
        (14, [0.9070, 0.8359, 0.7701, 0.7077], [0.091, 0.158, 0.219, 0.275]),
        (7, [0.8186, 0.6865, 0.5702, 0.4659], [0.172, 0.290, 0.386, 0.201]),
    ],
)
def test_zero_padding(n, dc, leakage):
    grid = Grid(n, n, "free")
    responses = [frequency_response(convolution(box_kernel(k), grid), grid) for k in SIDES]
    np.testing.assert_allclose([r.phi[0, 0] for r in responses], dc, atol=1e-4)
    np.testing.assert_allclose([r.leakage for r in responses], leakage, atol=5e-4)
    for k, response in zip(SIDES, responses, strict=True):
        assert laws.padded_box_dc(k, n) == pytest.approx(response.phi[0, 0].real, abs=1e-10)


def test_padded_profile_of_any_kernel():
    grid = Grid(6, 9, "free")
    kernel = np.random.default_rng(2).standard_normal((7, 5))
    response = frequency_response(convolution(kernel, grid), grid)
    np.testing.assert_allclose(laws.padded_profile(kernel, grid), response.phi, atol=1e-10)


@pytest.mark.parametrize("k", SIDES)
def test_default_initialisation_is_flat(k):
    rng = np.random.default_rng(k)
    power = np.zeros(GRID.shape)
    higher = 0
    for _ in range(10):
        spectra = np.abs(kernel_spectra(kernels(rng, 2000, k), GRID)) ** 2
        power += spectra.mean(axis=0) / 10
        higher += (spectra[:, 8, 8] > spectra[:, 0, 0]).sum()
    assert power.mean() == pytest.approx(1 / 3, abs=0.003)
    np.testing.assert_allclose(power, 1 / 3, atol=0.02)
    law = laws.random_kernel_power(k, mean=0, variance=laws.default_variance(k), wy=WY, wx=WX)
    np.testing.assert_allclose(law, 1 / 3, atol=1e-12)
    assert higher / 20_000 == pytest.approx(0.5, abs=0.015)


def test_small_kernels_are_more_often_selective():
    rng = np.random.default_rng(3)
    for k, share in zip(SIDES, [0.20, 0.11, 0.057, 0.024], strict=True):
        centroids = kernel_centroids(kernels(rng, 20_000, k))
        assert (centroids > 1.15).mean() == pytest.approx(share, abs=0.01)
        assert centroids.std() == pytest.approx(laws.centroid_spread(k), rel=0.06)


@pytest.mark.parametrize(
    ("family", "mean", "variance"),
    [
        ("positive mean", 1 / (5 * np.sqrt(3)), 1 / 75),
        ("non-negative", 1 / 10, 1 / 300),
    ],
)
def test_random_kernels_with_a_mean_follow_the_law(family, mean, variance):
    k, moments = 5, {"mean": mean, "variance": variance}
    drawn = kernels(np.random.default_rng(4), 8000, k, family)
    assert drawn.mean() == pytest.approx(mean, rel=0.01)
    assert drawn.var() == pytest.approx(variance, rel=0.02)
    power = (np.abs(kernel_spectra(drawn, GRID)) ** 2).mean(axis=0)
    law = laws.random_kernel_power(k, **moments, wy=WY, wx=WX)
    np.testing.assert_allclose(power, law, rtol=0.08)
    ratio = laws.dc_to_nyquist(k, **moments)
    assert power[0, 0] / power[8, 8] == pytest.approx(ratio, rel=0.08)
    assert ratio == pytest.approx(1 + 25 * mean**2 / variance, rel=0.3)


def test_windowed_attention_profile_is_the_box(windowed):
    for (_, k), result in windowed.items():
        np.testing.assert_allclose(result.mean.phi, laws.box_response(k, WY, WX), atol=0.03)


def test_windowed_attention_power_follows_the_law(windowed):
    for (_, k), result in windowed.items():
        law = laws.softmax_power(1 / result.mean.m_eff, k, WY, WX)
        np.testing.assert_allclose(result.mean.power, law, atol=0.01)


def test_softmaxed_kernels_follow_the_same_law(windowed):
    rng = np.random.default_rng(5)
    for k, rms in zip(SIDES, [0.457, 0.295, 0.214, 0.166], strict=True):
        spectra = kernel_spectra(kernels(rng, 4000, k, "softmaxed"), GRID)
        power = (np.abs(spectra) ** 2).mean(axis=0)
        law = laws.softmax_power(power.mean(), k, WY, WX)
        np.testing.assert_allclose(power, law, atol=0.01)
        assert np.sqrt(power.ravel()[1:].mean()) == pytest.approx(rms, abs=0.005)
        # a convolution under the simplex constraint behaves like attention of the same logits
        assert np.sqrt(power.ravel()[1:].mean()) == pytest.approx(
            windowed[1.0, k].mean.rms_gain, abs=0.01
        )


def test_leakage_of_attention(windowed, everywhere):
    for k in SIDES:
        result = windowed[1.0, k]
        law = laws.softmax_leakage(result.mean.m_eff, k**2)
        assert result.leakage == pytest.approx(float(law), abs=0.02)
    result = everywhere[1.0]
    law = laws.softmax_leakage(result.mean.m_eff, GRID.tokens)
    assert result.leakage == pytest.approx(float(law), abs=0.02)


def test_attention_table(windowed, everywhere):
    expected = {
        (1 / 3, "rms_gain"): ([0.345, 0.202, 0.138, 0.100, 0.0214], 0.003),
        (1.0, "rms_gain"): ([0.457, 0.294, 0.214, 0.165, 0.081], 0.005),
        (1.0, "m_eff"): ([4.7, 11.1, 20.2, 32.2, 96], 0.03),
        (1 / 3, "centroid"): ([0.401, 0.283, 0.232, 0.207, 0.106], 0.01),
        (1.0, "centroid"): ([0.689, 0.662, 0.657, 0.655, 0.629], 0.015),
    }
    for (tau, name), (values, tolerance) in expected.items():
        results = [windowed[tau, k] for k in SIDES] + [everywhere[tau]]
        measured = [getattr(result.mean, name) for result in results]
        limits = {"rtol": tolerance} if name == "m_eff" else {"atol": tolerance}
        np.testing.assert_allclose(measured, values, **{"rtol": 0, "atol": 0, **limits})


def test_box_table():
    rms = [frequency_response(window_graph(k, GRID), GRID).rms_gain for k in SIDES]
    np.testing.assert_allclose(rms, [0.32806, 0.19036, 0.12871, 0.09205], atol=5e-6)
    whole = frequency_response(np.full((256, 256), 1 / 256), GRID)
    assert whole.rms_gain == pytest.approx(0, abs=1e-10)


def test_global_attention_is_a_delta_at_the_constant(everywhere):
    for tau, result in everywhere.items():
        assert result.mean.m_eff == pytest.approx(
            float(laws.global_connectivity(tau, 256)), rel=0.05
        )
        assert result.mean.rms_gain == pytest.approx(float(laws.global_gain(tau, 256)), rel=0.06)
        assert result.mean.phi[0, 0] == pytest.approx(1, abs=1e-10)
        assert np.abs(result.mean.phi.ravel()[1:]).max() < 0.01


def test_global_attention_scales_with_the_tokens():
    rng = np.random.default_rng(6)
    sides = np.array([8, 12, 16, 20, 24])
    gains, profiles = [], []
    for n in sides:
        responses = list(attention_draws(rng, Grid(n, n), draws=30, tau=1 / 3))
        gains.append(np.mean([r.gain.ravel()[1:].mean() for r in responses]))
        profiles.append(np.mean([np.abs(r.phi).ravel()[1:].mean() for r in responses]))
    tokens = np.log(sides**2)
    assert np.polyfit(tokens, np.log(gains), 1)[0] == pytest.approx(-0.5, abs=0.03)
    assert np.polyfit(tokens, np.log(profiles), 1)[0] == pytest.approx(-1, abs=0.06)


def test_attention_follows_the_spectrum_of_its_tokens():
    rng = np.random.default_rng(7)
    tokens = correlated_tokens(rng, GRID)
    spectrum = token_spectrum(tokens, GRID)
    assert spectrum.ravel()[1:].max() / spectrum.min() > 30  # far from flat
    result = average(attention_draws(rng, GRID, draws=400, tau=0.1, tokens_NE=tokens))
    ratio = result.mean.power / laws.correlated_power(0.1, spectrum)
    np.testing.assert_allclose(radial_profile(ratio)[1][1:], 1, atol=0.05)
    # a single wave's mean over 400 draws has a standard deviation of 0.013
    np.testing.assert_allclose(ratio.ravel()[1:], 1, atol=0.07)


def test_shape_proxy():
    shape = disc(GRID).ravel()
    assert np.linalg.norm(shape) == pytest.approx(1)
    assert shape.sum() == pytest.approx(0, abs=1e-12)

    def kept(C):
        return np.sum((C @ shape) ** 2) / frequency_response(C, GRID).rms_gain ** 2

    smooth = [kept(window_graph(k, GRID)) for k in SIDES]
    np.testing.assert_allclose(smooth, [6.7, 14.3, 20.3, 22.1], atol=0.05)
    sharp = [kept(residual(window_graph(k, GRID), -1)) for k in SIDES]
    np.testing.assert_allclose(sharp, [0.144, 0.244, 0.350, 0.474], atol=5e-4)
    spectrum = np.abs(np.fft.fft2(shape.reshape(16, 16), norm="ortho")) ** 2
    signed = (np.abs(kernel_spectra(kernels(np.random.default_rng(8), 20_000, 3), GRID)) ** 2).mean(
        0
    )
    assert (spectrum * signed).sum() / signed.ravel()[1:].mean() == pytest.approx(1, abs=0.02)
