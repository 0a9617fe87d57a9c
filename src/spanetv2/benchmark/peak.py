"""The process that ``memory.cpu_peak`` starts: ``python -m spanetv2.benchmark.peak TASK``."""

import importlib
import json
import sys

import torch

from spanetv2.benchmark.memory import run_and_watch
from spanetv2.benchmark.networks import network_step
from spanetv2.benchmark.settings import Cell

__all__ = ["main"]


def main(task: str) -> None:
    """Print the peak memory of a cell in MiB.

    Args:
        task: JSON with ``cell``, ``channels_last``, ``threads``, and ``find``, module and name of
            the function that gives the network.
    """
    wanted = json.loads(task)
    torch.set_num_threads(wanted["threads"])
    module, name = wanted["find"]
    step = network_step(
        Cell(**wanted["cell"]),
        device="cpu",
        channels_last=wanted["channels_last"],
        onnx_arena=False,
        find=getattr(importlib.import_module(module), name),
    )
    print(run_and_watch(step))


if __name__ == "__main__":
    main(sys.argv[1])
