"""What the page gets of a network: the module, its images, and lines of Python that load both."""

import dataclasses
from collections.abc import Sequence

from PIL import Image
from torch import nn

from spanetv2.data.preprocessing import Preprocessing

__all__ = ["ExploreSubject", "Sample"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """An image that the page offers.

    Args:
        name: shown under it, and how the page's address calls it.
        image: Pillow image, ``L`` or ``RGB``.
        label: name of its class, None where it is not known.
    """

    name: str
    image: Image.Image
    label: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExploreSubject:
    """A classifier to look into.

    Args:
        title: what the page calls it.
        model: in evaluation mode, on the CPU.
        classes: readable names of its outputs.
        preprocessing: from an image to its input.
        python: lines that define ``model`` (in evaluation mode) and ``preprocessing``.
        samples: images of the network's own data, may be none.
        untrained: its weights are random.
    """

    title: str
    model: nn.Module
    classes: Sequence[str]
    preprocessing: Preprocessing
    python: str
    samples: Sequence[Sample] = ()
    untrained: bool = False
