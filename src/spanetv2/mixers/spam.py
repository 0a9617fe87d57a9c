"""SPAM, the spectral-adaptive modulation mixer.

Shape suffixes: B batch, C channels, H and W the grid in tokens, N = H W. D stands for 2C.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.mixers.local import LocalMixing
from spanetv2.ops.grouped_mix import (
    grouped_mix_packed,
    grouped_mix_sliced,
    prefer_packed,
    use_grouped_mix_fused,
)
from spanetv2.ops.heads import KERNELS, interleave_heads
from spanetv2.ops.kernel_choice import use_kernels
from spanetv2.ops.linear import is_plain, linear_of_maps, runs_in_place, takes_maps

__all__ = ["HEAD_ORDERS", "SPAM"]

HEAD_ORDERS = ("interleaved", "concatenated")
_EXPANSION = 2


class SPAM(LocalMixing):
    """Multi-scale depthwise convolutions, spectral re-scaling, and modulation by a gated query.

    The context's channels are split into four contiguous heads; head i is mixed by a depthwise
    convolution of kernel 3 + 2i (zero padding), then every channel's spectrum is re-scaled. A
    grouped projection (4 channels in, 8 out), GroupNorm over all channels, GELU and a full
    projection turn them into the modulator that multiplies the query.

    ``head_order`` says what a group of the projection sees: "interleaved", one channel of every
    scale; "concatenated", four neighbouring channels of one scale. Weights of one order are
    meaningless in the other, so the projection is named after it and a state dict tells them apart.

    Args:
        dim: channels C, a multiple of 4.
        grid: (H, W) in tokens that the spectral filter is made for; any other grid works too.
        head_order: "interleaved" (the published checkpoints) or "concatenated".
        gate: gate of the spectral filter, "sigmoid" or "scaled_sigmoid".
        proj_drop: dropout of the output.
        kernels: side of every head's kernel in tokens, odd; other than the paper's for studies.
        spectral: re-scale the spectrum; False leaves the filter out.
        modulation: multiply the query; False leaves the query out, so that the modulator itself
            goes through the last layer.

    Raises:
        UserError: ``dim`` is not a multiple of 4, an unknown head order or gate, or kernels that
            are not four odd numbers.

    Source: SPANetV2, spectral-adaptive modulation.
    """

    __jit_unused_properties__ = (
        "token_mixing",
        "head_order",
        *LocalMixing.__jit_unused_properties__,
    )

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        head_order: str = "interleaved",
        gate: str = "sigmoid",
        proj_drop: float = 0.0,
        kernels: Sequence[int] = KERNELS,
        spectral: bool = True,
        modulation: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Module.__init__(self)
        if head_order not in HEAD_ORDERS:
            expected = ", ".join(map(repr, HEAD_ORDERS))
            raise UserError(f"got head_order={head_order!r}, expected one of {expected}")
        self.form = "auto"
        self.interleaved = head_order == "interleaved"
        self.query = (
            nn.Linear(dim, dim, bias=False, device=device, dtype=dtype) if modulation else None
        )
        self.context = nn.Linear(dim, dim, bias=False, device=device, dtype=dtype)
        self._add_parts(
            dim, grid, gate=gate, kernels=kernels, spectral=spectral, device=device, dtype=dtype
        )
        expanded = _EXPANSION * dim
        grouped = nn.Conv2d(
            dim, expanded, 1, groups=dim // self.num_heads, bias=False, device=device, dtype=dtype
        )
        self.proj = nn.Sequential(
            OrderedDict(
                [
                    (f"grouped_{head_order}", grouped),
                    ("norm", nn.GroupNorm(1, expanded, eps=1e-5, device=device, dtype=dtype)),
                    ("act", nn.GELU()),
                    ("mix", nn.Conv2d(expanded, dim, 1, bias=False, device=device, dtype=dtype)),
                ]
            )
        )
        self.out = nn.Linear(dim, dim, bias=False, device=device, dtype=dtype)
        self.proj_drop = nn.Dropout(proj_drop)

    @property
    def head_order(self) -> str:
        """Order of the heads at the grouped projection."""
        return HEAD_ORDERS[0] if self.interleaved else HEAD_ORDERS[1]

    @property
    def token_mixing(self) -> LocalMixing | None:
        """The convolutions and the filter; None where they are folded into one matrix."""
        return self

    def forward(self, x_BHWC: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 - scripting wants the bare condition
            if takes_maps(self.form, x_BHWC):
                return self._forward_of_maps(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        # Lists of tokens wherever the grid does not matter: see Block.
        x_BNC = x_BHWC.flatten(1, 2)
        scale_BCHW = self._project(self.mix_tokens(self._context_maps(x_BHWC)))
        y_BNC = scale_BCHW.flatten(2).transpose(1, 2)
        if self.query is not None:
            y_BNC = F.gelu(self.query(x_BNC)) * y_BNC
        return self.proj_drop(self.out(y_BNC)).unflatten(1, x_BHWC.shape[1:3])

    def _context_maps(self, x_BHWC: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            x_BCHW = x_BHWC.permute(0, 3, 1, 2)
            fused = use_kernels("local_mixing", self.implementation, x_BCHW)
            if fused and is_plain(self.context, nn.Linear):
                # The same product turned: kernels want the tokens of a channel together.
                y_CL = torch.mm(self.context.weight, x_BHWC.flatten(0, 2).t())
                return y_CL.unflatten(1, x_BHWC.shape[:3]).transpose(0, 1)
        y_BNC = self.context(x_BHWC.flatten(1, 2))
        return y_BNC.transpose(1, 2).unflatten(2, x_BHWC.shape[1:3])

    @torch.jit.unused
    def _forward_of_maps(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.mix_tokens(linear_of_maps(self.context, x_BCHW))
        slices = self.interleaved and self.implementation != "reference" and prefer_packed()
        y_BCHW = self._project_sliced(y_BCHW) if slices else self._project(y_BCHW)
        if self.query is not None:
            gate_BCHW = F.gelu(linear_of_maps(self.query, x_BCHW))
            y_BCHW = gate_BCHW.mul_(y_BCHW) if runs_in_place() else gate_BCHW * y_BCHW
        return self.proj_drop(linear_of_maps(self.out, y_BCHW))

    def _project(self, y_BCHW: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            if use_grouped_mix_fused(self.implementation, y_BCHW):
                return self._project_fused(y_BCHW)
            if self.implementation != "reference" and prefer_packed():
                return self._project_packed(y_BCHW)
        if self.interleaved:
            y_BCHW = interleave_heads(y_BCHW)
        return self.proj(y_BCHW)

    @torch.jit.unused
    def _project_fused(self, y_BCHW: Tensor) -> Tensor:
        from spanetv2.ops.grouped_mix.operator import grouped_mix_fused

        grouped, mix = cast(nn.Conv2d, self.proj[0]), cast(nn.Conv2d, self.proj.mix)
        norm = cast(nn.GroupNorm, self.proj.norm)
        scale_BNC = grouped_mix_fused(
            y_BCHW,
            grouped.weight,
            norm.weight,
            norm.bias,
            mix.weight,
            self.interleaved,
            norm.eps,
        )
        return scale_BNC.transpose(1, 2).unflatten(2, y_BCHW.shape[2:])

    @torch.jit.unused
    def _project_packed(self, y_BCHW: Tensor) -> Tensor:
        grouped, mix = cast(nn.Conv2d, self.proj[0]), cast(nn.Conv2d, self.proj.mix)
        norm = cast(nn.GroupNorm, self.proj.norm)
        y_BHWC = grouped_mix_packed(
            y_BCHW.permute(0, 2, 3, 1),
            grouped.weight,
            norm.weight,
            norm.bias,
            mix.weight,
            self.interleaved,
            norm.eps,
        )
        return y_BHWC.permute(0, 3, 1, 2)

    @torch.jit.unused
    def _project_sliced(self, y_BCHW: Tensor) -> Tensor:
        grouped, mix = cast(nn.Conv2d, self.proj[0]), cast(nn.Conv2d, self.proj.mix)
        norm = cast(nn.GroupNorm, self.proj.norm)
        weights = (grouped.weight, norm.weight, norm.bias, mix.weight)
        y_BHWC = grouped_mix_sliced(y_BCHW.permute(0, 2, 3, 1), *weights, norm.eps)
        return y_BHWC.permute(0, 3, 1, 2)
