"""Multiply-adds of a detector, on a fixed number of boxes, by two rules.

Nothing is computed: the network is copied to the meta device, where only shapes exist.

- ``products``: convolutions and matrix products of any kind, attention's included; no biases. The
  spectral filters' transforms are taken for FFTs and not counted.
- ``layers``: what papers on detection count: convolutions (also transposed) and linear layers with
  their biases, one per element of a ReLU, two per element of batch norm. The matrix products
  *inside* attention, which grow with the square of the image, are not counted.

RoI pooling, the suppression of boxes, layer norm and interpolation are in neither.
"""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spanetv2.errors import UserError
from spanetv2.layers.activation import StarReLU
from spanetv2.mixers import SpectralRescale
from spanetv2.models import set_implementation
from spanetv2.tasks.detection.model import Detector

__all__ = ["multiply_adds"]


def multiply_adds(
    detector: Detector,
    height: int = 800,
    width: int = 1280,
    *,
    boxes: int = 1000,
    masks: int = 100,
    rule: Literal["products", "layers"] = "products",
) -> float:
    """Count the multiply-adds of one image.

    Args:
        detector: any; it is left as it is.
        height: rows of the image, padding included.
        width: its columns.
        boxes: boxes that each box head sees (in a cascade, each stage's).
        masks: boxes that each mask head sees.
        rule: see the module.

    Returns:
        Multiply-adds.

    Raises:
        UserError: another rule.
    """
    if rule not in ("products", "layers"):
        raise UserError(f"got rule={rule!r}, expected 'products' or 'layers'")
    shadow = copy.deepcopy(detector).to("meta").eval()
    if any(isinstance(module, SpectralRescale) for module in shadow.modules()):
        set_implementation(shadow, "reference")
    image = torch.empty(1, 3, height, width, device="meta")
    counter = FlopCounterMode(display=False)
    counted = [0.0]
    hooks = [
        module.register_forward_hook(lambda m, i, o: counted.append(_of_layer(m, i[0], o)))
        for module in shadow.modules()
    ]
    with torch.no_grad(), counter:
        shadow.count_pass(image, boxes=boxes, masks=masks)
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() / 2 if rule == "products" else sum(counted)


def _of_layer(layer: nn.Module, given: Any, result: Any) -> float:
    if isinstance(layer, nn.Conv2d):
        weights = layer.weight[0].numel() + (layer.bias is not None)
        return float(result.numel() * weights)
    if isinstance(layer, nn.ConvTranspose2d):
        biases = 0 if layer.bias is None else result.numel()
        return float(given.numel() * layer.weight[0].numel() + biases)
    if isinstance(layer, nn.Linear):
        return float(result.numel() * (layer.in_features + (layer.bias is not None)))
    if isinstance(layer, nn.ReLU | StarReLU):
        return float(result.numel())
    if isinstance(layer, nn.BatchNorm2d):
        assert isinstance(given, Tensor)
        return 2.0 * given.numel()
    return 0.0
