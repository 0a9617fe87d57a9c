"""What is exported: a network, and what its task knows of its images and its answers.

Shape suffixes: B batch, C channels of the image, K classes, H and W sides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.models.backbone import SPANetV2

__all__ = [
    "LOGITS",
    "ExportSubject",
    "Outputs",
    "Results",
    "largest_difference",
    "random_images",
    "results_of",
]

Results = tuple[Tensor, ...]
"""What a network, or a file of it, answers with."""


def results_of(answer: Any) -> Results:
    """A network's answer as a tuple."""
    return tuple(answer) if isinstance(answer, tuple | list) else (answer,)


def largest_difference(got: Results, expected: Results) -> float:
    """Largest difference of two answers, of the largest value of the second; the worst result's.

    Example:
        >>> largest_difference((torch.tensor([1.0, 3.5]),), (torch.tensor([1.0, 4.0]),))
        0.125
    """
    worst = 0.0
    for one, other in zip(got, expected, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if not one.numel():
            continue
        difference = float((one.double() - other.double()).abs().max())
        largest = float(other.double().abs().max())
        worst = max(worst, difference / largest if largest else difference)
    return worst


def _best_class(results: Results) -> Tensor:
    return results[0].argmax(1)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a network answers with, and how a file's answers are held against it.

    Args:
        axes: name of each result, in order -> names of its axes. A side that differs from run to
            run is called so in the file's description; one that is fixed, by its number.
        difference: of a file's results from the network's; 0 where they agree, infinity where they
            cannot be compared.
        told: how people are told the difference, with a place for it.
        most: difference beyond which no file is left, in any precision.
        classes: which classes results name, to compare files in int8 by; None where the network
            cannot be written in int8.
        named_on: what a class is named for, in words.
    """

    axes: Mapping[str, Sequence[str]]
    difference: Callable[[Results, Results], float] = largest_difference
    told: str = "largest difference from the network {:.1e} of the largest output"
    most: float = 0.1
    classes: Callable[[Results], Tensor] | None = _best_class
    named_on: str = "images"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the results, in order."""
        return tuple(self.axes)


LOGITS = Outputs(axes={"logits": ("batch", "channels", "rows", "columns")})
"""Of a classifier or a backbone: logits or features, perhaps as maps."""


def random_images(shape: tuple[int, int, int, int]) -> Tensor:
    """Normal noise (B, C, H, W), the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True, kw_only=True)
class ExportSubject:
    """A network to export.

    Args:
        model: images (B, C, H, W) to a tensor, or a tuple of them. Every SPANetV2 inside is
            optimised for the size of the images, where that is fixed.
        img_size: height and width of its images in pixels; None is what a SPANetV2 was made for.
        in_chans: channels of its images; None is those of a SPANetV2 inside.
        name: of the file, without ending.
        description: kept in the file: model, classes, pre-processing; JSON values.
        outputs: its results.
        read: from an image file to the network's input (C, H, W), as ``predict`` makes it.
        examples: images (B, C, H, W) of a shape, in float32, to run the network and the file on;
            random ones by default.
        more: further arguments of the model, by name: tensors of the shapes and dtypes that the
            file is to take, for the examples. Such a network takes one image of one size at a time.
        formats: those it can be written in; None is all.
        why: why the other formats are missing, for people.
    """

    model: nn.Module
    img_size: tuple[int, int] | None = None
    in_chans: int | None = None
    name: str = "network"
    description: Mapping[str, Any] = field(default_factory=dict)
    outputs: Outputs = LOGITS
    read: Callable[[str], Tensor] | None = None
    examples: Callable[[tuple[int, int, int, int]], Tensor] = random_images
    more: Mapping[str, Tensor] = field(default_factory=dict)
    formats: Sequence[str] | None = None
    why: str = ""

    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image.

        Raises:
            UserError: they were not said, and there is no SPANetV2 inside to tell them.
        """
        channels, size = self.in_chans, self.img_size
        inside = next((m for m in self.model.modules() if isinstance(m, SPANetV2)), None)
        if channels is None:
            channels = getattr(inside or self.model, "in_chans", None)
        if size is None and inside is not None:
            size = inside.img_size
        if channels is None or size is None:
            raise UserError(
                f"got a {type(self.model).__name__} without a size of images, expected their "
                "channels, height and width"
            )
        return int(cast(Any, channels)), *size
