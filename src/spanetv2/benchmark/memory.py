"""Peak memory of a step beyond weights and images.

On a GPU the allocator counts. On a CPU (Linux only) the step runs in a process of its own, and the
kernel tells how much more memory than before the process had at its highest: in it is what the
libraries take for themselves, but nothing of imports and compilation.
"""

import ctypes
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from spanetv2.benchmark.networks import find_classifier
from spanetv2.benchmark.settings import Cell
from spanetv2.benchmark.subject import FindSubject
from spanetv2.benchmark.timing import Step
from spanetv2.errors import UserError

__all__ = ["cpu_peak", "cuda_peak", "run_and_watch"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def cuda_peak(step: Step, device: str) -> float:
    """Peak GPU memory of one run, beyond what was allocated before, MiB."""
    step.tidy()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step.run()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - before
    step.tidy()
    return peak / 2**20


def cpu_peak(
    cell: Cell,
    *,
    channels_last: bool,
    threads: int,
    find: FindSubject = find_classifier,
) -> float:
    """Peak memory of one run of a network on the CPU, MiB.

    Args:
        cell: what to run.
        channels_last: memory layout of images and weights.
        threads: to compute with.
        find: gives the network of a name; a function of a module, which the process imports.

    Raises:
        UserError: not Linux, or the process failed.
    """
    if not _RESET.exists():
        raise UserError(
            f"got --memory on {sys.platform}, expected Linux to measure the memory of a process; "
            "leave it out"
        )
    task = {
        "cell": asdict(cell),
        "channels_last": channels_last,
        "threads": threads,
        "find": [find.__module__, find.__qualname__],  # pyright: ignore[reportAttributeAccessIssue]
    }
    command = [sys.executable, "-m", "spanetv2.benchmark.peak", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - our own module
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the process that measures memory ({cell.title}) failed: {last}")
    return float(done.stdout.split()[-1])


def run_and_watch(step: Step) -> float:
    """Peak memory of this process during the step's second run, beyond what it had before, MiB.

    The first run compiles what is to be compiled and makes what is kept.
    """
    step.run()
    step.tidy()
    # What the allocator keeps in reserve goes back first, and the kernel is asked to forget the
    # highest use so far.
    ctypes.CDLL(None).malloc_trim(0)
    _RESET.write_text("5", encoding="ascii")
    before = _resident_kib("VmRSS")
    step.run()
    return (_resident_kib("VmHWM") - before) / 2**10


def _resident_kib(kind: str) -> int:
    """Memory of this process as Linux counts it: VmRSS now, VmHWM at its highest."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))
