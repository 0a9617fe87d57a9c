"""The two squared activations of the network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SquaredReLU", "StarReLU"]


class SquaredReLU(nn.Module):
    """``relu(x)^2``, any shape. Source: the classifier of the MetaFormer baselines."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()

    @torch.jit.unused
    def overwrite(self, x: Tensor) -> Tensor:
        """``forward``, in the memory of its input."""
        return x.relu_().square_()


class StarReLU(nn.Module):
    """``scale * relu(x)^2 + bias`` with two learnable scalars, initialised to 1 and 0.

    Any shape. Source: MetaFormer baselines for vision, StarReLU.
    """

    def __init__(
        self, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.relu(x).square() + self.bias

    @torch.jit.unused
    def overwrite(self, x: Tensor) -> Tensor:
        """``forward``, in the memory of its input."""
        return x.relu_().square_().mul_(self.scale).add_(self.bias)
