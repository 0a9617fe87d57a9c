"""From images of any size to a class for every pixel: whole, or window by window.

Memory stays bounded: scores of the whole image at its full size are never held. Windows go over the
image band by band, and a band's rows become classes as soon as no further window touches them;
scores of another size than the image are resized some rows at a time. Shape suffixes: B batch, C
channels, K classes, H and W rows and columns.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.transforms import Preprocessing

__all__ = ["Inference", "average_windows", "resized_rows", "segment", "window_starts"]

_MOST_SCALE = 16
_CHUNK = 2**25
"""Scores that are resized at a time."""

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How images are shown to a model."""

    window: int | None = None
    """Side of a square window that slides over the image; null shows whole images."""
    stride: int | None = None
    """Step of the window; null is two thirds of its side."""
    scales: tuple[float, ...] = (1.0,)
    """Factors on the size of images; probabilities are averaged over them."""
    flip: bool = False
    """Average with the mirror image."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if self.window is not None and self.window < 1:
            raise UserError(f"got window {self.window}, expected 1 pixel or more")
        if self.stride is not None and self.window is None:
            raise UserError(f"got stride {self.stride} without a window, expected both")
        if self.window is not None and not 1 <= self.step <= self.window:
            raise UserError(
                f"got stride {self.stride} of a window of {self.window}, expected 1 to "
                f"{self.window}; a longer one would leave gaps"
            )
        if not self.scales or not all(0 < scale <= _MOST_SCALE for scale in self.scales):
            raise UserError(
                f"got scales {self.scales}, expected values above 0, at most {_MOST_SCALE}"
            )

    @property
    def step(self) -> int:
        """Step of the window in pixels."""
        assert self.window is not None
        return max(1, 2 * self.window // 3) if self.stride is None else self.stride

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored beside the weights."""
        return {**asdict(self), "scales": list(self.scales)}


