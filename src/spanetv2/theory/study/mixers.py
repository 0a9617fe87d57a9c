"""The study's curves: convolutions, attention, residual forms, and SPAM's heads."""

from collections.abc import Iterator

import numpy as np

from spanetv2.theory import laws
from spanetv2.theory.convolution import box_kernel, convolution_response, kernel_spectra
from spanetv2.theory.ensembles import (
    attention_draws,
    correlated_tokens,
    kernels,
    token_spectrum,
)
from spanetv2.theory.grid import frequencies, torus_eigenvalues
from spanetv2.theory.response import FrequencyResponse, residual_response
from spanetv2.theory.spam import gate, srf_gain
from spanetv2.theory.study.curves import Curve, Settings, curve_of, curve_of_spectra

__all__ = [
    "attention_curves",
    "kernel_curves",
    "moments",
    "residual_curves",
    "spam_curves",
    "token_curves",
    "window_curves",
]

SHARP, DEFAULT = 1.0, 1 / 3  # standard deviations of the logits; the latter as PyTorch starts
HEAD_STD = 0.02  # of SPAM's weights at the start
CONTRAST = 2.0  # theta of the gates that are shown: +2 in the pass band, -2 elsewhere
_KERNELS, _ATTENTION, _RESIDUAL, _SPAM, _TOKENS = range(5)  # parts with randomness of their own


def moments(family: str, k: int) -> tuple[float, float]:
    """Mean and variance of a weight of the families that have independent weights."""
    variance = laws.default_variance(k)
    if family == "signed":
        return 0.0, variance
    if family == "positive mean":
        return float(np.sqrt(variance)), variance
    assert family == "non-negative"
    return 1 / (2 * k), 1 / (12 * k**2)


def window_curves(settings: Settings) -> Iterator[Curve]:
    """The window graphs A_k, which are the same in every draw."""
    wy, wx = frequencies(*settings.torus.shape)
    for k in settings.windows:
        yield curve_of_spectra(
            kernel_spectra(box_kernel(k)[None], settings.torus),
            mixer="window graph",
            window=k,
            law=laws.box_response(k, wy, wx) ** 2,
        )


def kernel_curves(settings: Settings, family: str) -> Iterator[Curve]:
    """Random kernels of a family, with their law."""
    wy, wx = frequencies(*settings.torus.shape)
    for k in settings.windows:
        rng = settings.random(_KERNELS, k)
        spectra = kernel_spectra(kernels(rng, settings.kernels, k, family), settings.torus)
        if family == "softmaxed":
            S = (np.abs(spectra) ** 2).mean()
            law = laws.softmax_power(S, k, wy, wx)
        else:
            mean, variance = moments(family, k)
            law = laws.random_kernel_power(k, mean=mean, variance=variance, wy=wy, wx=wx)
        yield curve_of_spectra(spectra, mixer=f"{family} kernel", window=k, law=law)


def attention_curves(settings: Settings, tau: float) -> Iterator[Curve]:
    """Attention on independent tokens, in windows and global, with its law."""
    grid = settings.torus
    name = f"attention, logits {_plain(tau)}"
    for k in (*settings.windows, None):
        rng = settings.random(_ATTENTION, round(1000 * tau), k or 0)
        drawn = list(attention_draws(rng, grid, draws=settings.draws, tau=tau, window=k))
        _, law = _attention_law(drawn, k)
        yield curve_of(drawn, mixer=name, window=k, law=law)


