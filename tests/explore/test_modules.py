"""The page's JavaScript beside what it follows: numpy, Pillow and timm, and spanetv2.theory."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.explore.mask import crop_mask, draw_mask
from spanetv2.explore.network import geometry_of
from spanetv2.theory import laws, radial_profile
from spanetv2.theory.attention import attention_response
from spanetv2.theory.convolution import convolution_response
from spanetv2.theory.grid import Grid, frequencies
from spanetv2.theory.response import FrequencyResponse, residual_response
from spanetv2.theory.spam import gate, spam_head_response, srf_gain

N = 16


def call(lab: Any, module: str, body: str, argument: Any = None) -> Any:
    """Run a function body with a module of the page as ``m`` and an argument as ``a``."""
    script = f"async a => {{ const m = await import(labModules['{module}']); {body} }}"
    return lab.tab.evaluate(script, argument)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 4), (28, 28), (15, 37), (14, 26), (30, 49)])
def test_fft_equals_numpys(lab: Any, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    body = """const re = Float64Array.from(a.re), im = Float64Array.from(a.im);
        m.fft2(re, im, a.h, a.w); const there = [[...re], [...im]];
        m.fft2(re, im, a.h, a.w, true); return [...there, [...re], [...im]];"""
    argument = {"re": x.real.ravel().tolist(), "im": x.imag.ravel().tolist()}
    found = call(lab, "fft.js", body, argument | {"h": size[0], "w": size[1]})
    there, back = (np.array(found[i]) + 1j * np.array(found[i + 1]) for i in (0, 2))
    np.testing.assert_allclose(there.reshape(size), np.fft.fft2(x), atol=1e-10)
    np.testing.assert_allclose(back.reshape(size), x, atol=1e-12)


@pytest.mark.parametrize("size", [(28, 28), (15, 22), (224, 160)])
@pytest.mark.parametrize(
    "steps",
    [
        "low:0.25",
        "high:0.5",
        "band:0.125:0.75",
        "wedge:0:30",
        "wedge:135:60;invert",
        "brush:2:3:-5.4,1.1",
        "brush:0.25:2:6.-6;invert;low:0.9",
    ],
)
def test_masks_equal_pythons(lab: Any, size: tuple[int, int], steps: str) -> None:
    body = """const drawn = m.drawMask(m.parseSteps(a.steps), ...a.size);
        return [m.formatSteps(m.parseSteps(a.steps)), [...drawn.data],
            [...m.cropMask(drawn, 14, 15).data]];"""
    text, drawn, cropped = call(lab, "mask.js", body, {"steps": steps, "size": size})
    expected = draw_mask(steps, size)
    assert text == steps
    assert 0 < expected.mean() != 1
    np.testing.assert_allclose(np.reshape(drawn, size), expected, atol=1e-7)
    np.testing.assert_allclose(np.reshape(cropped, (14, 15)), crop_mask(expected, (14, 15)))


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((90, 61), {"input_size": (3, 56, 56), "crop_pct": 0.875}),
        ((300, 201), {"input_size": (1, 28, 28), "interpolation": "bilinear"}),
        ((40, 50), {"input_size": (3, 64, 64), "interpolation": "lanczos", "crop_pct": 0.95}),
        ((40, 50), {"input_size": (3, 48, 32), "interpolation": "hamming"}),
        ((45, 52), {"input_size": (3, 32, 32), "crop_mode": "squash", "crop_pct": 0.9}),
        ((60, 45), {"input_size": (3, 32, 32), "crop_mode": "border", "interpolation": "box"}),
        ((500, 9), {"input_size": (3, 32, 32)}),
    ],
)
def test_preprocessing_equals_timms_to_the_bit(
    lab: Any, size: tuple[int, int], options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (*size, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    settings = Preprocessing(**options)
    body = """const data = Uint8ClampedArray.from(a.pixels);
        return [...m.preprocess({ width: a.w, height: a.h, data }, a.geometry).data];"""
    argument = {"pixels": pixels.ravel().tolist(), "h": size[0], "w": size[1]}
    found = call(lab, "pillow.js", body, argument | {"geometry": geometry_of(settings)})
    x_CHW = eval_transform(settings)(Image.fromarray(pixels).convert("RGB"))
    mean, std = (torch.tensor(v)[:, None, None] for v in (settings.mean, settings.std))
    expected = ((x_CHW * std + mean) * 255).round().to(torch.uint8).flatten().tolist()
    assert [round(255 * value) for value in found] == expected


def response_of(found: dict[str, Any]) -> FrequencyResponse:
    phi = np.array(found["phiRe"]) + 1j * np.array(found["phiIm"])
    gain = np.array(found["gain"])
    return FrequencyResponse(grid=Grid(N, N), phi=phi.reshape(N, N), gain=gain.reshape(N, N))


def assert_same(found: dict[str, Any], expected: FrequencyResponse) -> None:
    got = response_of(found)
    np.testing.assert_allclose(got.phi, expected.phi, atol=1e-6)
    np.testing.assert_allclose(got.gain, expected.gain, atol=1e-6)
    assert expected.gain.max() > 0.1


PLAIN = """const plain = r => ({ phiRe: [...r.phiRe], phiIm: [...r.phiIm], gain: [...r.gain] });"""


@pytest.mark.parametrize("k", [3, 5, 9])
def test_responses_of_kernels_equal_the_theorys(lab: Any, k: int) -> None:
    kernel = np.random.default_rng(k).standard_normal((k, k)) / k
    theta = np.random.default_rng(1).standard_normal((N, N // 2 + 1))
    body = (
        PLAIN
        + """const r = m.kernelResponse(Float64Array.from(a.kernel), a.k, 16);
        const filter = m.srfGain(Float64Array.from(a.gate), 16);
        return { alone: plain(r), shortcut: plain(m.residualResponse(r, -0.7)),
            head: plain(m.filteredResponse(r, filter)), filter: [...filter],
            scalars: m.scalarsOf(r) };"""
    )
    argument = {"kernel": kernel.ravel().tolist(), "k": k, "gate": gate(theta).ravel().tolist()}
    found = call(lab, "theory.js", body, argument)
    expected = convolution_response(kernel, Grid(N, N))
    assert_same(found["alone"], expected)
    assert_same(found["shortcut"], residual_response(expected, -0.7))
    assert_same(found["head"], spam_head_response(kernel, gate(theta), Grid(N, N)))
    gain = srf_gain(gate(theta), Grid(N, N))
    np.testing.assert_allclose(np.reshape(found["filter"], (N, N)), gain, atol=1e-9)
    scalars = found["scalars"]
    assert scalars["dcGain"] == pytest.approx(expected.dc_gain, abs=1e-6)
    assert scalars["rmsGain"] == pytest.approx(expected.rms_gain, abs=1e-6)
    assert scalars["centroid"] == pytest.approx(expected.centroid, abs=1e-6)
    assert scalars["mEff"] == pytest.approx(expected.m_eff, abs=1e-6)


@pytest.mark.parametrize("window", [None, 3, 7])
def test_responses_of_attention_equal_the_theorys(lab: Any, window: int | None) -> None:
    rng = np.random.default_rng(2)
    queries, keys = rng.standard_normal((2, N * N, 8))
    body = (
        PLAIN
        + """return plain(m.attentionResponse(Float64Array.from(a.q), Float64Array.from(a.k),
            8, 16, a.window));"""
    )
    argument = {"q": queries.ravel().tolist(), "k": keys.ravel().tolist(), "window": window or 0}
    expected = attention_response(queries, keys, Grid(N, N), window=window)
    assert_same(call(lab, "theory.js", body, argument), expected)


def test_laws_equal_the_theorys(lab: Any) -> None:
    body = """return { box: [...m.boxResponse(5, 16)],
        kernel: [...m.randomKernelPower(5, .1, .02, 16)],
        softmax: [...m.softmaxPower(.07, 5, 16)], all: [...m.softmaxPower(.01, 0, 16)],
        rings: m.radialProfile(Float64Array.from(a), 16) };"""
    values = np.random.default_rng(3).random((N, N))
    found = call(lab, "theory.js", body, values.ravel().tolist())
    wy, wx = frequencies(N, N)
    expected = {
        "box": laws.box_response(5, wy, wx),
        "kernel": laws.random_kernel_power(5, mean=0.1, variance=0.02, wy=wy, wx=wx),
        "softmax": laws.softmax_power(0.07, 5, wy, wx),
    }
    for name, law in expected.items():
        np.testing.assert_allclose(np.reshape(found[name], (N, N)), law, atol=1e-6)
    mean = float(laws.mean_power_without_dc(1 / 0.01, N * N))
    assert found["all"][0] == 1
    np.testing.assert_allclose(found["all"][1:], mean, atol=1e-9)
    radius, rings, _ = radial_profile(values)
    np.testing.assert_allclose(found["rings"]["radius"], radius, atol=1e-9)
    np.testing.assert_allclose(found["rings"]["mean"], rings, atol=1e-9)


@pytest.mark.parametrize("family", ["signed", "softmaxed", "window", "attention", "global"])
def test_simulations_follow_their_laws(lab: Any, family: str) -> None:
    body = """const { simulated, law } = m.simulate(a, { k: 5, mean: 0.5, tau: 0.5,
            residual: a === 'window' ? -1 : 0.5, theta: a === 'signed' ? 1 : 0 });
        return [[...simulated.gain], [...law]];"""
    gain, law = map(np.array, call(lab, "theorypanel.js", body, family))
    assert gain.max() > 0.5
    np.testing.assert_allclose(gain[law > 1e-3] ** 2, law[law > 1e-3], rtol=0.5)
    assert np.mean(gain**2) == pytest.approx(np.mean(law), rel=0.05)
