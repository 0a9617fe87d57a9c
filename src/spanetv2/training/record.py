"""What produced a run: command, versions, commit, hardware."""

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

__all__ = ["describe_run"]

_PACKAGES = (
    "spanetv2",
    "torch",
    "torchvision",
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
)


def describe_run(command: list[str]) -> dict[str, Any]:
    """Everything but the configuration that a result depends on, as JSON values.

    Args:
        command: arguments after the program's name.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["spanetv2", "train", *command]),
        "folder": str(Path.cwd()),
        "python": platform.python_version(),
        "packages": _packages(),
        "commit": _commit(),
        "hardware": _hardware(),
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
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        hardware["memory_gib"] = round(size / 2**30, 1)
    if torch.cuda.is_available():
        devices = range(torch.cuda.device_count())
        hardware["gpus"] = [torch.cuda.get_device_name(index) for index in devices]
        hardware["cuda"] = torch.version.cuda
    return hardware


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
