"""What the filter of the weights in the package learned, and what they lose without it.

Shape suffixes: N images, C channels, H and W in pixels.
"""

from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from spanetv2.mixers import SpectralRescale
from studies.evidence.filters import flattened
from studies.evidence.images import load

__all__ = ["Flattening", "flatten_shipped"]

WEIGHTS = "spanetv2_pico_pure.fashion_mnist"


@dataclass(frozen=True, kw_only=True)
class Flattening:
    """Test images with the gates as learned and with every channel's gates at their mean."""

    images: int
    right: int
    """With the gates as learned."""
    flat_right: int
    """With flattened gates."""
    lost: int
    """Right only with the gates as learned."""
    gained: int
    """Right only with flattened gates."""
    spread: float
    """Mean over the filters of the standard deviation of their gates."""
    lowest: float
    """Of all gates."""
    highest: float

    @property
    def p_value(self) -> float:
        """Two-sided, of losing as many as are gained (McNemar's exact test)."""
        from scipy import stats

        changed = self.lost + self.gained
        return float(stats.binomtest(self.lost, changed).pvalue) if changed else 1.0


@torch.no_grad()
def flatten_shipped(*, root: str | None = None, images: int | None = None) -> Flattening:
    """Measure the shipped classifier on Fashion-MNIST's test images, with and without its gates.

    Args:
        root: folder of Fashion-MNIST, where it is not found.
        images: only the first ones.
    """
    network = timm.create_model(WEIGHTS, pretrained=True).eval()
    data = load("fashion_mnist", root=root)
    x, y = data.test_images[:images], data.test_labels[:images]
    filters = [m for m in network.modules() if isinstance(m, SpectralRescale)]
    gates = [one.gain(*one.grid) for one in filters if min(one.grid) > 1]
    learned = _right(network, x, y)
    flattened(network)
    flat = _right(network, x, y)
    return Flattening(
        images=len(y),
        right=int(learned.sum()),
        flat_right=int(flat.sum()),
        lost=int((learned & ~flat).sum()),
        gained=int((flat & ~learned).sum()),
        spread=float(torch.stack([gate.std() for gate in gates]).mean()),
        lowest=min(float(gate.min()) for gate in gates),
        highest=max(float(gate.max()) for gate in gates),
    )


def _right(network: nn.Module, images_NCHW: Tensor, labels_N: Tensor) -> Tensor:
    answers = torch.cat([network(part).argmax(1) for part in images_NCHW.split(500)])
    return answers == labels_N
