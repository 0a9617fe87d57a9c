"""What the machine can do at most: measured rates of matrix products and of copying.

They turn an operator's multiply-adds and bytes into a floor: no implementation is faster than the
longer of the two times, except where its data stay in a cache (which the copy's do not).
"""

import time
from typing import NamedTuple

import torch

from spanetv2.benchmark.timing import wait

__all__ = ["Rates", "measure_rates"]


class Rates(NamedTuple):
    """Highest rates seen."""

    multiply_adds: float
    """per second, in a square matrix product"""
    bytes: float
    """per second, read and written together"""

    def floor(self, multiply_adds: float, moved: float) -> tuple[float, float]:
        """Seconds that computing and moving take at least.

        Example:
            >>> Rates(multiply_adds=1e12, bytes=1e10).floor(2e9, 1e9)
            (0.002, 0.1)
        """
        return multiply_adds / self.multiply_adds, moved / self.bytes


def measure_rates(
    dtype: torch.dtype,
    device: str,
    *,
    side: int | None = None,
    megabytes: int | None = None,
    runs: int = 10,
) -> Rates:
    """Measure both rates: the fastest of a few runs each.

    Args:
        dtype: of the matrices.
        device: where.
        side: rows and columns of the matrices; by default 8192 on a GPU, 1536 elsewhere.
        megabytes: size of what is copied; by default 1024 on a GPU, 256 elsewhere.
        runs: timings of each; the first, which warms up, does not count.
    """
    on_gpu = device.startswith("cuda")
    side = side or (8192 if on_gpu else 1536)
    size = (megabytes or (1024 if on_gpu else 256)) * 10**6
    generator = torch.Generator().manual_seed(0)
    # Random numbers: zeros would save power, and so run faster than real data.
    a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = {"product": float("inf"), "copy": float("inf")}
    product = torch.empty_like(a)
    for number in range(runs + 1):
        for name in best:
            wait(device)
            start = time.perf_counter()
            if name == "product":
                torch.mm(a, b, out=product)
            else:
                target.copy_(source)
            wait(device)
            seconds = time.perf_counter() - start
            if number:
                best[name] = min(best[name], seconds)
    return Rates(multiply_adds=side**3 / best["product"], bytes=2 * size / best["copy"])
