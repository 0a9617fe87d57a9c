"""Scaling of the residual branch."""

import torch
from torch import Tensor, nn

__all__ = ["ResidualScale"]


class ResidualScale(nn.Module):
    """One learnable factor per channel on the residual branch, initialised to 1; (..., C).

    Source: SPANetV2, block (stages 3 and 4).
    """

    def __init__(
        self,
        dim: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale
