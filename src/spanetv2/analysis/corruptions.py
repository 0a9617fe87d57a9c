"""Corruptions of images in the manner of ImageNet-C: 15 kinds, each at 5 strengths.

Fourteen are written from their published definitions, with the published constants; ``frost``,
which there is a set of photographs, is a formula of our own. Lengths in pixels (radii, standard
deviations of blurs, displacements, flakes, cells) are those for a side of 224 pixels and scale with
the shorter side. Random numbers, interpolation and borders are ours, so figures compare with each
other and not with published ones (mCE).

Every draw depends on the seed, the kind and the image's number alone: the same image gets the same
noise at every strength, in any batch.

Source: Hendrycks and Dietterich 2019, Benchmarking neural network robustness to common corruptions
and perturbations.

Shape suffixes: B images, C channels, H and W in pixels. Pixel values are in 0..1.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import Generator, Tensor

from spanetv2.errors import UserError

__all__ = ["CORRUPTIONS", "STRENGTHS", "corrupt"]

STRENGTHS = (1, 2, 3, 4, 5)
_SIDE = 224
"""Pixels of the side for which the constants were chosen."""

Corruption = Callable[[Tensor, int, Generator], Tensor]


def corrupt(
    images_BCHW: Tensor, kind: str, strength: int, *, seed: int = 0, first: int = 0
) -> Tensor:
    """Corrupt images.

    Args:
        images_BCHW: pixel values in 0..1 (others are clipped), any number of channels and any size.
        kind: one of ``CORRUPTIONS``.
        strength: 1 to 5.
        seed: of the random draws.
        first: number of the first image, so that batches of a set go on where the last one ended.

    Returns:
        Images of the same shape, dtype and device, in 0..1.

    Raises:
        UserError: an unknown kind, or a strength off 1..5.

    Example:
        >>> x = torch.full((2, 3, 32, 32), 0.5)
        >>> y = corrupt(x, "gaussian_noise", 3)
        >>> y.shape == x.shape, round(float((y - x).std()), 2)
        (True, 0.18)
    """
    if kind not in CORRUPTIONS:
        raise UserError(f"got corruption {kind!r}, expected one of {', '.join(CORRUPTIONS)}")
    if strength not in STRENGTHS:
        raise UserError(f"got strength {strength}, expected 1 to 5")
    made = []
    for number, image in enumerate(images_BCHW, start=first):
        numbers = [seed, list(CORRUPTIONS).index(kind), number]
        state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
        generator = Generator().manual_seed(int(state >> np.uint64(1)))
        pixels = image.detach().float().cpu().clamp(0, 1)
        made.append(CORRUPTIONS[kind](pixels, strength - 1, generator).clamp(0, 1))
    return torch.stack(made).to(images_BCHW)


def _scale(x_CHW: Tensor) -> float:
    return min(x_CHW.shape[1:]) / _SIDE


def _gaussian_noise(x: Tensor, s: int, g: Generator) -> Tensor:
    return x + (0.08, 0.12, 0.18, 0.26, 0.38)[s] * torch.randn(x.shape, generator=g)


def _shot_noise(x: Tensor, s: int, g: Generator) -> Tensor:
    photons = (60, 25, 12, 5, 3)[s]
    return torch.poisson(x * photons, generator=g) / photons


def _impulse_noise(x: Tensor, s: int, g: Generator) -> Tensor:
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[s]
    hit = torch.rand(x.shape, generator=g) < amount
    salt = torch.rand(x.shape, generator=g) < 0.5
    return torch.where(hit, salt.float(), x)


def _defocus_blur(x: Tensor, s: int, _: Generator) -> Tensor:
    radius, alias = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[s]
    return _convolved(x, _disk(radius * _scale(x), alias * min(1.0, _scale(x))))


def _glass_blur(x: Tensor, s: int, g: Generator) -> Tensor:
    sigma, delta, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[s]
    sigma, reach = sigma * _scale(x), delta * _scale(x)
    height, width = x.shape[1:]
    place = np.arange(height * width).reshape(height, width)
    # of less than a pixel: by one, as seldom as to move the same way on average
    most = math.ceil(reach)
    share = reach / most
    for _ in range(rounds):
        moves = torch.randint(-most, most, (2, height, width), generator=g).numpy()
        moves *= (torch.rand(height, width, generator=g) < share).numpy()
        for row in range(height - most - 1, most - 1, -1):
            for column in range(width - most - 1, most - 1, -1):
                other = row + moves[0, row, column], column + moves[1, row, column]
                place[row, column], place[other] = place[other], place[row, column]
    mixed = _blurred(x, sigma).flatten(1)[:, torch.from_numpy(place.ravel())]
    return _blurred(mixed.view_as(x), sigma)


def _motion_blur(x: Tensor, s: int, g: Generator) -> Tensor:
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[s]
    angle = _uniform(g, -45, 45)
    return _convolved(x, _streak(radius * _scale(x), sigma * _scale(x), angle))


def _zoom_blur(x: Tensor, s: int, _: Generator) -> Tensor:
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[s]
    factors = np.arange(1, end, step)
    total = x + sum((_zoomed(x, float(factor)) for factor in factors), torch.zeros_like(x))
    return total / (len(factors) + 1)


def _snow(x: Tensor, s: int, g: Generator) -> Tensor:
    mean, std, zoom, least, radius, sigma, kept = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[s]
    scale = _scale(x)
    layer = mean + std * torch.randn((1, *x.shape[1:]), generator=g)
    layer = _zoomed(layer, max(1.0, zoom * scale))
    layer = torch.where(layer < least, 0.0, layer).clamp(0, 1)
    layer = _convolved(layer, _streak(radius * scale, sigma * scale, _uniform(g, -135, -45)))
    grey = x.mean(dim=0, keepdim=True)
    covered = kept * x + (1 - kept) * torch.maximum(x, grey * 1.5 + 0.5)
    return covered + layer + layer.rot90(2, (1, 2))


def _frost(x: Tensor, s: int, g: Generator) -> Tensor:
    """Ours: ridges of two fractal fields, sharp as needles, more of them towards the borders."""
    kept, ice = ((1, 0.4), (0.85, 0.55), (0.75, 0.65), (0.68, 0.75), (0.6, 0.9))[s]
    height, width = x.shape[1:]
    needles = torch.zeros(height, width)
    for decay in (1.6, 2.2):
        needles = torch.maximum(needles, 1 - (2 * _plasma((height, width), decay, g) - 1).abs())
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    border = torch.maximum(rows.abs(), columns.abs())
    frost = needles**3 * (0.4 + 0.6 * border)
    tint = torch.tensor([0.85, 0.93, 1.0])[: x.shape[0]]
    tint = tint if x.shape[0] == 3 else torch.full((x.shape[0],), 0.93)
    return kept * x + ice * tint[:, None, None] * frost


def _fog(x: Tensor, s: int, g: Generator) -> Tensor:
    amount, decay = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[s]
    largest = x.max()
    size = (x.shape[1], x.shape[2])
    return (x + amount * _plasma(size, decay, g)) * largest / (largest + amount)


def _brightness(x: Tensor, s: int, _: Generator) -> Tensor:
    """The value of hue, saturation and value, which is the largest channel."""
    value = x.max(dim=0, keepdim=True).values
    brighter = (value + (0.1, 0.2, 0.3, 0.4, 0.5)[s]).clamp(max=1)
    return torch.where(value > 0, x * brighter / value.clamp_min(1e-12), brighter)


def _contrast(x: Tensor, s: int, _: Generator) -> Tensor:
    mean = x.mean(dim=(1, 2), keepdim=True)
    return mean + (0.4, 0.3, 0.2, 0.1, 0.05)[s] * (x - mean)


def _elastic_transform(x: Tensor, s: int, g: Generator) -> Tensor:
    alpha, sigma, affine = (
        244 * _scale(x) * value
        for value in (
            (2, 0.7, 0.1),
            (2, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        )[s]
    )
    height, width = x.shape[1:]
    third = min(height, width) // 3
    middle = np.array([height, width]) / 2
    corners = middle + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + affine * (2 * torch.rand(3, 2, generator=g).numpy() - 1)
    # the affine map that takes the moved corners back to where they were
    matrix = np.linalg.solve(np.c_[moved, np.ones(3)], corners)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    places = np.stack([rows, columns, np.ones_like(rows)], axis=-1) @ matrix
    for axis in range(2):
        field = 2 * torch.rand(height, width, generator=g, dtype=torch.float64).numpy() - 1
        blurred = ndimage.gaussian_filter(field, sigma, mode="reflect", truncate=3)
        places[..., axis] += alpha * blurred
    at = np.moveaxis(places, -1, 0)
    bent = [ndimage.map_coordinates(c, at, order=1, mode="reflect") for c in x.numpy()]
    return torch.from_numpy(np.stack(bent))


def _pixelate(x: Tensor, s: int, _: Generator) -> Tensor:
    cell = 1 + (1 / (0.6, 0.5, 0.4, 0.3, 0.25)[s] - 1) * _scale(x)
    for axis in (1, 2):
        side = x.shape[axis]
        count = max(1, round(side / cell))
        edges = torch.linspace(0, side, count + 1)
        pixel = torch.arange(side)
        # (count, side): what share of a cell each pixel covers
        cover = torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)
        cover = cover.clamp(min=0) / cover.clamp(min=0).sum(dim=1, keepdim=True)
        nearest = ((pixel + 0.5) * count / side).long()
        x = (x.movedim(axis, -1) @ cover[nearest].T).movedim(-1, axis)
    return x


def _jpeg_compression(x: Tensor, s: int, _: Generator) -> Tensor:
    quality = (25, 18, 15, 10, 7)[s]
    # three channels are colours; any other number is a grey image each
    parts = [x] if x.shape[0] == 3 else list(x[:, None])
    made = []
    for part in parts:
        pixels = (part * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels if len(part) == 3 else pixels[..., 0]).save(
            file, "JPEG", quality=quality
        )
        read = np.array(Image.open(file))
        read = read[None] if read.ndim == 2 else read.transpose(2, 0, 1)
        made.append(torch.from_numpy(read.astype(np.float32)) / 255)
    return torch.cat(made)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
"""The kinds, in the order of the paper: noise, blur, weather, digital. ``frost`` is our own."""


def _uniform(g: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=g))


def _blurred(x: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, sigma, sigma), mode="nearest"))


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every channel, the border pixels repeated beyond the image."""
    weights = kernel.numpy()[None]
    return torch.from_numpy(ndimage.convolve(x.numpy(), weights, mode="nearest"))


