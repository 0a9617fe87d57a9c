"""What lets the tokens of a network see each other, found by listening to a forward pass.

A module mixes tokens where its own code (not that of a module inside it) runs an operation that
joins places: a convolution or a pooling of more than 1 x 1, attention, a product of two
activations as attention makes, a Fourier transform, a recurrent layer, or a linear layer along the
tokens. Names do not matter. Means over a whole map (as in squeeze-and-excitation) are not counted,
and neither is what changes the grid: that is downsampling.

Shape suffixes: B images, C channels, H and W the grid in tokens.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spanetv2.analysis.arrangement import MapLog
from spanetv2.analysis.network import feed, measuring, unwrapped

__all__ = ["Mixing", "listen", "uncompiled_names"]

_COMPILED = "_orig_mod"  # torch.compile's addition to the names of what it wraps
_ATTENTION = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
_PRODUCTS = (
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__),
    *(torch.bmm, Tensor.bmm, torch.baddbmm, torch.einsum),
)
_FOURIER = (torch.fft.rfft2, torch.fft.fft2, torch.fft.rfftn, torch.fft.fftn)
_POOLING = (F.max_pool2d, torch.max_pool2d, F.avg_pool2d)
_MOST_PREFIX = 10
"""Class tokens and registers that a sequence may have before the grid's tokens."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixing:
    """A module whose own code joins tokens.

    Args:
        place: its name in the network.
        kind: attention, convolution, pooling, fourier, recurrent or mlp.
        module: the module.
    """

    place: str
    kind: str
    module: nn.Module


def uncompiled_names(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules, without what compilation puts around some of them and into their names."""
    for name, module in unwrapped(model).named_modules():
        if unwrapped(module) is module:
            yield ".".join(part for part in name.split(".") if part != _COMPILED), module


def listen(model: nn.Module, images_BCHW: Tensor) -> list[Mixing]:
    """The modules that mix tokens in a forward pass, in the order in which they are called.

    Args:
        model: the network; it is run in evaluation mode and left in its own.
        images_BCHW: normalised images; one is enough.
    """
    images_BCHW = feed(model, images_BCHW)
    ear = _Ear(model, images_BCHW)
    with torch.no_grad(), measuring(model), ear.following(), ear:
        model(images_BCHW)
    return list(ear.heard.values())


class _Ear(TorchFunctionMode):
    """Notes the innermost running module whenever an operation joins tokens."""

    def __init__(self, model: nn.Module, images_BCHW: Tensor) -> None:
        super().__init__()
        self.heard: dict[str, Mixing] = {}
        self._batch = len(images_BCHW)
        self._modules = list(uncompiled_names(model))
        self._log = MapLog(model, images_BCHW)
        self._running: list[tuple[str, nn.Module]] = []

    @contextmanager
    def following(self) -> Iterator[None]:
        """Know which module is running."""
        with ExitStack() as stack:
            stack.enter_context(self._log)
            for place in self._modules:
                enter = place[1].register_forward_pre_hook(
                    lambda *_, place=place: self._running.append(place)
                )
                leave = place[1].register_forward_hook(
                    lambda *_: self._running.pop() and None, always_call=True
                )
                stack.callback(enter.remove)
                stack.callback(leave.remove)
                if isinstance(place[1], nn.RNNBase):
                    heard = place[1].register_forward_pre_hook(lambda *_: self._note("recurrent"))
                    stack.callback(heard.remove)
            yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (
            func in _ATTENTION
            or (func in _PRODUCTS and self._activations(args))
            or (func is torch.einsum and self._activations(args[1:]))
        ):
            self._note("attention")
        elif func in _FOURIER:
            self._note("fourier")
        result = func(*args, **kwargs)
        if func is torch.conv2d or func is F.conv2d:
            weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
            self._local("convolution", args[0], weight.shape[2:], result)
        elif func in _POOLING:
            self._local("pooling", args[0], (2, 2), result)
        elif func is F.linear and self._along_tokens(args[0]):
            self._note("mlp")
        return result

    def _local(self, kind: str, x: Tensor, kernel: Any, result: Any) -> None:
        """Note an operation on neighbours that leaves the grid as it is."""
        if max(kernel) > 1 and isinstance(result, Tensor) and result.shape[2:] == x.shape[2:]:
            self._note(kind)

    def _activations(self, args: tuple[Any, ...]) -> bool:
        """Two tensors that the images made, not weights."""
        found = [x for x in args if isinstance(x, Tensor)]
        return len(found) >= 2 and all(
            x.ndim >= 3 and not isinstance(x, nn.Parameter) and x.shape[0] % self._batch == 0
            for x in found
        )

    def _along_tokens(self, x: Tensor) -> bool:
        """A linear layer's input whose last axis holds a grid's tokens, and the one before not."""
        if x.ndim != 3 or x.shape[0] != self._batch:
            return False
        # the first map is the image itself
        counts = [height * width for height, width in self._log.latest()[:-1]]
        tokens = any(count <= x.shape[1] <= count + _MOST_PREFIX for count in counts)
        return x.shape[2] in counts and not tokens

    def _note(self, kind: str) -> None:
        if self._running:
            place, module = self._running[-1]
            self.heard.setdefault(place, Mixing(place=place, kind=kind, module=module))
