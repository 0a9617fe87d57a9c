"""Classifying image files, however many and whatever state they are in."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spanetv2.data.images import Failure, read_image
from spanetv2.data.paths import Chosen, path_batches
from spanetv2.data.preprocessing import Transform
from spanetv2.errors import UserError

__all__ = ["Prediction", "Reader", "predict"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one image."""

    path: str
    """the file"""
    indices: list[int]
    """the classes with the highest probability, best first"""
    probabilities: list[float]
    """probabilities of these classes, 0 to 1"""


def predict(
    model: nn.Module,
    paths: Iterable[str | os.PathLike[str]],
    *,
    transform: Transform,
    top_k: int = 5,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    workers: int = 0,
    multi_label: bool = False,
    white: int | None = None,
    max_pixels: int | None = None,
    chosen: Chosen | None = None,
) -> Iterator[Prediction | Failure]:
    """Classify files, the images in folders, and what glob patterns match.

    Args:
        model: gives logits (B, classes) for images (B, C, H, W); used in evaluation mode.
        paths: files, folders and patterns; see ``spanetv2.data.paths.find_images``.
        transform: from a Pillow image to the model's input (C, H, W).
        top_k: classes per image; fewer if the model has fewer.
        batch_size: images per forward pass.
        device: where to compute.
        workers: processes that read images; 0 reads in this one.
        multi_label: each output is a yes or no of its own (sigmoid), rather than one class an image
            (softmax).
        white: value of white in grey images of more than 8 bits; None is 65535.
        max_pixels: most pixels of an image; None is Pillow's limit.
        chosen: which batches are looked at; see ``path_batches``.

    Yields:
        One ``Prediction`` or ``Failure`` per file, in the order found.

    Raises:
        UserError: settings out of range, or outputs of the model that are not finite.
    """
    if top_k < 1 or batch_size < 1 or workers < 0:
        raise UserError(
            f"got top_k {top_k}, batch_size {batch_size}, workers {workers}, "
            "expected at least 1, 1 and 0"
        )
    model = model.to(device).eval()
    reader = Reader(transform, white, max_pixels)
    batches = path_batches(
        paths, read=reader, batch_size=batch_size, workers=workers, chosen=chosen
    )
    for entries in batches:
        images = [entry[1] for entry in entries if not isinstance(entry, Failure)]
        ranked = iter(())
        if images:
            ranked = _rank(model, torch.stack(images), top_k, device, multi_label=multi_label)
        for entry in entries:
            if isinstance(entry, Failure):
                yield entry
            else:
                indices, probabilities = next(ranked)
                if any(value != value for value in probabilities):
                    raise UserError(
                        f"the model's outputs for {entry[0]} are not finite; "
                        "are the weights damaged?"
                    )
                yield Prediction(path=entry[0], indices=indices, probabilities=probabilities)


@dataclass(frozen=True)
class Reader:
    """Reads and transforms an image; unlike a closure it can be sent to a worker process."""

    transform: Transform
    white: int | None = None
    max_pixels: int | None = None

    def __call__(self, path: str) -> Tensor:
        return self.transform(read_image(path, white=self.white, max_pixels=self.max_pixels))


@torch.inference_mode()
def _rank(
    model: nn.Module,
    images: Tensor,
    top_k: int,
    device: torch.device | str,
    *,
    multi_label: bool,
) -> Iterator[tuple[list[int], list[float]]]:
    logits = model(images.to(device)).float()
    probabilities = logits.sigmoid() if multi_label else logits.softmax(dim=1)
    best = probabilities.topk(min(top_k, probabilities.shape[1]), dim=1)
    return zip(best.indices.tolist(), best.values.tolist(), strict=True)