def _disk(radius: float, alias: float, fine: int = 9) -> Tensor:
    """A disk between the pixels, blurred by ``alias``; its sum is 1."""
    half = math.ceil(radius) + 2
    axis = (np.arange(2 * math.ceil(radius) * fine) + 0.5) / fine - math.ceil(radius)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    inside = rows**2 + columns**2 <= radius**2
    kernel = _between_pixels(rows[inside], columns[inside], np.ones(int(inside.sum())), half)
    kernel = ndimage.gaussian_filter(kernel, alias, mode="constant")
    return torch.from_numpy(kernel / kernel.sum()).float()


def _streak(radius: float, sigma: float, degrees: float) -> Tensor:
    """Half of a Gaussian along a line from the middle, between the pixels; its sum is 1."""
    distance = np.arange(0, 2 * radius + 1e-9, 0.25)
    angle = math.radians(degrees)
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    half = math.ceil(2 * radius) + 1
    kernel = _between_pixels(distance * math.sin(angle), distance * math.cos(angle), weights, half)
    return torch.from_numpy(kernel / kernel.sum()).float()


def _between_pixels(
    rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, half: int
) -> np.ndarray:
    """Weights at places around the middle of (2 half + 1)^2 pixels, shared by the nearest four."""
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = rows - top, columns - left
    for i, a in ((0, 1 - down), (1, down)):
        for j, b in ((0, 1 - right), (1, right)):
            np.add.at(kernel, (top + i + half, left + j + half), weights * a * b)
    return kernel


