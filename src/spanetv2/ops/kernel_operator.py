"""Triton kernels as PyTorch operators, on a GPU and in Triton's interpreter."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

__all__ = ["DTYPES", "can_launch", "interpreted", "kernel_operator", "wrap_triton"]

_HAS_TRITON = find_spec("triton") is not None
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
"""Of maps that kernels take."""
_OLDEST = (8, 0)
"""Compute capability from which Triton has bfloat16 and products in tf32."""


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on any device (``TRITON_INTERPRET=1``)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@torch.compiler.assume_constant_result
def _is_recent(index: int) -> bool:
    return torch.cuda.get_device_capability(index) >= _OLDEST


def can_launch(x: Tensor) -> bool:
    """Whether kernels can run on a tensor of at most 32 bits a value: with Triton, on a GPU from
    2020 on, or in the interpreter."""
    if not _HAS_TRITON or x.dtype not in DTYPES:
        return False
    return interpreted() or (x.is_cuda and _is_recent(x.device.index or 0))


def wrap_triton(kernel: Any) -> Any:
    """``torch.library.wrap_triton``, which PyTorch looks for by this name in an operator's source.

    In the interpreter the kernel is left as it is: older PyTorch refuses to wrap such a one.
    """
    return kernel if interpreted() else torch.library.wrap_triton(kernel)


def kernel_operator(name: str, like: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Register a function that launches kernels (through ``wrap_triton``) as an operator.

    ``torch.compile`` looks into it: the kernels become a part of the compiled program, which
    launches them without Python. In the interpreter there is nothing to look into, and the
    operator stays whole.

    Args:
        name: "namespace::name".
        like: takes the same arguments and returns what the function returns, its values unset.
    """

    def register(function: Callable[..., Any]) -> Any:
        if not interpreted():
            return torch.library.triton_op(name, function, mutates_args=())
        operator = torch.library.custom_op(name, function, mutates_args=())
        operator.register_fake(like)
        return operator

    return register
