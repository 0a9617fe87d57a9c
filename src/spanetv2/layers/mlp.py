"""The channel mixer of a block."""

import torch
from torch import Tensor, nn

from spanetv2.layers.activation import StarReLU

__all__ = ["Mlp"]


class Mlp(nn.Module):
    """Linear C -> ratio * C, StarReLU, Linear back to C, without biases; (..., C) to (..., C).

    Source: SPANetV2, block (MetaFormer baselines' MLP).
    """

    def __init__(
        self,
        dim: int,
        *,
        ratio: int = 4,
        drop: float = 0.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim, bias=False, device=device, dtype=dtype)
        self.act = StarReLU(device=device, dtype=dtype)
        self.fc2 = nn.Linear(ratio * dim, dim, bias=False, device=device, dtype=dtype)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.act(self.fc1(x))))