def _zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of an image, enlarged to its size."""
    theta = torch.tensor([[[1 / factor, 0, 0], [0, 1 / factor, 0]]])
    grid = F.affine_grid(theta, [1, *x.shape], align_corners=False)
    return F.grid_sample(x[None], grid, padding_mode="border", align_corners=False)[0]


def _plasma(size: tuple[int, int], decay: float, g: Generator) -> Tensor:
    """A fractal field in 0..1 by the diamond-square method: each octave ``decay`` times weaker.

    It repeats itself after the next power of two of the longer side.
    """
    side = 2 ** math.ceil(math.log2(max(*size, 2)))
    field = torch.zeros(side, side)
    step, amount = side, 1.0
    while step >= 2:
        half = step // 2

        def noise(n: int, amount: float = amount) -> Tensor:
            return amount * (2 * torch.rand(n, n, generator=g) - 1)

        corners = field[::step, ::step]
        n = len(corners)
        square = (corners + corners.roll(-1, 0) + corners.roll(-1, 1)) / 4
        square = square + corners.roll((-1, -1), (0, 1)) / 4 + noise(n)
        field[half::step, half::step] = square
        across = (corners + corners.roll(-1, 1) + square + square.roll(1, 0)) / 4
        field[::step, half::step] = across + noise(n)
        along = (corners + corners.roll(-1, 0) + square + square.roll(1, 1)) / 4
        field[half::step, ::step] = along + noise(n)
        step, amount = half, amount / decay
    field = field - field.min()
    return (field / field.max())[: size[0], : size[1]]
