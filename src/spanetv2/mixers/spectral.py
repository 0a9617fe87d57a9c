"""The learnable spectral re-scaling filter (SRF) as a module.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1.
"""

from typing import Any, NamedTuple

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.ops.spectral_rescale import (
    half_spectrum,
    hartley_gain,
    keep_grid,
    prefer_hartley,
    prefer_products,
    resize_theta,
    spectral_gain,
    spectral_rescale,
    spectral_rescale_hartley,
    spectral_rescale_products,
)

__all__ = ["GATES", "IMPLEMENTATIONS", "SpectralRescale"]

GATES = ("sigmoid", "scaled_sigmoid")
IMPLEMENTATIONS = ("auto", "reference", "products", "fused")


_MOST_KEPT = 4
"""Grids whose gains are kept: serving sees images of a few sizes."""


class _Kept(NamedTuple):
    """A gain, and what tells whether it is still that of the parameters."""

    gain: Tensor
    parameters: tuple[nn.Parameter, ...]
    states: tuple[Any, ...]
    values: tuple[Tensor, ...]
    """Copies of the parameters on a CPU; empty elsewhere, where a comparison would wait."""

    @classmethod
    def of(cls, theta: nn.Parameter, alpha: nn.Parameter | None, gain: Tensor) -> "_Kept":
        parameters = (theta,) if alpha is None else (theta, alpha)
        on_cpu = theta.device.type == "cpu"
        values = tuple(p.detach().clone() for p in parameters) if on_cpu else ()
        return cls(gain, parameters, _states(parameters), values)

    def is_of(self, theta: nn.Parameter, alpha: nn.Parameter | None) -> bool:
        parameters = (theta,) if alpha is None else (theta, alpha)
        return (
            len(parameters) == len(self.parameters)
            and all(a is b for a, b in zip(parameters, self.parameters, strict=True))
            and _states(parameters) == self.states
            and all(torch.equal(p, v) for p, v in zip(parameters, self.values, strict=False))
        )


def _states(parameters: tuple[nn.Parameter, ...]) -> tuple[Any, ...]:
    return tuple((p._version, p.data_ptr(), p.shape, p.dtype, p.device) for p in parameters)


class SpectralRescale(nn.Module):
    """Scale every frequency of every channel by a learned gain in (0, 1).

    The parameters ``theta`` belong to one grid and are resized for any other. In evaluation without
    gradients the gains of a few grids are kept between calls, and made anew when the parameters,
    their dtype or their device change. Several threads may call the filter. On a CPU any change of
    the parameters is noticed, as their values are compared; elsewhere one made in place through
    ``parameter.data``, which PyTorch does not count, is noticed at the next ``eval()`` or
    ``train()``.

    ``implementation`` is an attribute, not a part of the weights: "reference" (FFT), "products"
    (matrix products with the half spectrum) or "auto" (on grids where they are faster, products:
    on a CPU those of Hartley transforms, else of the half spectrum). "fused" concerns the
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
    __jit_ignored_attributes__ = ("_kept",)  # a dict whose keys TorchScript does not have

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
        self._take_grid(grid)
        self.implementation = "auto"
        self._kept: dict[Any, _Kept] = {}
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
        self._take_grid(grid)
        self._kept = {}

    def _take_grid(self, grid: tuple[int, int]) -> None:
        self.grid = (grid[0], grid[1])
        if prefer_products(*self.grid):
            keep_grid(*self.grid, torch.device("cpu"))  # a compiled graph takes what there is

    def _make_gain(self, height: int, width: int, order: str) -> Tensor:
        gain_CHK = self.gain(height, width)
        if order == "CHK":
            return gain_CHK
        gain_HKC = gain_CHK.permute(1, 2, 0).contiguous()
        return gain_HKC if order == "HKC" else hartley_gain(gain_HKC, width)

    def kept_gain(self, height: int, width: int, order: str = "CHK") -> Tensor:
        """``gain``, kept between calls in evaluation.

        Args:
            height: rows H of the grid, in tokens.
            width: columns W of the grid, in tokens.
            order: "CHK", "HKC", or "2HWC" for what ``hartley_gain`` makes of it.
        """
        theta, alpha = self.theta, self.alpha
        if (
            self.training
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()  # the trace is to follow the parameters
            or not isinstance(theta, nn.Parameter)  # stand-ins of functional transforms
            or theta.is_inference()
            or (alpha is not None and alpha.is_inference())
        ):
            return self._make_gain(height, width, order)
        key = (height, width, order)
        kept = self._kept.get(key)
        if kept is None or not kept.is_of(theta, alpha):
            with torch.inference_mode(False), torch.no_grad():
                gain = self._make_gain(height, width, order)
                kept = _Kept.of(theta, alpha, gain)
            # A new dict, not a changed one: other threads may be looking into it.
            latest = list(self._kept.items())[1 - _MOST_KEPT :]
            self._kept = {**dict(latest), key: kept}
        return kept.gain

    def forward(self, x_BCHW: Tensor) -> Tensor:
        height, width = x_BCHW.shape[2], x_BCHW.shape[3]
        if torch.jit.is_scripting():
            return spectral_rescale(x_BCHW, self.gain(height, width))
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        asked = self.implementation == "products"  # on any grid: exported graphs compare no sides
        by_products = asked or (
            self.implementation != "reference" and prefer_products(height, width)
        )
        if by_products and not asked and prefer_hartley(x_BHWC):
            gain_2HWC = self.kept_gain(height, width, "2HWC")
            return spectral_rescale_hartley(x_BHWC, gain_2HWC).permute(0, 3, 1, 2)
        if by_products:
            gain_HKC = self.kept_gain(height, width, "HKC")
            return spectral_rescale_products(x_BHWC, gain_HKC).permute(0, 3, 1, 2)
        return spectral_rescale(x_BCHW, self.kept_gain(height, width))

    def train(self, mode: bool = True) -> "SpectralRescale":
        self._kept = {}
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> "SpectralRescale":
        self._kept = {}
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def extra_repr(self) -> str:
        channels, rows, columns = self.theta.shape
        return f"{channels}, half_spectrum=({rows}, {columns}), gate={self.gate!r}"


# The grid decides what is computed, which symbolic tracing cannot follow.
register_notrace_module(SpectralRescale)
