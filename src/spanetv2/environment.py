"""What a result depends on beside its settings: versions, commit, hardware."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "describe_device",
    "describe_environment",
    "processor_instructions",
    "processor_kind",
]

_PACKAGES = (
    "spanetv2",
    "torch",
    "torchvision",
    "triton",
    "timm",
    "lightning",
    "torchmetrics",
    "numpy",
    "pillow",
    "safetensors",
    "scikit-learn",
    "jsonargparse",
    "datasets",
    "webdataset",
    "onnx",
    "onnxruntime",
    "openvino",
)
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "bf16")


def describe_environment() -> dict[str, Any]:
    """Time, Python, packages, commit and hardware, as JSON values.

    Example:
        >>> sorted(describe_environment())
        ['commit', 'hardware', 'packages', 'python', 'started']
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": _packages(),
        "commit": _commit(),
        "hardware": _hardware(),
    }


def describe_device(device: str) -> dict[str, str]:
    """Where a result was computed, and by which versions, as JSON values.

    Args:
        device: PyTorch's name of it.

    Example:
        >>> sorted(describe_device("cpu"))
        ['device', 'hardware', 'spanetv2', 'torch']
    """
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {
        "device": device,
        "hardware": name,
        "torch": str(torch.__version__),
        "spanetv2": importlib.metadata.version("spanetv2"),
    }


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the source checkout that the package is imported from, if it is one."""
    folder = Path(__file__).resolve().parent
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603 - fixed arguments
            [git, "-C", str(folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        ).stdout.strip()

    try:
        # an installed package may lie in someone else's repository: it is ignored there
        ask("ls-files", "--error-unmatch", str(Path(__file__).resolve()))
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", ".")
        return ask("rev-parse", "HEAD") + (" with uncommitted changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware() -> dict[str, Any]:
    hardware: dict[str, Any] = {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _of_processor("model name") or platform.processor(),
        "kind": processor_kind(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if found := processor_instructions():
        hardware["instructions"] = found
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        hardware["memory_gib"] = round(size / 2**30, 1)
    if torch.cuda.is_available():
        devices = range(torch.cuda.device_count())
        hardware["gpus"] = [torch.cuda.get_device_name(index) for index in devices]
        hardware["cuda"] = torch.version.cuda
    return hardware


def processor_instructions() -> list[str]:
    """Instructions of this processor that decide which precision is fast; none where unknown."""
    flags = set(_of_processor("flags", "Features").split())
    return [name for name in _INSTRUCTIONS if name in flags]


_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


def processor_kind() -> str:
    """Vendor and widest vectors of the processor: what the speed of library kernels goes by.

    Of AMD's also the family, as theirs differ in the width of the units: 25 (Zen 3 and 4) and 26
    (Zen 5). "unknown" where Linux does not tell.

    Example:
        >>> processor_kind() in ("Intel avx512f", "AMD family 26 avx512f") or True
        True
    """
    vendor = _VENDORS.get(_of_processor("vendor_id"))
    if vendor is None:
        return "unknown"
    family = f" family {_of_processor('cpu family')}" if vendor == "AMD" else ""
    flags = _of_processor("flags").split()
    widest = next((name for name in ("avx512f", "avx2") if name in flags), "")
    return f"{vendor}{family} {widest}".strip()


def _of_processor(*names: str) -> str:
    """The first entry of one of these names in Linux's description of the processor, or ""."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in names:
                    return value.strip()
                if not name.strip():  # the next core
                    break
    except OSError:
        pass
    return ""
