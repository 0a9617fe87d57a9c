"""Multiply-adds by the rules of the published tables."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_PRODUCTS = ("bmm", "baddbmm", "scaled_dot_product")


def multiply_adds(model: nn.Module, *inputs: Any) -> dict[str, float]:
    """Multiply-adds of a forward pass, in billions, by three rules.

    ``plain`` counts convolutions and every matrix product, all heads' attention included. ``A``
    leaves out attention's products and adds biases, ReLU, pooling and 2 per element of batch norm.
    ``B`` is ``plain`` with 2 per element of batch norm, 5 of layer norm, 4 of bilinear resizing and
    1 of pooling. None counts a Fourier transform.
    """
    extra = {"A": 0.0, "B": 0.0}

    def hook(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
            extra["A"] += output.numel() * (module.bias is not None)
        elif isinstance(module, nn.ReLU):
            extra["A"] += output.numel()
        elif isinstance(module, nn.BatchNorm2d):
            extra["A"] += 2 * output.numel()
            extra["B"] += 2 * output.numel()
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            extra["A"] += given[0].numel()
            extra["B"] += given[0].numel()
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
            extra["B"] += 5 * output.numel()

    interpolate = nn.functional.interpolate

    def counted(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        y = interpolate(x, *args, **kwargs)
        if kwargs.get("mode") == "bilinear":
            extra["B"] += 4 * y.numel()
        return y

    handles = [module.register_forward_hook(hook) for module in model.modules()]
    counter = FlopCounterMode(display=False)
    try:
        nn.functional.interpolate = counted
        with counter, torch.no_grad():
            model(*inputs)
    finally:
        nn.functional.interpolate = interpolate
        for handle in handles:
            handle.remove()
    counts = counter.get_flop_counts()["Global"]
    total = sum(counts.values()) / 2
    products = sum(n for op, n in counts.items() if any(p in str(op) for p in _PRODUCTS)) / 2
    return {
        "plain": total / 1e9,
        "A": (total - products + extra["A"]) / 1e9,
        "B": (total + extra["B"]) / 1e9,
    }
