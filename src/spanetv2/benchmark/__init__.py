"""Speed and memory, side by side: networks, and token mixers alone."""

from spanetv2.benchmark.run import run_networks, run_operators
from spanetv2.benchmark.settings import Settings

__all__ = ["Settings", "run_networks", "run_operators"]
