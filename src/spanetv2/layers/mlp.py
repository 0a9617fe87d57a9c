"""The channel mixer of a block."""

import torch
from torch import Tensor, nn

from spanetv2.layers.activation import SquaredReLU, StarReLU
from spanetv2.ops.linear import is_plain, linear_of_maps, runs_in_place, takes_maps

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
        self.form = "auto"
        self.fc1 = nn.Linear(dim, ratio * dim, bias=False, device=device, dtype=dtype)
        self.act = StarReLU(device=device, dtype=dtype)
        self.fc2 = nn.Linear(ratio * dim, dim, bias=False, device=device, dtype=dtype)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 - scripting wants the bare condition
            if takes_maps(self.form, x) and x.dim() == 4:
                return self._forward_of_maps(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.drop(self.fc2(self.act(self.fc1(x))))

    @torch.jit.unused
    def _forward_of_maps(self, x_BCHW: Tensor) -> Tensor:
        hidden = linear_of_maps(self.fc1, x_BCHW)
        act: nn.Module = self.act
        if (
            runs_in_place()
            and is_plain(self.fc1, nn.Linear)
            and isinstance(act, StarReLU | SquaredReLU)
            and is_plain(act, type(act))
        ):
            hidden = act.overwrite(hidden)
        else:
            hidden = act(hidden)
        return self.drop(linear_of_maps(self.fc2, hidden))
