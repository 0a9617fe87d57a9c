"""What produced a run: command, versions, commit, hardware."""

from pathlib import Path
from typing import Any

from spanetv2.environment import describe_environment

__all__ = ["describe_run"]


def describe_run(command: str) -> dict[str, Any]:
    """Everything but the configuration that a result depends on, as JSON values.

    Args:
        command: how the run was started.
    """
    environment = describe_environment()
    return {
        "started": environment.pop("started"),
        "command": command,
        "folder": str(Path.cwd()),
        **environment,
    }
