"""Random token mixers to measure: kernels of several families, tokens, projections, and averages.

Shapes: H x W the grid, N = H W tokens, E width of the tokens, D width of an attention head; kernels
are (draws, k, k).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from spanetv2.theory.attention import attention_response, softmax
from spanetv2.theory.grid import Grid, frequencies
from spanetv2.theory.laws import default_variance
from spanetv2.theory.response import FrequencyResponse

__all__ = [
    "FAMILIES",
    "HEAD_WIDTH",
    "TOKEN_WIDTH",
    "Average",
    "attention_draws",
    "average",
    "correlated_tokens",
    "disc",
    "iid_tokens",
    "kernels",
    "projections",
    "token_spectrum",
]

TOKEN_WIDTH, HEAD_WIDTH = 192, 32

# What the weights of each family of kernels are.
FAMILIES = {
    "signed": "mean 0, as PyTorch starts depthwise convolutions",
    "positive mean": "the same, shifted by one standard deviation",
    "non-negative": "the signed weights' absolute values",
    "softmaxed": "softmax of normal logits with standard deviation 1",
}


def kernels(rng: np.random.Generator, draws: int, k: int, family: str = "signed") -> np.ndarray:
    """Draw kernels (draws, k, k) of a family in :data:`FAMILIES`.

    Raises:
        ValueError: an unknown family.
    """
    if family == "softmaxed":
        return softmax(rng.standard_normal((draws, k * k))).reshape(draws, k, k)
    signed = rng.uniform(-1 / k, 1 / k, (draws, k, k))
    if family == "signed":
        return signed
    if family == "positive mean":
        return signed + np.sqrt(default_variance(k))
    if family == "non-negative":
        return np.abs(signed)
    raise ValueError(f"got the family {family!r}, expected one of {', '.join(FAMILIES)}")


def iid_tokens(rng: np.random.Generator, tokens: int, width: int = TOKEN_WIDTH) -> np.ndarray:
    """Draw independent normal tokens, each normalised over its channels. (N, E)."""
    return _normalised(rng.standard_normal((tokens, width)))


def correlated_tokens(
    rng: np.random.Generator, grid: Grid, width: int = TOKEN_WIDTH, *, exponent: float = 1.0
) -> np.ndarray:
    """Draw tokens whose channels have amplitude 1 / |w|^exponent, like those of natural images.

    The constant gets the amplitude of the lowest other wave. Each token is normalised over its
    channels. (N, E).
    """
    radius = np.hypot(*frequencies(*grid.shape))
    radius[0, 0] = radius.ravel()[1:].min()
    spectra = np.fft.fft2(rng.standard_normal((width, *grid.shape))) / radius**exponent
    fields = np.real(np.fft.ifft2(spectra))
    return _normalised(fields.reshape(width, -1).T)


def token_spectrum(tokens_NE: np.ndarray, grid: Grid) -> np.ndarray:
    """Power spectrum of tokens over the grid, averaged over channels; its mean is 1. (H, W)."""
    fields = tokens_NE.T.reshape(-1, *grid.shape)
    power = (np.abs(np.fft.fft2(fields, norm="ortho")) ** 2).mean(axis=0)
    return power / power.mean()


def projections(
    rng: np.random.Generator, tau: float, width: int = TOKEN_WIDTH, head: int = HEAD_WIDTH
) -> tuple[np.ndarray, np.ndarray]:
    """Draw W_q and W_k, (E, D) each, normal, so that logits of normalised tokens have std tau.

    PyTorch's default initialisation of linear layers has the variance 1 / (3 E): tau = 1/3.
    """
    std = np.sqrt(tau / width)
    return std * rng.standard_normal((width, head)), std * rng.standard_normal((width, head))


def attention_draws(
    rng: np.random.Generator,
    grid: Grid,
    *,
    draws: int,
    tau: float,
    window: int | None = None,
    tokens_NE: np.ndarray | None = None,
) -> Iterator[FrequencyResponse]:
    """Measure attention maps of random projections on random tokens, one after another.

    Args:
        rng: source of randomness.
        grid: the grid.
        draws: how many maps.
        tau: standard deviation of the logits.
        window: side of the window, None for global attention.
        tokens_NE: tokens to use for all draws; by default new independent ones for each.
    """
    for _ in range(draws):
        tokens = iid_tokens(rng, grid.tokens) if tokens_NE is None else tokens_NE
        query, key = projections(rng, tau, tokens.shape[1])
        yield attention_response(tokens @ query, tokens @ key, grid, window=window)


@dataclass(frozen=True, kw_only=True)
class Average:
    """Responses of several draws of one mixer, taken together."""

    mean: FrequencyResponse  # mean profile, root mean square gain
    spread: np.ndarray  # standard deviation of the gain over draws, (H, W)
    leakage: float  # mean over draws (that of the mean profile would be larger)
    draws: int


def average(responses: Iterable[FrequencyResponse]) -> Average:
    """Average responses on one grid: profiles as they are, gains as their squares.

    Raises:
        ValueError: there is none.
    """
    count, phi, power, gain, leakage = 0, 0j, 0.0, 0.0, 0.0
    grid = None
    for response in responses:
        grid, count = response.grid, count + 1
        phi, power, gain = phi + response.phi, power + response.power, gain + response.gain
        leakage += response.leakage
    if grid is None:
        raise ValueError("got no responses to average")
    power, gain = np.asarray(power) / count, np.asarray(gain) / count
    mean = FrequencyResponse(grid=grid, phi=np.asarray(phi) / count, gain=np.sqrt(power))
    spread = np.sqrt(np.maximum(power - gain**2, 0))
    return Average(mean=mean, spread=spread, leakage=leakage / count, draws=count)


def disc(grid: Grid, *, radius: float | None = None) -> np.ndarray:
    """A filled disc in the middle of the grid, of zero mean and unit norm: a shape without texture.

    Args:
        grid: the grid.
        radius: in tokens, a quarter of the shorter side by default.

    Returns:
        (H, W).
    """
    if radius is None:
        radius = min(grid.shape) / 4
    rows, columns = np.mgrid[: grid.height, : grid.width]
    distance = np.hypot(rows - (grid.height - 1) / 2, columns - (grid.width - 1) / 2)
    field = (distance < radius).astype(float)
    field -= field.mean()
    norm = np.linalg.norm(field)
    if norm == 0:
        raise ValueError(
            f"got a disc of radius {radius} that covers no token, or all, of a grid of "
            f"{grid.height}x{grid.width}"
        )
    return field / norm


def _normalised(tokens_NE: np.ndarray) -> np.ndarray:
    """Give every token zero mean and unit variance over its channels."""
    centred = tokens_NE - tokens_NE.mean(axis=1, keepdims=True)
    return centred / centred.std(axis=1, keepdims=True)
