"""Self-attention over all tokens of a grid, plain or with a convolution of the values.

Shape suffixes: B batch, C channels, H and W the grid in tokens, N = H * W, A attention heads,
E channels per head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.ops.linear import linear_of_maps, takes_maps

__all__ = ["HEAD_WIDTH", "Attention", "attention", "mixed_attention"]

HEAD_WIDTH = 32


class Attention(nn.Module):
    """Multi-head self-attention, no biases; (B, H, W, C) to the same.

    Args:
        dim: channels C, a multiple of the head width.
        convolutional: add a depthwise 7x7 convolution of the values to the attention's output
            before the projection (stage 3 of the hybrid networks).
        proj_drop: dropout of the output.
        head_width: channels per head; 32 in every published network.

    Raises:
        UserError: ``dim`` is not a multiple of the head width, or that is not a positive number.

    Source: SPANetV2, hybrid networks.
    """

    def __init__(
        self,
        dim: int,
        *,
        convolutional: bool = False,
        proj_drop: float = 0.0,
        head_width: int = HEAD_WIDTH,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(head_width, int) or head_width < 1:
            raise UserError(f"got head_width={head_width!r}, expected a positive number")
        if dim % head_width:
            raise UserError(f"got dim={dim}, expected a multiple of {head_width} (the head width)")
        self.form = "auto"
        self.num_heads, self.head_width = dim // head_width, head_width
        self.qkv = nn.Linear(dim, 3 * dim, bias=False, device=device, dtype=dtype)
        self.local_conv = (
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim, bias=False, device=device, dtype=dtype)
            if convolutional
            else None
        )
        self.proj = nn.Linear(dim, dim, bias=False, device=device, dtype=dtype)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 - scripting wants the bare condition
            if takes_maps(self.form, x_BHWC):
                return self._forward_of_maps(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        # Parted before the heads are: OpenVINO 2026.4 computes something else of one array with
        # all three, where there are as many heads as tokens.
        q_BNC, k_BNC, v_BNC = self.qkv(x_BHWC.flatten(1, 2)).chunk(3, 2)
        q_BANE, k_BANE, v_BANE = self._heads(q_BNC), self._heads(k_BNC), self._heads(v_BNC)
        y_BANE = F.scaled_dot_product_attention(q_BANE, k_BANE, v_BANE)
        y_BNC = y_BANE.transpose(1, 2).flatten(2)
        if self.local_conv is not None:
            v_BCHW = v_BNC.transpose(1, 2).unflatten(2, x_BHWC.shape[1:3])
            y_BNC = y_BNC + self.local_conv(v_BCHW).flatten(2).transpose(1, 2)
        return self.proj_drop(self.proj(y_BNC)).unflatten(1, x_BHWC.shape[1:3])

    def _heads(self, x_BNC: Tensor) -> Tensor:
        return x_BNC.unflatten(2, (self.num_heads, self.head_width)).transpose(1, 2)

    @torch.jit.unused
    def _forward_of_maps(self, x_BCHW: Tensor) -> Tensor:
        heads = (self.num_heads, self.head_width)
        qkv = linear_of_maps(self.qkv, x_BCHW).chunk(3, 1)
        q_BANE, k_BANE, v_BANE = (
            part.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, heads).transpose(1, 2)
            for part in qkv
        )
        y_BANE = F.scaled_dot_product_attention(q_BANE, k_BANE, v_BANE)
        y_BCHW = y_BANE.transpose(2, 3).flatten(1, 2).unflatten(2, x_BCHW.shape[2:])
        if self.local_conv is not None:
            y_BCHW = y_BCHW + self.local_conv(qkv[2])
        return self.proj_drop(linear_of_maps(self.proj, y_BCHW))


def attention(
    dim: int,
    grid: tuple[int, int],
    *,
    head_width: int = HEAD_WIDTH,
    proj_drop: float = 0.0,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Attention:
    """Self-attention as a mixer of the table; any grid (stage 4 of the hybrid networks)."""
    return Attention(dim, proj_drop=proj_drop, head_width=head_width, device=device, dtype=dtype)


def mixed_attention(
    dim: int,
    grid: tuple[int, int],
    *,
    head_width: int = HEAD_WIDTH,
    proj_drop: float = 0.0,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Attention:
    """Self-attention with a convolution of its values as a mixer of the table; any grid."""
    return Attention(
        dim,
        convolutional=True,
        proj_drop=proj_drop,
        head_width=head_width,
        device=device,
        dtype=dtype,
    )
