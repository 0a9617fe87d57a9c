"""Energy of a pass, where the machine counts it.

On a CPU, Linux's powercap tells what the processor's packages and their memory have used (RAPL, of
Intel's and AMD's processors); on an NVIDIA GPU, NVML what the board has. Both count all that runs
there, idling included.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spanetv2.benchmark.timing import Step, wait
from spanetv2.errors import UserError

__all__ = ["POWERCAP", "EnergyMeter", "GpuMeter", "PowercapMeter", "energy_of", "open_meter"]

POWERCAP = Path("/sys/class/powercap")
_ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")
_COUNTED = re.compile(r"package-\d+(-die-\d+)?|dram")
"""Of RAPL's zones those that add up: core and uncore are parts of a package, psys is all."""
_LEAST_SECONDS = 1.0
"""Of a measurement: counters are renewed up to every tenth of a second."""


class EnergyMeter(ABC):
    """Counters of energy.

    Attributes:
        source: what is counted, for people.
    """

    source: str

    @abstractmethod
    def read(self) -> Any:
        """The counters now."""

    @abstractmethod
    def joules(self, before: Any, after: Any) -> float:
        """Energy between two readings, J."""


class Zone(NamedTuple):
    """A counter of powercap."""

    name: str
    energy: Path
    """microjoules since some time"""
    limit: int
    """microjoules at which it starts again from 0"""


class PowercapMeter(EnergyMeter):
    """The processor's packages and their memory, as Linux's powercap counts them.

    Args:
        folder: in powercap's layout: ``intel-rapl:0/energy_uj`` and so on.

    Raises:
        UserError: it has no such counters, or they may not be read.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        self.zones = _zones(folder)
        self.source = "powercap: " + ", ".join(zone.name for zone in self.zones)

    def read(self) -> list[int]:
        return [_number(zone.energy) for zone in self.zones]

    def joules(self, before: list[int], after: list[int]) -> float:
        used = 0
        for zone, start, end in zip(self.zones, before, after, strict=True):
            used += end - start if end >= start else zone.limit - start + end
        return used / 1e6


def _zones(folder: Path) -> list[Zone]:
    found = []
    # Sub-zones lie in their packages' folders, too: there they are not looked for.
    for place in sorted(folder.glob("intel-rapl:*")) if folder.is_dir() else []:
        if _ZONE.fullmatch(place.name) is None:
            continue
        try:
            name = (place / "name").read_text(encoding="ascii").strip()
            if _COUNTED.fullmatch(name) is None:
                continue
            energy = place / "energy_uj"
            found.append(Zone(name, energy, _number(place / "max_energy_range_uj")))
            _number(energy)
        except PermissionError as error:
            raise UserError(
                f"got --energy, but {error.filename} may not be read; let root allow it "
                f"(chmod a+r {folder}/intel-rapl:*/energy_uj), or leave --energy out"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(
                f"got --energy, but {place} does not tell it ({error}); leave --energy out"
            ) from error
    if not found:
        raise UserError(
            f"got --energy, but this machine does not tell: no counter of a processor in {folder} "
            "(virtual machines have none, nor have systems other than Linux); leave --energy out"
        )
    return found


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


class GpuMeter(EnergyMeter):
    """A GPU's board, as NVML counts it (Volta and newer).

    Args:
        device: such as cuda or cuda:1.

    Raises:
        UserError: NVML is not there, or does not count this GPU's energy.
    """

    def __init__(self, device: str) -> None:
        try:
            import pynvml  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError(
                f"got --energy on {device}, which needs NVML; pip install nvidia-ml-py, or leave "
                "--energy out"
            ) from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            uuid = torch.cuda.get_device_properties(device).uuid
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            self.read()
        except pynvml.NVMLError as error:
            raise UserError(
                f"got --energy, but {device} does not tell ({error}); leave --energy out"
            ) from error
        self.source = f"NVML: {device}"

    def read(self) -> int:
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)

    def joules(self, before: int, after: int) -> float:
        return (after - before) / 1e3


def open_meter(device: str) -> EnergyMeter:
    """The meter of a device.

    Raises:
        UserError: the machine does not tell.
    """
    if device.startswith("cuda"):
        return GpuMeter(device)
    if device == "cpu":
        return PowercapMeter(POWERCAP)
    raise UserError(f"got --energy on {device}, expected cpu or cuda; leave --energy out")


def energy_of(
    steps: Mapping[Any, Step],
    meter: EnergyMeter,
    *,
    rounds: int,
    device: str,
    seconds: float | None = None,
    progress: Callable[[], Any] = lambda: None,
) -> dict[Any, list[float]]:
    """Energy of one run of every step, J, in turns as ``interleave`` takes its times.

    Args:
        steps: what to measure, by name.
        meter: the counters.
        rounds: measurements of each.
        device: where they run.
        seconds: that a measurement takes at least; steps are repeated until then. None is what
            the counters need.
        progress: called after every measurement.

    Returns:
        For every name as many values as rounds.
    """
    least = _LEAST_SECONDS if seconds is None else seconds
    found: dict[Any, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(_one(steps[name], meter, device, least))
            progress()
    return found


def _one(step: Step, meter: EnergyMeter, device: str, seconds: float) -> float:
    wait(device)
    start, before, runs = time.perf_counter(), meter.read(), 0
    while not runs or time.perf_counter() - start < seconds:
        for _ in range(step.repeats):
            step.run()
        wait(device)
        step.tidy()
        runs += step.repeats
    return meter.joules(before, meter.read()) / runs