@torch.inference_mode()
def segment(
    model: nn.Module,
    images: Sequence[Tensor],
    *,
    size: tuple[int, int],
    preprocessing: Preprocessing,
    inference: Inference | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Classify every pixel of a batch of images.

    Scores of overlapping windows are averaged, resized to ``size``, and, where there are several
    scales or mirror images, their probabilities are averaged.

    Args:
        model: gives scores (B, K, H, W) for images (B, C, H, W); in evaluation mode.
        images: the batch at each of ``inference.scales``, (B, C, H, W) uint8.
        size: rows and columns of the result.
        preprocessing: how bytes become the model's input.
        inference: windows, scales, mirror images.
        device: where the model is; the images' device by default.

    Returns:
        (B, rows, columns) uint8 classes, on the images' device.

    Raises:
        UserError: a score is not finite.
    """
    inference = inference or Inference()
    assert len(images) == len(inference.scales)

    def score(window_BCHW: Tensor) -> Tensor:
        x_BCHW = window_BCHW.to(device) if device is not None else window_BCHW
        return model(normalised(x_BCHW, preprocessing)).float()

    first = images[0]
    if len(images) == 1 and not inference.flip and tuple(first.shape[-2:]) == tuple(size):
        return _classified(_strips(score, first, inference), len(first), size, first.device)
    views = []
    for image in images:
        views.append(_whole(score, image, inference))
        if inference.flip:
            views.append(_whole(score, image.flip(-1), inference).flip(-1))
    return _classified(_combined(views, size), len(first), size, first.device)


def normalised(images_BCHW: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Bytes to the model's input."""
    mean = torch.tensor(preprocessing.mean, device=images_BCHW.device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=images_BCHW.device)[:, None, None]
    return images_BCHW.float().div_(255).sub_(mean).div_(std)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side: every ``stride``, the last one flush with the end.

    Example:
        >>> window_starts(1000, 512, 341), window_starts(300, 512, 341)
        ([0, 341, 488], [0])
    """
    last = max(0, length - window)
    return [min(start, last) for start in range(0, last + stride, stride)]


def average_windows(
    score: Score, image_BCHW: Tensor, *, window: int, stride: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Scores averaged over all windows that cover a pixel, some of the image at a time.

    What is held: sums over one window, and over the rows that the windows below reach, too.

    Args:
        score: images (B, C, H, W) to scores (B, K, H, W).
        image_BCHW: the images; smaller ones are one smaller window.
        window: side of the window.
        stride: its step.

    Yields:
        First row, first column, and scores (B, K, rows, columns).
    """
    height, width = image_BCHW.shape[-2:]
    high, wide = min(window, height), min(window, width)
    tops, lefts = window_starts(height, window, stride), window_starts(width, window, stride)
    per_row, per_column = _covering(tops, high, height), _covering(lefts, wide, width)
    carried: Tensor | None = None  # sums of the first rows, from the windows above
    for top, next_top in zip(tops, [*tops[1:], height], strict=True):
        done = next_top - top
        sums: Tensor | None = None
        below: Tensor | None = None
        known = 0  # columns that the window to the left has in common with this one
        for left, next_left in zip(lefts, [*lefts[1:], width], strict=True):
            part = score(image_BCHW[:, :, top : top + high, left : left + wide])
            if sums is None:
                sums = torch.zeros_like(part)
            if carried is not None:
                rows = carried.shape[2]
                sums[:, :, :rows, known:] = carried[..., left + known : left + wide]
            sums += part
            if done < high:
                if below is None:
                    # In place where it fits: columns to the left of the window are used up.
                    fits = carried is not None and carried.shape[2] == high - done
                    shape = (*part.shape[:2], high - done, width)
                    below = carried if fits else part.new_empty(shape)
                assert below is not None
                below[..., left:next_left] = sums[:, :, done:, : next_left - left]
            counts = per_row[top:next_top, None] * per_column[left:next_left]
            finished = sums[:, :, :done, : next_left - left] / counts.to(sums.device)
            known = wide - (next_left - left)
            sums[..., :known] = sums[..., wide - known :].clone()
            sums[..., known:] = 0
            yield top, left, finished
        carried = below


def _covering(starts: list[int], window: int, length: int) -> Tensor:
    """How many windows cover each place along a side."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + window] += 1
    return counts


def resized_rows(scores_BKHW: Tensor, size: tuple[int, int], rows: range) -> Tensor:
    """Some rows of a bilinearly resized map, as if all of it had been resized.

    Args:
        scores_BKHW: the map.
        size: rows and columns of the whole result.
        rows: those wanted.

    Returns:
        (B, K, len(rows), columns).
    """
    height = scores_BKHW.shape[-2]
    places = (torch.arange(rows.start, rows.stop, dtype=torch.float32) + 0.5) * (height / size[0])
    places = (places - 0.5).clamp(min=0)
    above = places.long()
    below = (above + 1).clamp(max=height - 1)
    share = (places - above).to(scores_BKHW.device)[:, None]
    above, below = above.to(scores_BKHW.device), below.to(scores_BKHW.device)
    mixed = torch.lerp(scores_BKHW[:, :, above], scores_BKHW[:, :, below], share)
    return F.interpolate(mixed, size=(len(rows), size[1]), mode="bilinear", align_corners=False)


def _strips(score: Score, image_BCHW: Tensor, inference: Inference) -> Iterator[Any]:
    """Scores at the image's size, as (slices of the result, scores)."""
    if inference.window is None:
        yield (slice(None), slice(None), slice(None)), score(image_BCHW)
        return
    options = {"window": inference.window, "stride": inference.step}
    height, width = image_BCHW.shape[-2:]
    if height >= width:
        for top, left, part in average_windows(score, image_BCHW, **options):
            rows, columns = part.shape[-2:]
            yield (slice(None), slice(top, top + rows), slice(left, left + columns)), part
        return

    # Rows across the shorter side hold fewer scores.
    def turned(x: Tensor) -> Tensor:
        return score(x.transpose(-1, -2)).transpose(-1, -2)

    for left, top, part in average_windows(turned, image_BCHW.transpose(-1, -2), **options):
        columns, rows = part.shape[-2:]
        place = (slice(None), slice(top, top + rows), slice(left, left + columns))
        yield place, part.transpose(-1, -2)


def _whole(score: Score, image_BCHW: Tensor, inference: Inference) -> Tensor:
    """Scores of whole images at their own size."""
    result: Tensor | None = None
    for (_, rows, columns), part in _strips(score, image_BCHW, inference):
        if inference.window is None:
            return part
        whole = (
            part.new_empty(*part.shape[:2], *image_BCHW.shape[-2:]) if result is None else result
        )
        whole[:, :, rows, columns] = part
        result = whole
    assert result is not None
    return result


def _combined(views: list[Tensor], size: tuple[int, int]) -> Iterator[Any]:
    """The views' probabilities added up at the result's size; of one view, its scores."""
    batch, classes = views[0].shape[:2]
    step = max(1, _CHUNK // (batch * classes * max(size[1], views[0].shape[-1])))
    for start in range(0, size[0], step):
        rows = range(start, min(start + step, size[0]))
        parts = [resized_rows(view, size, rows) for view in views]
        total = parts[0] if len(parts) == 1 else torch.stack([p.softmax(1) for p in parts]).sum(0)
        yield (slice(None), slice(rows.start, rows.stop), slice(None)), total


def _classified(
    strips: Iterator[Any], batch: int, size: tuple[int, int], device: torch.device
) -> Tensor:
    labels = torch.empty(batch, *size, dtype=torch.uint8, device=device)
    for place, scores_BKHW in strips:
        best, index = scores_BKHW.max(dim=1)
        if not bool(best.isfinite().all()):
            raise UserError(
                "the model's outputs are not finite; are the weights damaged, or is the precision "
                "too low?"
            )
        labels[place] = index.to(device, torch.uint8)
    return labels
