"""The study's single numbers: connectivity, scaling, selectivity, the shape proxy, padding."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spanetv2.theory import laws
from spanetv2.theory.attention import attend, attention_response, squared_weights
from spanetv2.theory.convolution import (
    box_kernel,
    convolution_response,
    kernel_centroids,
    kernel_spectra,
)
from spanetv2.theory.ensembles import (
    FAMILIES,
    attention_draws,
    correlated_tokens,
    disc,
    iid_tokens,
    kernels,
    projections,
)
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import FrequencyResponse
from spanetv2.theory.study.curves import Settings
from spanetv2.theory.study.mixers import SHARP, moments

__all__ = [
    "Connectivity",
    "Padding",
    "Scaling",
    "Selectivity",
    "Shape",
    "connectivity",
    "paddings",
    "scalings",
    "selectivities",
    "shapes",
]

SPREADS = (0.25, 0.5, 1.0, 1.5, 2.0)  # standard deviations of logits in the sweep
SCALING_SIDES = (8, 12, 16, 20, 24)
SCALING_TAU = 1 / 3
_MANY = 10_000  # kernels where a small share of them is counted
_SWEEP_DRAWS = 4  # maps per point of the sweep: every single map obeys the law
_PART = 10  # randomness of these parts begins here


@dataclass(frozen=True, kw_only=True)
class Connectivity:
    """One row-stochastic mixer: its effective connectivity and its gain off the constant."""

    mixer: str
    boundary: str
    window: int | None
    tau: float | None
    m_eff: float
    rms_gain: float
    law: float  # what the gain must be, given m_eff


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Global attention on n x n tokens: gain and profile off the constant."""

    n: int
    gain: float
    gain_law: float
    profile: float


