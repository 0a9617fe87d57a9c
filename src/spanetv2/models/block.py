"""A block and a stage of the network.

Shape suffixes: B batch, C channels, H and W the grid in tokens, N = H W.
"""

from collections.abc import Sequence

import torch
from timm.layers import DropPath
from timm.models import checkpoint_seq
from torch import Tensor, nn

from spanetv2.layers import Downsampling, Mlp, ResidualScale
from spanetv2.mixers import WrittenMixer, read_mixers
from spanetv2.ops.linear import takes_maps

__all__ = ["Block", "Stage"]


class Block(nn.Module):
    """``x = r1 x + mixer(norm(x))``, then ``x = r2 x + mlp(norm(x))``; (B, H, W, C) to the same.

    Args:
        dim: channels C.
        grid: (H, W) in tokens, for the mixer's spectral filter.
        mixer: a name of ``spanetv2.mixers.MIXERS``, a name with options, or a class.
        head_order: see ``SPAM``.
        gate: see ``SPAM``.
        residual_scale: learn r1 and r2 (one value per channel); otherwise both are 1.
        drop_path: probability of dropping a branch for a sample, in training.
        proj_drop: dropout after the mixer and the MLP.

    Source: SPANetV2, block.
    """

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        mixer: WrittenMixer,
        head_order: str,
        gate: str,
        residual_scale: bool,
        drop_path: float = 0.0,
        proj_drop: float = 0.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()

        def norm() -> nn.Module:
            return nn.LayerNorm(dim, eps=1e-6, bias=False, device=device, dtype=dtype)

        def scale() -> nn.Module:
            return (
                ResidualScale(dim, device=device, dtype=dtype) if residual_scale else nn.Identity()
            )

        def path() -> nn.Module:
            return DropPath(drop_path) if drop_path > 0 else nn.Identity()

        self.form = "auto"
        self.norm1 = norm()
        (chosen,) = read_mixers([mixer])
        self.token_mixer = chosen.build(
            dim,
            grid,
            head_order=head_order,
            gate=gate,
            proj_drop=proj_drop,
            device=device,
            dtype=dtype,
        )
        self.res_scale1 = scale()
        self.drop_path1 = path()
        self.norm2 = norm()
        self.mlp = Mlp(dim, drop=proj_drop, device=device, dtype=dtype)
        self.res_scale2 = scale()
        self.drop_path2 = path()

    def forward(self, x_BHWC: Tensor) -> Tensor:
        # Between the mixers there are only lists of tokens: torch.compile takes every map of four
        # dimensions for one with channels in the second, and reorders it to suit convolutions.
        # What is a convolution in the form of maps makes its view of them itself.
        x_BNC = x_BHWC.flatten(1, 2)
        y_BHWC = self.token_mixer(self.norm1(x_BNC).unflatten(1, x_BHWC.shape[1:3]))
        x_BNC = self.res_scale1(x_BNC) + self.drop_path1(y_BHWC.flatten(1, 2))
        y_BNC = self.norm2(x_BNC)
        if not torch.jit.is_scripting():  # noqa: SIM102 - scripting wants the bare condition
            if takes_maps(self.form, x_BHWC):
                y_BNC = y_BNC.view(x_BHWC.shape)
        y_BNC = self.mlp(y_BNC).flatten(1, -2)
        x_BNC = self.res_scale2(x_BNC) + self.drop_path2(y_BNC)
        # no view of a whole shape, which torch.onnx.export(dynamo=False) takes for constant
        return x_BNC.unflatten(1, x_BHWC.shape[1:3])


class Stage(nn.Module):
    """Downsampling (except in the first stage) and blocks on one grid.

    Args:
        in_dim: channels of the stage before; None for the first stage (no downsampling).
        dim: channels C of this stage.
        grid: (H, W) in tokens after the downsampling.
        drop_path: one rate per block; its length is the number of blocks.

    The other arguments are those of ``Block``.
    """

    def __init__(
        self,
        in_dim: int | None,
        dim: int,
        grid: tuple[int, int],
        *,
        mixer: WrittenMixer,
        head_order: str,
        gate: str,
        residual_scale: bool,
        drop_path: Sequence[float],
        proj_drop: float = 0.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.downsample = (
            nn.Identity()
            if in_dim is None
            else Downsampling(in_dim, dim, device=device, dtype=dtype)
        )
        self.blocks = nn.Sequential(
            *(
                Block(
                    dim,
                    grid,
                    mixer=mixer,
                    head_order=head_order,
                    gate=gate,
                    residual_scale=residual_scale,
                    drop_path=rate,
                    proj_drop=proj_drop,
                    device=device,
                    dtype=dtype,
                )
                for rate in drop_path
            )
        )

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC = self.downsample(x_BHWC)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return checkpoint_seq(self.blocks, x_BHWC)
        return self.blocks(x_BHWC)