def residual_curves(settings: Settings) -> Iterator[Curve]:
    """I + C and I - C, of window graphs and of attention with sharp logits."""
    grid = settings.torus
    wy, wx = frequencies(*grid.shape)
    signs = {"+": 1.0, "-": -1.0}
    for k in settings.windows:
        box = laws.box_response(k, wy, wx)
        response = convolution_response(box_kernel(k), grid)
        for sign, value in signs.items():
            yield curve_of(
                [residual_response(response, value)],
                mixer=f"I {sign} window graph",
                window=k,
                law=(1 + value * box) ** 2,
            )
    for k in (*settings.windows, None):
        rng = settings.random(_RESIDUAL, k or 0)
        drawn = list(attention_draws(rng, grid, draws=settings.draws, tau=SHARP, window=k))
        phi, power = _attention_law(drawn, k)
        for sign, value in signs.items():
            yield curve_of(
                [residual_response(response, value) for response in drawn],
                mixer=f"I {sign} attention",
                window=k,
                law=np.maximum(1 + 2 * value * phi + power, 0),  # 0 may come out as -1e-16
            )


def _attention_law(drawn: list[FrequencyResponse], k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Expected profile and g^2 of attention on independent tokens, given the draws' S."""
    grid = drawn[0].grid
    S = np.mean([response.power.mean() for response in drawn])
    if k is not None:
        wy, wx = frequencies(*grid.shape)
        return laws.box_response(k, wy, wx), laws.softmax_power(S, k, wy, wx)
    phi, power = np.zeros((2, *grid.shape))
    power += laws.mean_power_without_dc(1 / S, grid.tokens)
    phi[0, 0] = power[0, 0] = 1.0
    return phi, power


def gates(settings: Settings) -> dict[str, np.ndarray]:
    """Gains (H, W) of the filters shown: none, and gates that favour low or high frequencies."""
    grid = settings.torus
    eigenvalues = torus_eigenvalues(*grid.shape)
    half = eigenvalues[:, : grid.width // 2 + 1]
    low = gate(np.where(half < 0.5 - 1e-9, CONTRAST, -CONTRAST))
    high = gate(np.where(half > 1 + 1e-9, CONTRAST, -CONTRAST))
    return {
        "before the filter": np.ones(grid.shape),
        "after a low-pass filter": srf_gain(low, grid),
        "after a high-pass filter": srf_gain(high, grid),
    }


def spam_curves(settings: Settings) -> Iterator[Curve]:
    """SPAM's heads at the start of training, and means of windows, under three filters."""
    grid = settings.torus
    wy, wx = frequencies(*grid.shape)
    for when, gain in gates(settings).items():
        for k in settings.windows:
            rng = settings.random(_SPAM, k)
            drawn = HEAD_STD * rng.standard_normal((settings.kernels, k, k))
            yield curve_of_spectra(
                gain * kernel_spectra(drawn, grid),
                mixer=f"head {when}",
                window=k,
                law=(HEAD_STD * k * gain) ** 2,
            )
        for k in dict.fromkeys((settings.windows[0], settings.windows[-1])):
            box = laws.box_response(k, wy, wx)
            yield curve_of_spectra(
                (gain * box)[None].astype(complex), mixer=f"mean {when}", window=k
            )
    smallest, largest = settings.windows[0], settings.windows[-1]
    if largest > smallest:
        band = laws.box_response(smallest, wy, wx) - laws.box_response(largest, wy, wx)
        yield curve_of_spectra(
            band[None].astype(complex), mixer=f"mean of {smallest} - mean of {largest}"
        )


def token_curves(settings: Settings) -> Iterator[Curve]:
    """Global attention on tokens of amplitude 1/|w|, fixed over the draws of the projections."""
    grid = settings.torus
    tokens = correlated_tokens(settings.random(_TOKENS), grid)
    spectrum = token_spectrum(tokens, grid)
    for tau in (0.1, DEFAULT, SHARP):
        rng = settings.random(_TOKENS, round(1000 * tau))
        law = laws.correlated_power(tau, spectrum)
        law[0, 0] = 1.0
        yield curve_of(
            attention_draws(rng, grid, draws=settings.draws, tau=tau, tokens_NE=tokens),
            mixer=f"attention on 1/f tokens, logits {_plain(tau)}",
            law=law if tau < SHARP else None,
        )


def _plain(tau: float) -> str:
    return "1/3" if tau == DEFAULT else f"{tau:g}"