@dataclass(frozen=True, kw_only=True)
class Selectivity:
    """Kernels of one family and size: low against high, and how much single kernels differ."""

    family: str
    window: int
    dc_to_nyquist: float  # power at the constant by power at (pi, pi)
    law: float | None
    centroid: float  # mean over kernels
    spread: float  # standard deviation over kernels
    spread_law: float | None
    high_share: float  # share of kernels with a centroid over 1.15


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How much more power of a disc than of white texture a mixer keeps."""

    mixer: str
    window: int | None
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Padding:
    """The k x k mean with zero padding on n x n tokens."""

    n: int
    window: int
    dc_profile: float
    law: float
    leakage: float


def connectivity(settings: Settings) -> Iterator[Connectivity]:
    """Sweep window, sharpness, tokens and boundary.

    M_eff is summed over the weights and the gain is measured with waves: two ways that share
    nothing but the map, so that the law between them is tested.
    """
    rng = settings.random(_PART)
    torus, free = settings.torus, Grid(settings.grid, settings.grid, "free")
    for k in settings.windows:
        yield _of_kernel(box_kernel(k), torus, "window graph", None)
        for kernel in kernels(rng, _SWEEP_DRAWS, k, "softmaxed"):
            yield _of_kernel(kernel, torus, "softmaxed kernel", SHARP)
    correlated = correlated_tokens(rng, torus)
    draws = min(_SWEEP_DRAWS, settings.draws)
    for tau in SPREADS:
        for k in (*settings.windows, None):
            for grid in (torus, free):
                for _ in range(draws):
                    tokens = iid_tokens(rng, grid.tokens)
                    yield _of_attention(rng, tokens, grid, k, tau, mixer="attention")
        for _ in range(draws):
            name = "attention on 1/f tokens"
            yield _of_attention(rng, correlated, torus, None, tau, mixer=name)


def _of_kernel(kernel: np.ndarray, grid: Grid, mixer: str, tau: float | None) -> Connectivity:
    response = convolution_response(kernel, grid)
    return _point(response, float(1 / (kernel**2).sum()), mixer, len(kernel), tau)


def _of_attention(
    rng: np.random.Generator,
    tokens_NE: np.ndarray,
    grid: Grid,
    k: int | None,
    tau: float,
    *,
    mixer: str,
) -> Connectivity:
    query, key = projections(rng, tau, tokens_NE.shape[1])
    queries, keys = tokens_NE @ query, tokens_NE @ key
    m_eff = 1 / squared_weights(queries, keys, grid, window=k)
    response = attention_response(queries, keys, grid, window=k)
    return _point(response, m_eff, mixer, k, tau)


def _point(
    response: FrequencyResponse, m_eff: float, mixer: str, k: int | None, tau: float | None
) -> Connectivity:
    return Connectivity(
        mixer=mixer,
        boundary=response.grid.boundary,
        window=k,
        tau=tau,
        m_eff=m_eff,
        rms_gain=response.rms_gain,
        law=float(np.sqrt(laws.mean_power_without_dc(m_eff, response.grid.tokens))),
    )


def scalings(settings: Settings) -> Iterator[Scaling]:
    """Global attention against the number of tokens."""
    rng = settings.random(_PART + 1)
    for n in SCALING_SIDES:
        drawn = list(attention_draws(rng, Grid(n, n), draws=settings.draws, tau=SCALING_TAU))
        yield Scaling(
            n=n,
            gain=float(np.sqrt(np.mean([r.power.ravel()[1:].mean() for r in drawn]))),
            gain_law=float(laws.global_gain(SCALING_TAU, n * n)),
            profile=float(np.mean([np.abs(r.phi).ravel()[1:].mean() for r in drawn])),
        )


def selectivities(settings: Settings) -> Iterator[Selectivity]:
    """Low against high, for every family of kernels."""
    for k in settings.windows:
        for family in FAMILIES:
            drawn = kernels(settings.random(_PART + 2, k), _MANY, k, family)
            # profiles at two frequencies, so no transform of all kernels is made
            constant = drawn.sum(axis=(1, 2))
            signs = (-1.0) ** np.add.outer(np.arange(k), np.arange(k))
            nyquist = (drawn * signs).sum(axis=(1, 2))
            centroids = kernel_centroids(drawn)
            law = None
            if family != "softmaxed":
                mean, variance = moments(family, k)
                law = laws.dc_to_nyquist(k, mean=mean, variance=variance)
            yield Selectivity(
                family=family,
                window=k,
                dc_to_nyquist=float((constant**2).mean() / (nyquist**2).mean()),
                law=law,
                centroid=float(centroids.mean()),
                spread=float(centroids.std()),
                spread_law=laws.centroid_spread(k) if family == "signed" else None,
                high_share=float((centroids > 1.15).mean()),
            )


def shapes(settings: Settings) -> Iterator[Shape]:
    """Power of a disc that is kept, by power of white texture that is kept."""
    grid = settings.torus
    field = disc(grid)
    spectrum = np.abs(np.fft.fft2(field, norm="ortho")) ** 2

    def ratio(power: np.ndarray) -> float:
        return float((spectrum * power).sum() / power.ravel()[1:].mean())

    for k in settings.windows:
        box = np.real(convolution_response(box_kernel(k), grid).phi)
        yield Shape(mixer="window graph", window=k, ratio=ratio(box**2))
        yield Shape(mixer="I - window graph", window=k, ratio=ratio((1 - box) ** 2))
        for family in ("signed", "softmaxed"):
            rng = settings.random(_PART + 3, k)
            drawn = kernel_spectra(kernels(rng, settings.kernels, k, family), grid)
            power = (np.abs(drawn) ** 2).mean(axis=0)
            yield Shape(mixer=f"{family} kernel", window=k, ratio=ratio(power))
    for k in (*settings.windows, None):
        rng = settings.random(_PART + 4, k or 0)
        kept, texture = 0.0, 0.0
        white = rng.standard_normal((grid.tokens, 16))
        white -= white.mean(axis=0)
        white /= np.linalg.norm(white, axis=0)
        fields = np.concatenate([field.reshape(-1, 1), white], axis=1)
        for _ in range(settings.draws):
            tokens, (query, key) = iid_tokens(rng, grid.tokens), projections(rng, SHARP)
            mixed = attend(tokens @ query, tokens @ key, fields, grid, window=k)
            power = (mixed**2).sum(axis=0)
            kept, texture = kept + power[0], texture + power[1:].mean()
        yield Shape(mixer="attention", window=k, ratio=float(kept / texture))


def paddings() -> Iterator[Padding]:
    """Zero padding on the grids of a network's last two stages at 224 pixels."""
    for n in (14, 7):
        grid = Grid(n, n, "free")
        for k in (3, 5, 7, 9):
            response = convolution_response(box_kernel(k), grid)
            yield Padding(
                n=n,
                window=k,
                dc_profile=float(response.phi[0, 0].real),
                law=laws.padded_box_dc(k, n),
                leakage=response.leakage,
            )
