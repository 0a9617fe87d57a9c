"""The learnable spectral re-scaling filter (SRF) as a module.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1.
"""

from typing import Any

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.ops.spectral_rescale import (
    half_spectrum,
    prefer_products,
    resize_theta,
    spectral_gain,
    spectral_rescale,
    spectral_rescale_products,
)

__all__ = ["GATES", "IMPLEMENTATIONS", "SpectralRescale"]

GATES = ("sigmoid", "scaled_sigmoid")
IMPLEMENTATIONS = ("auto", "reference", "products", "fused")


class SpectralRescale(nn.Module):
    """Scale every frequency of every channel by a learned gain in (0, 1).

    The parameters ``theta`` belong to one grid and are resized for any other. In evaluation without
    gradients the gain is kept between calls, and made anew when the grid, the parameters, their
    dtype or their device change. (A change through ``parameter.data``, which PyTorch does not
    count, is noticed at the next ``eval()`` or ``train()``.)

    ``implementation`` is an attribute, not a part of the weights: "reference" (FFT), "products"
    (matrix products) or "auto" (products on grids where they are faster). "fused" concerns the
    mixer around the filter; the filter itself then does as "auto".

    Args:
        dim: channels C.
        grid: (H, W) in tokens that ``theta`` is made for.
        gate: "sigmoid", or "scaled_sigmoid" with a learnable slope ``alpha`` that starts at 1.

    Raises:
        UserError: an unknown gate, or a grid without tokens.

    Source: SPANetV2, spectral re-scaling filter.
    """

    __jit_unused_properties__ = ("gate",)

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        gate: str = "sigmoid",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise UserError(f"got gate={gate!r}, expected one of {', '.join(map(repr, GATES))}")
        if min(grid) < 1:
            raise UserError(f"got a grid of {grid[0]} x {grid[1]} tokens, expected at least 1 x 1")
        self.theta = nn.Parameter(
            torch.empty(dim, *half_spectrum(grid), device=device, dtype=dtype)
        )
        self.alpha = (
            nn.Parameter(torch.ones(1, device=device, dtype=dtype))
            if gate == "scaled_sigmoid"
            else None
        )
        self.grid = (grid[0], grid[1])
        self.implementation = "auto"
        self._cached: Any = None
        nn.init.normal_(self.theta, std=0.02)

    @property
    def gate(self) -> str:
        """What makes the gain of the parameters, one of ``GATES``."""
        return "sigmoid" if self.alpha is None else "scaled_sigmoid"

    def gain(self, height: int, width: int) -> Tensor:
        """Gain per channel and frequency on a grid: float32 (C, H, W // 2 + 1), in (0, 1)."""
        return spectral_gain(self.theta, height, width, self.alpha)

    def set_grid(self, grid: tuple[int, int]) -> None:
        """Re-base ``theta`` on another grid (H, W): the same filter, resized once and for all."""
        resized = resize_theta(self.theta.detach(), *grid).to(self.theta.dtype)
        self.theta = nn.Parameter(resized.clone(), requires_grad=self.theta.requires_grad)
        self.grid = (grid[0], grid[1])
        self._cached = None

    def _make_gain(self, height: int, width: int, channels_last: bool) -> Tensor:
        gain_CHK = self.gain(height, width)
        return gain_CHK.permute(1, 2, 0).contiguous() if channels_last else gain_CHK

    def kept_gain(self, height: int, width: int, channels_last: bool = False) -> Tensor:
        """``gain``, kept between calls in evaluation; (H, K, C) if ``channels_last``."""
        theta, alpha = self.theta, self.alpha
        if (
            self.training
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or not isinstance(theta, nn.Parameter)  # stand-ins of functional transforms
            or theta.is_inference()
            or (alpha is not None and alpha.is_inference())
        ):
            return self._make_gain(height, width, channels_last)
        versions = (theta._version, None if alpha is None else alpha._version)
        key = (height, width, channels_last, theta.shape, theta.dtype, theta.device, versions)
        if (
            self._cached is None
            or self._cached[0] is not theta
            or self._cached[1] is not alpha
            or self._cached[2] != key
        ):
            with torch.inference_mode(False), torch.no_grad():
                gain = self._make_gain(height, width, channels_last)
                self._cached = (theta, alpha, key, gain)
        return self._cached[3]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        height, width = x_BCHW.shape[2], x_BCHW.shape[3]
        if torch.jit.is_scripting():
            return spectral_rescale(x_BCHW, self.gain(height, width))
        if self.implementation == "products" or (
            self.implementation != "reference" and prefer_products(height, width)
        ):
            gain_HKC = self.kept_gain(height, width, True)
            y_BHWC = spectral_rescale_products(x_BCHW.permute(0, 2, 3, 1), gain_HKC)
            return y_BHWC.permute(0, 3, 1, 2)
        return spectral_rescale(x_BCHW, self.kept_gain(height, width, False))

    def train(self, mode: bool = True) -> "SpectralRescale":
        self._cached = None
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> "SpectralRescale":
        self._cached = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cached": None}

    def extra_repr(self) -> str:
        channels, rows, columns = self.theta.shape
        return f"{channels}, half_spectrum=({rows}, {columns}), gate={self.gate!r}"


# The grid decides what is computed, which symbolic tracing cannot follow.
register_notrace_module(SpectralRescale)
