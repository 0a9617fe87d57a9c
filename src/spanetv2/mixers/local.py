"""SPAM's token mixing: depthwise convolutions of several sizes, then the spectral filter.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1, T taps of the
largest kernel along one side.
"""

from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.mixers.spectral import SpectralRescale
from spanetv2.ops.depthwise import use_depthwise_heads
from spanetv2.ops.heads import HEADS, KERNELS
from spanetv2.ops.local_mixing import pack_kernels, use_fused
from spanetv2.ops.spectral_rescale import spectral_rescale_on_gpu

__all__ = ["LocalMixing"]


class LocalMixing(nn.Module):
    """Depthwise convolutions of several sizes, then a spectral filter; (B, H, W, C) to the same.

    The channels are four contiguous heads x_1 .. x_4. Head i is convolved with kernels k_i of its
    own size (zero padding, bias b_i), then every frequency of every channel is multiplied by a
    gain g in (0, 1)::

        mix(x) = F^-1( g * F( concat_i(k_i * x_i + b_i) ) )

    ``mix_tokens`` is that function of maps, and the only place where an implementation is chosen.
    ``SPAM`` calls it and is a subclass, not a parent: the convolutions and the filter are its own
    children, under the names ``local_convs`` and ``spectral`` that files know them by.

    Args:
        dim: channels C, a multiple of 4.
        grid: (H, W) in tokens that the spectral filter is made for; any other grid works too.
        gate: gate of the spectral filter, "sigmoid" or "scaled_sigmoid".
        kernels: side of every head's kernel in tokens, odd; other than the paper's for studies.
        spectral: re-scale the spectrum; False leaves the filter out.

    Raises:
        UserError: ``dim`` is not a multiple of 4, an unknown gate, or kernels that are not four odd
            numbers.

    Source: SPANetV2, multi-scale local mixing and spectral re-scaling filter.
    """

    __constants__ = ("num_heads",)
    __jit_unused_properties__ = ("gate", "grid", "implementation", "kernels", "spectral_filter")

    num_heads = HEADS

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        gate: str = "sigmoid",
        kernels: Sequence[int] = KERNELS,
        spectral: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._add_parts(
            dim, grid, gate=gate, kernels=kernels, spectral=spectral, device=device, dtype=dtype
        )

    def _add_parts(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        gate: str,
        kernels: Sequence[int],
        spectral: bool,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        """Make the convolutions and the filter. Apart from ``__init__``, as SPAM's other layers
        come before and behind them: seeds and optimisers' states go by that order."""
        if dim % HEADS:
            raise UserError(f"got dim={dim}, expected a multiple of {HEADS} (the heads of SPAM)")
        if not _is_one_odd_side_per_head(kernels):
            shown = tuple(kernels) if isinstance(kernels, list) else kernels
            raise UserError(f"got kernels={shown!r}, expected {HEADS} odd numbers, one per head")
        # The fused operator is written for the paper's kernels with a filter behind them.
        self.fusible = tuple(kernels) == KERNELS and spectral
        head_dim = dim // HEADS
        self.local_convs = nn.ModuleList(
            nn.Conv2d(
                head_dim,
                head_dim,
                kernel_size=side,
                padding=side // 2,
                groups=head_dim,
                device=device,
                dtype=dtype,
            )
            for side in kernels
        )
        self.spectral: nn.Module = (
            SpectralRescale(dim, grid, gate=gate, device=device, dtype=dtype)
            if spectral
            else nn.Identity()
        )

    @classmethod
    def of(cls, mixer: "LocalMixing") -> Self:
        """The token mixing of a mixer alone, with the same convolutions and filter (no copies)."""
        alone = cls.__new__(cls)
        nn.Module.__init__(alone)
        alone.local_convs, alone.spectral = mixer.local_convs, mixer.spectral
        alone.fusible = mixer.fusible
        return alone

    @property
    def spectral_filter(self) -> SpectralRescale | None:
        """The spectral filter with its parameters; None where it is left out or folded."""
        return self.spectral if isinstance(self.spectral, SpectralRescale) else None

    @property
    def kernels(self) -> list[int]:
        """Side of every head's kernel, in tokens."""
        return [cast(nn.Conv2d, conv).kernel_size[0] for conv in self.local_convs]

    @property
    def gate(self) -> str:
        """Gate of the spectral filter."""
        return "sigmoid" if self.spectral_filter is None else self.spectral_filter.gate

    @property
    def implementation(self) -> str:
        """What computes the mixer; see ``spanetv2.set_implementation``."""
        return "auto" if self.spectral_filter is None else self.spectral_filter.implementation

    @property
    def grid(self) -> tuple[int, int] | None:
        """Grid (H, W) in tokens that the filter's parameters are made for; None without one."""
        return None if self.spectral_filter is None else self.spectral_filter.grid

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.mix_tokens(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def mix_tokens(self, x_BCHW: Tensor) -> Tensor:
        """Mix the tokens of maps.

        Args:
            x_BCHW: feature maps, (B, C, H, W), of any memory layout and any grid.

        Returns:
            Tensor (B, C, H, W) in the dtype of ``x``.

        Source: SPANetV2, multi-scale local mixing and spectral re-scaling filter.
        """
        if not torch.jit.is_scripting():
            if self.fusible and use_fused(self.implementation, x_BCHW):
                return self._mix_tokens_fused(x_BCHW)
            if self.fusible and use_depthwise_heads(self.implementation, x_BCHW):
                return self._mix_tokens_in_two(x_BCHW)
        heads = x_BCHW.chunk(self.num_heads, dim=1)
        local = []
        for head, conv in enumerate(self.local_convs):
            local.append(conv(heads[head]))
        return self.spectral(torch.cat(local, dim=1))

    @torch.jit.unused
    def _mix_tokens_fused(self, x_BCHW: Tensor) -> Tensor:
        from spanetv2.ops.local_mixing.operator import local_mixing

        return local_mixing(x_BCHW, *self.packed(x_BCHW.shape[2], x_BCHW.shape[3]))

    @torch.jit.unused
    def _mix_tokens_in_two(self, x_BCHW: Tensor) -> Tensor:
        """Convolutions, then the filter: for grids that one program cannot hold."""
        from spanetv2.ops.depthwise.operator import depthwise_heads

        kernels_CTT, bias_C, gain_CHK = self.packed(x_BCHW.shape[2], x_BCHW.shape[3])
        y_BCHW = depthwise_heads(x_BCHW, kernels_CTT, bias_C)
        return spectral_rescale_on_gpu(y_BCHW, gain_CHK)

    @torch.jit.unused
    def packed(self, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """The parameters as operators take them: kernels (C, T, T), bias (C,), gain (C, H, K)."""
        convs = [cast(nn.Conv2d, conv) for conv in self.local_convs]
        kernels_CTT = pack_kernels([conv.weight for conv in convs])
        bias_C = torch.cat([cast(Tensor, conv.bias) for conv in convs])
        assert self.spectral_filter is not None
        return kernels_CTT, bias_C, self.spectral_filter.kept_gain(height, width)


def _is_one_odd_side_per_head(kernels: object) -> bool:
    return (
        isinstance(kernels, Sequence)
        and len(kernels) == HEADS
        and all(isinstance(side, int) and side > 0 and side % 2 == 1 for side in kernels)
    )
