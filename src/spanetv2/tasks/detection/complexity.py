"""Multiply-adds of a detector, on a fixed number of boxes, by two rules.

Nothing is computed: the network is copied to the meta device, where only shapes exist.

- products: convolutions and matrix products of any kind, attention's included; no biases. The
  spectral filters' transforms are taken for FFTs and not counted.
- layers: what papers on detection count: convolutions (also transposed) and linear layers with
  their biases, one per element of a ReLU, two per element of batch norm. The matrix products
  *inside* attention, which grow with the square of the image, are not counted.

RoI pooling, the suppression of boxes, layer norm and interpolation are in neither.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spanetv2.layers.activation import StarReLU
from spanetv2.mixers import SpectralRescale
from spanetv2.models import set_implementation
from spanetv2.tasks.detection.model import Detector

__all__ = ["MultiplyAdds", "multiply_adds"]


class MultiplyAdds(NamedTuple):
    """The cost of an image by the two rules, in multiply-adds."""

    products: float
    """all convolutions and matrix products"""
    layers: float
    """as papers count"""


def multiply_adds(
    detector: Detector,
    height: int = 800,
    width: int = 1280,
    *,
    boxes: int = 1000,
    masks: int = 100,
) -> MultiplyAdds:
    """Count the multiply-adds of one image.

    Args:
        detector: any; it is left as it is.
        height: rows of the image, padding included.
        width: its columns.
        boxes: boxes that each box head sees (in a cascade, each stage's).
        masks: boxes that each mask head sees.

    Returns:
        Multiply-adds by both rules; see the module.
    """
    shadow = copy.deepcopy(detector).to("meta").eval()
    if any(isinstance(module, SpectralRescale) for module in shadow.modules()):
        set_implementation(shadow, "reference")
    image = torch.empty(1, 3, height, width, device="meta")
    counter = FlopCounterMode(display=False)
    counted: list[float] = []
    for module in shadow.modules():
        if isinstance(module, _COUNTED):
            module.register_forward_hook(lambda m, i, o: counted.append(_of_layer(m, i[0], o)))
    with torch.no_grad(), counter:
        shadow.count_pass(image, boxes=boxes, masks=masks)
    return MultiplyAdds(counter.get_total_flops() / 2, sum(counted))


_COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.ReLU, StarReLU, nn.BatchNorm2d)


def _of_layer(layer: nn.Module, given: Tensor, result: Tensor) -> float:
    if isinstance(layer, nn.Conv2d):
        weights = layer.weight[0].numel() + (layer.bias is not None)
        return float(result.numel() * weights)
    if isinstance(layer, nn.ConvTranspose2d):
        biases = 0 if layer.bias is None else result.numel()
        return float(given.numel() * layer.weight[0].numel() + biases)
    if isinstance(layer, nn.Linear):
        return float(result.numel() * (layer.in_features + (layer.bias is not None)))
    return float(result.numel()) * (2 if isinstance(layer, nn.BatchNorm2d) else 1)
