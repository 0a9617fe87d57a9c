"""A linear layer over the channels of maps, as the 1 x 1 convolution that it is.

PyTorch hands linear layers to MKL and convolutions to oneDNN. On AMD processors MKL runs code for
AVX2, half the rate of oneDNN's AVX-512 where the cores have full-width units (Zen 5).

Shape suffixes: B batch, C channels, H and W the grid in tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["is_plain", "linear_of_maps", "runs_in_place"]


def is_plain(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer is what its weights say: of this very class, and without hooks.

    Another class in its place, an adapter, a parametrisation or a hook wants to be called.
    """
    return type(layer) is kind and not (layer._forward_hooks or layer._forward_pre_hooks)


def runs_in_place() -> bool:
    """Whether a module may overwrite what it computed itself, which saves memory and its time.

    Without gradients, run eagerly.
    """
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing())


def linear_of_maps(layer: nn.Module, x_BCHW: Tensor) -> Tensor:
    """A linear layer over channels, applied to maps that lie channels last in memory.

    A layer that is not plain is called as it is.

    Args:
        layer: a linear layer, C to C' channels.
        x_BCHW: maps (B, C, H, W).

    Returns:
        Tensor (B, C', H, W), channels last in memory.
    """
    if is_plain(layer, nn.Linear):
        assert isinstance(layer, nn.Linear)
        return F.conv2d(x_BCHW, layer.weight[:, :, None, None], layer.bias)
    return layer(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
