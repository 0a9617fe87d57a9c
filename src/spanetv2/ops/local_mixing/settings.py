"""How much a program of the kernels takes at a time, and how many warps: per grid, dtype and card.

Found by ``python benchmarks/gpu_settings.py`` and written down here; until a card was measured, by
the registers and the shared memory that the compiler reports.
"""

from typing import NamedTuple

__all__ = ["KERNELS", "MEASURED", "Setting", "candidates", "setting"]

KERNELS = ("forward", "backward_spectrum", "backward_input", "backward_rows")
"""The kernels that have a setting each."""


class Setting(NamedTuple):
    """Of one kernel."""

    images: int
    """images of a program or of one turn of its loop, a power of two"""
    columns: int
    """columns of the spectrum, cosines and sines, at a time; a power of two, at least 16"""
    warps: int
    stages: int
    """loads under way at a time"""


_COMPUTED: dict[str, dict[int, tuple[Setting, Setting]]] = {
    "forward": {
        16: (Setting(4, 16, 4, 3), Setting(4, 16, 4, 2)),
        32: (Setting(2, 32, 4, 3), Setting(2, 16, 4, 2)),
        64: (Setting(1, 64, 4, 3), Setting(1, 16, 8, 1)),
    },
    "backward_spectrum": {
        16: (Setting(4, 16, 4, 2), Setting(2, 16, 4, 2)),
        32: (Setting(2, 32, 4, 2), Setting(1, 16, 4, 2)),
        64: (Setting(1, 16, 4, 2), Setting(1, 16, 8, 1)),
    },
    "backward_input": {
        16: (Setting(4, 16, 4, 3), Setting(4, 16, 4, 2)),
        32: (Setting(2, 32, 4, 3), Setting(2, 32, 4, 2)),
        64: (Setting(1, 64, 4, 3), Setting(1, 32, 8, 2)),
    },
    "backward_rows": {
        16: (Setting(8, 16, 4, 3), Setting(4, 16, 4, 2)),
        32: (Setting(2, 32, 4, 3), Setting(1, 32, 4, 2)),
        64: (Setting(1, 64, 4, 3), Setting(1, 32, 8, 2)),
    },
}
"""By kernel and tile (longer side): in half precision, and in float32."""

MEASURED: dict[str, dict[tuple[int, int, int], Setting]] = {}
"""By kernel: (major number of the card's compute capability, tile, bytes of a value) to what was
the fastest."""


def candidates(kernel: str, tile: int, width: int) -> list[Setting]:
    """What the command tries for a kernel; arguments as for ``setting``."""
    images, columns, _, stages = setting(kernel, tile, width, 0)
    tried = {
        (max(1, images * n // 2), c, w, s)
        for n in (1, 2, 4)
        for c in (16, 32, 64)
        for w in (4, 8)
        for s in (1, 2, 3)
        if c <= max(16, tile) and (c == columns or s == stages)
    }
    return [Setting(*one) for one in sorted(tried)]


def setting(kernel: str, tile: int, width: int, generation: int) -> Setting:
    """The setting of a kernel.

    Args:
        kernel: one of ``KERNELS``.
        tile: longer side of the grid's tile, 16, 32 or 64.
        width: bytes of a value of the map.
        generation: major number of the card's compute capability.

    Example:
        >>> setting("forward", 64, 2, 9)
        Setting(images=1, columns=64, warps=4, stages=3)
    """
    measured = MEASURED.get(kernel, {}).get((generation, tile, width))
    return measured or _COMPUTED[kernel][tile][width > 2]
