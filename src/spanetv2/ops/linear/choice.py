"""In which form maps go through a network: lists of tokens, or maps with convolutions.

Which is faster depends on the processor's vendor and instructions, and on the precision.
``forms.json`` has what was measured; ``python benchmarks/forms.py`` measures, and writes the entry
of the processor it runs on.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spanetv2.environment import processor_kind

__all__ = ["FORMS", "PRECISIONS", "TABLE", "WORKS", "fastest_form", "takes_maps"]

FORMS = ("auto", "tokens", "maps")
"""How every linear layer of a network is computed; see ``spanetv2.set_form``."""
WORKS = ("eager inference", "eager training", "compiled inference", "compiled training")
"""What the table has an entry for, in each of these:"""
PRECISIONS = ("float32", "bfloat16")
"""In training, bfloat16 is automatic mixed precision."""
TABLE = Path(__file__).with_name("forms.json")


def _entry() -> dict[str, Any]:
    entries = json.loads(TABLE.read_text(encoding="utf-8"))
    return entries.get(processor_kind(), {})


_DTYPES = {name: getattr(torch, name) for name in PRECISIONS}
_FASTEST = {
    (work, _DTYPES[name]): cell["form"]
    for work, cells in _entry().items()
    for name, cell in cells.items()
}


def fastest_form(
    device: str, *, compiled: bool, training: bool, dtype: torch.dtype = torch.float32
) -> str:
    """The faster form on this machine, "tokens" or "maps"; "tokens" where nothing was measured.

    Args:
        device: type of the device, such as "cpu".
        compiled: under ``torch.compile``, or eagerly.
        training: with gradients, or without.
        dtype: what linear layers compute in.

    Example:
        >>> fastest_form("cuda", compiled=True, training=True)
        'tokens'
    """
    if device != "cpu":
        return "tokens"
    mode = "compiled" if compiled else "eager"
    return _FASTEST.get((f"{mode} {'training' if training else 'inference'}", dtype), "tokens")


def takes_maps(form: str, x: Tensor) -> bool:
    """Whether a module of a form computes with maps and convolutions.

    Args:
        form: one of ``FORMS``; "auto" asks the table, and is "tokens" wherever a graph is made for
            others to run (tracing, exporting).
        x: the module's input.
    """
    if not isinstance(x, Tensor):  # a stand-in of symbolic tracing
        return False
    if form != "auto":
        return form == "maps"
    device = x.device.type
    if device != "cpu" or torch.jit.is_tracing() or torch.compiler.is_exporting():
        return False
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    compiled, training = torch.compiler.is_compiling(), torch.is_grad_enabled()
    return fastest_form(device, compiled=compiled, training=training, dtype=dtype) == "maps"
