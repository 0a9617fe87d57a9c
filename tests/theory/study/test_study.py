"""The study: what it simulates agrees with its laws, and only its settings decide."""

from dataclasses import replace

import numpy as np
import pytest

from spanetv2.theory import laws
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import FrequencyResponse
from spanetv2.theory.study import Settings, mixers, points, run_study
from spanetv2.theory.study.curves import curve_of


@pytest.fixture(scope="module")
def study():
    return run_study(Settings(grid=10, draws=20, seed=3))


def test_curve_of_takes_draws_together():
    grid = Grid(1, 2)
    responses = [
        FrequencyResponse(grid=grid, phi=np.array([[1 + 0j, 0]]), gain=np.array([[1.0, g]]))
        for g in (1.0, 3.0)
    ]
    curve = curve_of(responses, mixer="m", window=3, law=np.array([[1.0, 5.0]]))
    np.testing.assert_allclose(curve.radius, [0, np.pi])
    np.testing.assert_allclose(curve.gain, [1, np.sqrt(5)])
    np.testing.assert_allclose(curve.law, [1, np.sqrt(5)])
    np.testing.assert_allclose(curve.low, [1, np.sqrt(1 + 0.1 * 8)])
    np.testing.assert_allclose(curve.high, [1, np.sqrt(1 + 0.9 * 8)])
    assert (curve.mixer, curve.window, curve.draws) == ("m", 3, 2)
    assert curve.scalars["dc_gain"] == 1
    assert curve.scalars["leakage"] == pytest.approx((1 / 2 + 9 / 10) / 2)


def test_study_curves_agree_with_their_laws(study):
    with_law = [curve for curve in study.curves if curve.law is not None]
    assert len(with_law) > 50
    for curve in with_law:
        # 20 attention maps, and 400 kernels, whose power at the constant is widely spread
        tolerance = 0.12 if "kernel" in curve.mixer or "head" in curve.mixer else 0.06
        limit = tolerance * curve.law.max()
        np.testing.assert_allclose(curve.gain, curve.law, atol=limit, err_msg=curve.mixer)
        assert (curve.low <= curve.high + 1e-12).all()
    without = {curve.mixer for curve in study.curves if curve.law is None}
    assert without == {
        "attention on 1/f tokens, logits 1",
        "mean before the filter",
        "mean after a low-pass filter",
        "mean after a high-pass filter",
        "mean of 3 - mean of 9",
    }


def test_study_shows_what_the_argument_needs(study):
    def gains(curves, name="rms_gain"):
        return {curve.window: curve.scalars[name] for curve in curves}

    windows = study.settings.windows
    assert windows == (3, 5, 7, 9)
    np.testing.assert_allclose([gains(study.signed)[k] for k in windows], 0.577, atol=0.03)
    for curves in (study.softmaxed, study.windows, study.attention_sharp, study.attention_default):
        values = [gains(curves)[k] for k in windows]
        assert all(np.diff(values) < -0.02)
        np.testing.assert_allclose([gains(curves, "dc_gain")[k] for k in windows], 1, atol=1e-9)
    for k in windows:
        assert gains(study.softmaxed)[k] == pytest.approx(gains(study.attention_sharp)[k], abs=0.03)
    assert gains(study.attention_sharp)[None] < gains(study.attention_sharp)[9]


def test_study_residuals_pass_or_stop_the_constant(study):
    for curve in study.residuals:
        low_pass = curve.mixer.startswith("I +")
        assert curve.gain[0] == pytest.approx(2 if low_pass else 0, abs=1e-7)
        assert (curve.scalars["centroid"] < 1) == low_pass
    assert {curve.mixer for curve in study.residuals} == {
        f"I {sign} {mixer}" for sign in "+-" for mixer in ("window graph", "attention")
    }


def test_study_heads_follow_the_filter(study):
    named = {(curve.mixer, curve.window): curve for curve in study.spam}
    for k in study.settings.windows:
        before = named["head before the filter", k]
        low = named["head after a low-pass filter", k]
        high = named["head after a high-pass filter", k]
        assert low.scalars["centroid"] < 0.5 < before.scalars["centroid"] < 1.2
        assert high.scalars["centroid"] > 1.3
        # the gate only attenuates, and the contrast of its bands is exp(2)
        assert (low.gain < before.gain).all()
        assert (before.gain / low.gain)[-1] / (before.gain / low.gain)[0] == pytest.approx(
            np.exp(2), rel=1e-6
        )
    band = named["mean of 3 - mean of 9", None]
    assert band.gain[0] == pytest.approx(0, abs=1e-12)
    assert band.scalars["centroid"] == pytest.approx(0.389, abs=1e-3)


