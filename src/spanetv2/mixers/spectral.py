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
    resize_theta,
    spectral_gain,
    spectral_rescale,
)

__all__ = ["GATES", "SpectralRescale"]

GATES = ("sigmoid", "scaled_sigmoid")


class SpectralRescale(nn.Module):
    """Scale every frequency of every channel by a learned gain in (0, 1).

    The parameters ``theta`` belong to one grid and are resized for any other. In evaluation without
    gradients the gain is kept between calls, and made anew when the grid, the parameters, their
    dtype or their device change. (A change through ``parameter.data``, which PyTorch does not
    count, is noticed at the next ``eval()`` or ``train()``.)

    Args:
        dim: channels C.
        grid: (H, W) in tokens that ``theta`` is made for.
        gate: "sigmoid", or "scaled_sigmoid" with a learnable slope ``alpha`` that starts at 1.

    Raises:
        UserError: an unknown gate, or a grid without tokens.

    Source: SPANetV2, spectral re-scaling filter.
    """

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
        self._cached: Any = None
        nn.init.normal_(self.theta, std=0.02)

    def gain(self, height: int, width: int) -> Tensor:
        """Gain per channel and frequency on a grid: float32 (C, H, W // 2 + 1), in (0, 1)."""
        return spectral_gain(self.theta, height, width, self.alpha)

    def set_grid(self, grid: tuple[int, int]) -> None:
        """Re-base ``theta`` on another grid (H, W): the same filter, resized once and for all."""
        resized = resize_theta(self.theta.detach(), *grid).to(self.theta.dtype)
        self.theta = nn.Parameter(resized.clone(), requires_grad=self.theta.requires_grad)
        self._cached = None

    def _kept_gain(self, height: int, width: int) -> Tensor:
        theta, alpha = self.theta, self.alpha
        if (
            self.training
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or not isinstance(theta, nn.Parameter)  # stand-ins of functional transforms
            or theta.is_inference()
            or (alpha is not None and alpha.is_inference())
        ):
            return self.gain(height, width)
        versions = (theta._version, None if alpha is None else alpha._version)
        key = (height, width, theta.shape, theta.dtype, theta.device, versions)
        if (
            self._cached is None
            or self._cached[0] is not theta
            or self._cached[1] is not alpha
            or self._cached[2] != key
        ):
            with torch.inference_mode(False), torch.no_grad():
                self._cached = (theta, alpha, key, self.gain(height, width))
        return self._cached[3]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        height, width = x_BCHW.shape[2], x_BCHW.shape[3]
        if torch.jit.is_scripting():
            gain_CHK = self.gain(height, width)
        else:
            gain_CHK = self._kept_gain(height, width)
        return spectral_rescale(x_BCHW, gain_CHK)

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
        gate = "sigmoid" if self.alpha is None else "scaled_sigmoid"
        return f"{channels}, half_spectrum=({rows}, {columns}), gate={gate!r}"


# The grid decides what is computed, which symbolic tracing cannot follow.
register_notrace_module(SpectralRescale)
