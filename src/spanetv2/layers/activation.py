"""The two squared activations of the network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spanetv2.ops.star_relu import use_star_relu

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

    ``implementation`` is an attribute, not a part of the weights; see ``set_implementation``.
    """

    def __init__(
        self, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
        self.implementation = "auto"

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 - scripting wants the bare condition
            if use_star_relu(self.implementation, x):
                return self._in_one_pass(x)
        return self.scale * F.relu(x).square() + self.bias

    @torch.jit.unused
    def overwrite(self, x: Tensor) -> Tensor:
        """``forward``, in the memory of its input."""
        return x.relu_().square_().mul_(self.scale).add_(self.bias)

    @torch.jit.unused
    def _in_one_pass(self, x: Tensor) -> Tensor:
        from spanetv2.ops.star_relu.operator import star_relu

        return star_relu(x, self.scale, self.bias)