def test_study_connectivity_is_on_the_law_for_every_map(study):
    kinds = {(p.mixer, p.boundary) for p in study.connectivity}
    assert kinds == {
        ("window graph", "torus"),
        ("softmaxed kernel", "torus"),
        ("attention", "torus"),
        ("attention", "free"),
        ("attention on 1/f tokens", "torus"),
    }
    for point in study.connectivity:
        assert point.rms_gain == pytest.approx(point.law, abs=1e-9)
        assert 1 < point.m_eff < 100
        law = laws.mean_power_without_dc(point.m_eff, 100)
        assert point.law == pytest.approx(np.sqrt(law))


def test_study_scaling_has_the_slopes(study):
    size = np.log([p.n**2 for p in study.scaling])
    gain = np.polyfit(size, np.log([p.gain for p in study.scaling]), 1)[0]
    profile = np.polyfit(size, np.log([p.profile for p in study.scaling]), 1)[0]
    assert gain == pytest.approx(-0.5, abs=0.04)
    assert profile == pytest.approx(-1, abs=0.08)
    for point in study.scaling:
        assert point.gain == pytest.approx(point.gain_law, rel=0.06)


def test_study_selectivity_follows_its_laws(study):
    rows = {(row.family, row.window): row for row in study.selectivity}
    assert len(rows) == 16
    for row in rows.values():
        if row.law is not None:
            assert row.dc_to_nyquist == pytest.approx(row.law, rel=0.1)
    for k, share in zip((3, 5, 7, 9), (0.20, 0.11, 0.057, 0.024), strict=True):
        row = rows["signed", k]
        assert row.high_share == pytest.approx(share, abs=0.012)
        assert row.spread == pytest.approx(row.spread_law, rel=0.07)
        assert row.centroid == pytest.approx(1, abs=0.01)


def test_study_shape_proxy_has_the_expected_numbers():
    rows = list(points.shapes(Settings(draws=2)))
    kept = {(row.mixer, row.window): row.ratio for row in rows}
    for k, smooth, sharp in zip(
        (3, 5, 7, 9), (6.7, 14.3, 20.3, 22.1), (0.144, 0.244, 0.350, 0.474), strict=True
    ):
        assert kept["window graph", k] == pytest.approx(smooth, abs=0.05)
        assert kept["I - window graph", k] == pytest.approx(sharp, abs=5e-4)
        assert kept["signed kernel", k] == pytest.approx(1, abs=0.6)
        assert 1 < kept["attention", k] < smooth
    assert kept["attention", None] < kept["attention", 3]


def test_study_paddings_are_those_of_the_last_stages(study):
    assert [(p.n, p.window) for p in study.padding] == [
        (n, k) for n in (14, 7) for k in (3, 5, 7, 9)
    ]
    for point in study.padding:
        assert point.dc_profile == pytest.approx(point.law, abs=1e-10)
    assert study.padding[-1].leakage == pytest.approx(0.201, abs=5e-4)


def test_study_depends_on_its_settings_alone():
    settings = Settings(grid=4, draws=1)
    names: list[str] = []
    first, again = run_study(settings, progress=names.append), run_study(settings)
    other = run_study(replace(settings, seed=1))
    assert len(set(names)) == 15
    for one, two in zip(first.curves, again.curves, strict=True):
        np.testing.assert_array_equal(one.gain, two.gain)
    assert first.connectivity == again.connectivity
    assert first.shape == again.shape
    assert all(
        a.m_eff != b.m_eff
        for a, b in zip(first.connectivity[1:], other.connectivity[1:], strict=True)
    )


def test_study_parts_do_not_depend_on_each_other(study):
    alone = list(mixers.attention_curves(study.settings, 1.0))
    for one, two in zip(alone, study.attention_sharp, strict=True):
        np.testing.assert_array_equal(one.gain, two.gain)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"grid": 3}, "got a grid of 3 tokens a side, expected at least 4"),
        ({"draws": 0}, "got 0 draws, expected at least 1"),
        ({"seed": -1}, "got seed=-1, expected 0 or more"),
    ],
)
def test_settings_refuse_what_cannot_be_simulated(wrong, message):
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


def test_settings_keep_windows_that_fit():
    assert Settings(grid=6).windows == (3, 5)
    assert Settings(grid=4).windows == (3,)
