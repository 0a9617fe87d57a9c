"""How many groups, tokens and warps a program of the projection's kernels has, per grid and card.

Found by ``python benchmarks/gpu_settings.py`` and written down here; until a card was measured, by
the registers that the compiler reports.
"""

from typing import NamedTuple

__all__ = ["KERNELS", "MEASURED", "SIZES", "Setting", "candidates", "setting"]

KERNELS = ("statistics", "expansion", "gradient_sums", "gradient_of_map")
"""The kernels that have a setting each."""


class Setting(NamedTuple):
    """Of one kernel."""

    groups: int
    """groups of a program, a power of two"""
    tokens: int
    """tokens of a program or of one turn of its loop, a power of two"""
    warps: int


SIZES = (64, 256, 1024)
"""Tokens up to which a row of the table holds; the last one for all beyond."""

_COMPUTED: dict[str, tuple[Setting, ...]] = {
    "statistics": (Setting(8, 64, 4), Setting(2, 256, 4), Setting(1, 512, 4)),
    "expansion": (Setting(8, 64, 4), Setting(2, 256, 4), Setting(1, 512, 4)),
    "gradient_sums": (Setting(2, 64, 8), Setting(1, 128, 8), Setting(1, 128, 8)),
    "gradient_of_map": (Setting(8, 64, 4), Setting(2, 256, 4), Setting(1, 512, 4)),
}

MEASURED: dict[str, dict[tuple[int, int], Setting]] = {}
"""By kernel: (major number of the card's compute capability, tokens) to what was the fastest."""


def candidates(kernel: str, tokens: int) -> list[Setting]:
    """What the command tries for a kernel."""
    groups, size, warps = setting(kernel, tokens, 0)
    tried = {
        (max(1, groups * g // 2), max(64, size * n // 2), w)
        for g in (1, 2, 4)
        for n in (1, 2, 4)
        for w in (warps // 2, warps, 2 * warps)
        if groups * size // 2 <= groups * g // 2 * (size * n // 2) <= 2 * groups * size
    }
    return [Setting(*one) for one in sorted(tried)]


def setting(kernel: str, tokens: int, generation: int) -> Setting:
    """The setting of a kernel.

    Args:
        kernel: one of ``KERNELS``.
        tokens: N of the grid.
        generation: major number of the card's compute capability.

    Example:
        >>> setting("expansion", 3136, 9)
        Setting(groups=1, tokens=512, warps=4)
    """
    measured = MEASURED.get(kernel, {}).get((generation, tokens))
    if measured is not None:
        return measured
    row = sum(tokens > size for size in SIZES[:-1])
    return _COMPUTED[kernel][row]
