"""A token mixer at the input that images gave it, as a function of maps.

Networks call their mixers with maps (B, C, H, W) or (B, H, W, C), with sequences (B, P + N, C) of P
class tokens and N = H * W patches, or with parts of an image (windows, every other pixel), each a
short sequence of its own. Here all of them are functions of maps (B, C, H, W).

Shape suffixes: B batch, C channels, H and W the grid in tokens, S a sequence's tokens.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.analysis.network import measuring
from spanetv2.errors import UserError

__all__ = ["SAME", "MixerCall", "PartOrder", "TokenMixer"]

SAME = object()
"""Stands among a call's arguments for the input given once more, as to query, key and value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenMixer:
    """One token mixer of a network."""

    name: str
    """Its place in the network, such as "stages.0.blocks.1.token_mixer"."""
    block: str
    """The block it belongs to."""
    kind: str
    """spam, attention, convolution, pooling, mlp, fourier or recurrent; other where nothing
    tells."""
    stage: int
    """Number of the stage, from 1; 1 for networks without stages."""
    module: nn.Module
    """The module; for windowed attention, the block."""
    function: Callable[..., Any]
    """Maps the captured input to the mixer's output."""
    source: nn.Module
    """The module whose call is captured."""
    capture: str
    """"input" or "output": what of that call the mixer works on."""
    tokens_last: bool = False
    """It works on (B, C, S) and its block on (B, S, C)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PartOrder:
    """Which tokens of an image lie where in the parts that a mixer works on."""

    grid: tuple[int, int]
    """(H, W) in tokens."""
    places: Tensor
    """(L, ...): the flat place on the grid of each token of one image's parts; -1 for padding."""
    channel_axis: int
    """Where the channels stand in the mixer's input, such as -1."""

    @property
    def inverse(self) -> Tensor:
        """(H * W,): where each token of the grid lies among the parts' tokens."""
        flat = self.places.flatten()
        used = (flat >= 0).nonzero().flatten()
        return used[flat[used].argsort()]

    def holds(self, parts: Tensor) -> bool:
        """Whether a tensor's tokens are divided as the mixer's input."""
        if parts.ndim != self.places.ndim + 1:
            return False
        rows, *rest = parts.movedim(self.channel_axis, -1).shape[:-1]
        return rest == list(self.places.shape[1:]) and rows % self.places.shape[0] == 0

    def map_of(self, parts: Tensor) -> Tensor:
        """Parts as maps (B, C, H, W).

        Raises:
            UserError: parts of other sizes.
        """
        if not self.holds(parts):
            raise UserError(
                f"it maps an image's parts {tuple(self.places.shape)} to other ones, "
                f"{tuple(parts.shape)}, not to the same grid"
            )
        parts = parts.movedim(self.channel_axis, -1)
        images = parts.shape[0] // self.places.shape[0]
        x_BSC = parts.reshape(images, -1, parts.shape[-1])
        inverse = self.inverse.to(x_BSC.device)
        return x_BSC[:, inverse].transpose(1, 2).unflatten(2, self.grid)

    def sides(self, tokens: int) -> tuple[int, int] | None:
        """(rows, columns) of a part of so many tokens that lie row by row; None if they do not."""
        if self.places.numel() % tokens:
            return None
        for part in self.places.reshape(-1, tokens):
            if part.min() < 0:
                continue  # padded
            row, column = part // self.grid[1], part % self.grid[1]
            ends = (row != row[0]).nonzero()
            width = int(ends[0]) if len(ends) else tokens
            if tokens % width:
                return None
            row, column = row.view(-1, width), column.view(-1, width)
            square = (row == row[:, :1]).all() and (column == column[:1]).all()
            return (row.shape[0], width) if square else None
        return None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MixerCall:
    """A token mixer at the input that some images gave it, as a function of maps."""

    mixer: TokenMixer
    x: Tensor
    """Its input on the grid, (B, C, H, W)."""
    layout: str
    """NCHW, NHWC, NSC (a sequence) or parts, as the network has it."""
    prefix: Tensor | None
    """(B, P, C): class tokens before the grid's; they stay fixed."""
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    """Its other arguments; ``SAME`` stands for the input."""
    order: PartOrder | None = None
    """Where the layout is parts: which token lies where."""

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) in tokens."""
        return self.x.shape[2], self.x.shape[3]

    def native(self, x_BCHW: Tensor) -> Tensor:
        """A map in the layout that the network's module takes."""
        if self.layout == "NCHW":
            return x_BCHW
        if self.layout == "NHWC":
            return x_BCHW.permute(0, 2, 3, 1)
        x_BSC = x_BCHW.flatten(2).transpose(1, 2)
        if self.order is not None:
            places = self.order.places.to(x_BSC.device)
            padded = torch.cat([x_BSC, torch.zeros_like(x_BSC[:, :1])], dim=1)
            parts = padded[:, places.flatten()].unflatten(1, places.shape).flatten(0, 1)
            return parts.movedim(-1, self.order.channel_axis)
        if self.prefix is not None:
            x_BSC = torch.cat([self.prefix[: x_BSC.shape[0]], x_BSC], dim=1)
        return x_BSC.transpose(1, 2) if self.mixer.tokens_last else x_BSC

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """The mixer's output map, (B, C, H, W), in evaluation mode."""
        x, (args, kwargs) = self.native(x_BCHW), self.arguments
        share = x_BCHW.shape[0], self.x.shape[0]
        args = [_argument(value, x, share) for value in args]
        kwargs = {name: _argument(value, x, share) for name, value in kwargs.items()}
        with measuring(self.mixer.module):
            return self.output_map(self.mixer.function(x, *args, **kwargs))

    def output_map(self, y: Any) -> Tensor:
        """What the mixer gives, or the first of it, as a map (B, C, H, W)."""
        y = y[0] if isinstance(y, tuple) else y
        if self.layout == "NCHW":
            return y
        if self.layout == "NHWC":
            return y.permute(0, 3, 1, 2)
        if self.order is not None:
            return self.order.map_of(y)
        if self.mixer.tokens_last:
            y = y.transpose(1, 2)
        extra = 0 if self.prefix is None else self.prefix.shape[1]
        tokens = extra + self.grid[0] * self.grid[1]
        if y.ndim != 3 or y.shape[1] != tokens:
            raise UserError(f"it maps {tokens} tokens to {tuple(y.shape)}, not to the same grid")
        return y[:, extra:].transpose(1, 2).unflatten(2, self.grid)

    def map_of(self, output: Any) -> Tensor | None:
        """The output of a module on the same tokens as (B, C, H, W); None if it is no such map."""
        output = output[0] if isinstance(output, tuple) else output
        if not isinstance(output, Tensor):
            return None
        height, width = self.grid
        if self.order is not None and self.order.holds(output):
            return self.order.map_of(output)
        if output.ndim == 4:
            first, last = output.shape[2:] == self.grid, output.shape[1:3] == self.grid
            if first and (self.layout != "NHWC" or not last):
                return output
            return output.permute(0, 3, 1, 2) if last else None
        extra = 0 if self.prefix is None else self.prefix.shape[1]
        if output.ndim == 3 and output.shape[1] == extra + height * width:
            return output[:, extra:].transpose(1, 2).unflatten(2, self.grid)
        return None


def _argument(value: Any, x: Tensor, images: tuple[int, int]) -> Any:
    """An argument for as many images as asked for, of those that were recorded."""
    if value is SAME:
        return x
    asked, recorded = images
    if isinstance(value, Tensor) and asked < recorded and value.ndim:
        rows = x.shape[0]
        if value.shape[0] * asked == rows * recorded:
            return value[:rows]
    return value
