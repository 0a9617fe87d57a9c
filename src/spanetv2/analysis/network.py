"""A user's network while it is measured: in evaluation mode, uncompiled, and left as it was.

Shape suffixes: B images, C channels, H and W in pixels, K classes.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError

__all__ = [
    "feed",
    "first_line",
    "frozen",
    "logits_of",
    "measuring",
    "single_precision",
    "unwrapped",
]

_COMPILED = "OptimizedModule"  # what torch.compile makes of a module
_WRAPPERS = ("DataParallel", "DistributedDataParallel")


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside what ``torch.compile`` and data parallelism put around it.

    Example:
        >>> inner = nn.Linear(1, 1)
        >>> unwrapped(torch.compile(inner)) is inner
        True
    """
    while True:
        kind = type(module).__name__
        inner = None
        if kind == _COMPILED:
            inner = getattr(module, "_orig_mod", None)
        elif kind in _WRAPPERS:
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


@contextlib.contextmanager
def measuring(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode and run them uncompiled; afterwards all is as before.

    Hooks are not called inside compiled code, and what runs in training mode changes statistics
    and drops at random. Only the flags are set, no ``train()`` is called: some modules do more
    there than to change their mode.
    """
    changed = [m for module in modules for m in module.modules() if m.training]
    for module in changed:
        module.training = False
    # Nothing can be compiled before this part of PyTorch, which takes a second, is imported.
    compiling = "torch._dynamo" in sys.modules
    stance: Any = torch.compiler.set_stance("force_eager") if compiling else None
    try:
        with stance or contextlib.nullcontext():
            yield
    finally:
        for module in changed:
            module.training = True


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep backward passes away from a network's parameters and their gradients."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def feed(model: nn.Module, images_BCHW: Tensor) -> Tensor:
    """Images on the network's device and in its dtype (that of its first floating parameter)."""
    for value in [*model.parameters(), *model.buffers()]:
        if value.is_floating_point():
            return images_BCHW.to(value.device, value.dtype)
    return images_BCHW


def single_precision(x: Tensor) -> Tensor:
    """Half precision as float32, which every operator and numpy have; other dtypes as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def logits_of(model: nn.Module, images_BCHW: Tensor) -> Tensor:
    """A classifier's logits, (B, K), whatever its precision and however it wraps them.

    Networks that give several outputs give their logits first, or call them ``logits``.

    Raises:
        UserError: no classifier, or outputs that are not one row of classes per image.
    """
    if getattr(unwrapped(model), "num_classes", None) == 0:
        raise UserError(
            f"got a {type(unwrapped(model)).__name__} without a classifier (num_classes=0), whose "
            "outputs are features; expected a classifier"
        )
    output: Any = model(feed(model, images_BCHW))
    output = getattr(output, "logits", output)
    if isinstance(output, dict) and "logits" in output:
        output = output["logits"]
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(images_BCHW):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"got outputs {got} for {len(images_BCHW)} images, expected logits (images, classes)"
        )
    return single_precision(output)


def first_line(error: BaseException) -> str:
    """An error's message in one line."""
    line = (str(error).strip().splitlines() or [""])[0].strip()
    return line or "an error without a message"
