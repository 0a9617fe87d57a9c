"""Loggers by short names: Lightning's own, beside the log that every run writes.

A configuration names them, ``loggers: [csv, {name: mlflow, tracking_uri: "file:runs"}]``, with
plain options of Lightning's class. ``csv`` and ``tensorboard`` without options are what
``RunLog`` writes anyway; with options they are one more, Lightning's, where the options say.

Reading a configuration needs no Lightning, so this module imports it where a logger is made.
"""

import functools
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2.errors import UserError
from spanetv2.files import read_json, write_json, writing
from spanetv2.text import one_line

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

__all__ = ["LOGGERS", "LoggerChoice", "RunLoggers", "check_packages", "read_loggers"]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A logger of Lightning's.

    Args:
        class_name: in ``lightning.pytorch.loggers``.
        package: what it needs to be installed; None where this package brings it.
        name_option: the option that names the run for people, ``run_name`` in a configuration.
        id_option: the option by which a resumed run is found again.
    """

    class_name: str
    package: str | None = None
    name_option: str = "name"
    id_option: str | None = None


LOGGERS: dict[str, _Kind] = {
    "csv": _Kind(class_name="CSVLogger"),
    "tensorboard": _Kind(class_name="TensorBoardLogger"),
    "wandb": _Kind(class_name="WandbLogger", package="wandb", id_option="id"),
    "mlflow": _Kind(
        class_name="MLFlowLogger", package="mlflow", name_option="run_name", id_option="run_id"
    ),
}
_WRITTEN_ANYWAY = ("csv", "tensorboard")


@dataclass(frozen=True, kw_only=True)
class LoggerChoice:
    """A logger that a configuration asks for.

    Args:
        name: one of ``LOGGERS``.
        options: keyword arguments of Lightning's class, and ``run_name``.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)


def read_loggers(value: Any) -> list["LoggerChoice | Logger"]:
    """What ``loggers`` asks for: a name, a mapping, a logger object, a list of these, or None.

    Raises:
        UserError: an unknown name, or no name at all.

    Example:
        >>> read_loggers("csv")
        [LoggerChoice(name='csv', options={})]
        >>> read_loggers([{"name": "mlflow", "experiment_name": "mine"}])
        [LoggerChoice(name='mlflow', options={'experiment_name': 'mine'})]
    """
    if value is None:
        return []
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        value = [value]
    return [_read_logger(entry) for entry in value]


def _read_logger(entry: Any) -> "LoggerChoice | Logger":
    options: dict[str, Any] = {}
    name = entry
    if isinstance(entry, Mapping):
        options = dict(entry)
        name = options.pop("name", None)
    elif hasattr(entry, "log_metrics"):
        return entry
    if not isinstance(name, str) or name not in LOGGERS:
        *first, last = LOGGERS
        raise UserError(
            f"loggers: got {name!r}, expected {', '.join(first)} or {last}, each as a name or as "
            "a mapping such as {name: mlflow, experiment_name: mine}"
        )
    return LoggerChoice(name=name, options=options)


def check_packages(value: Any) -> None:
    """Refuse loggers whose package is missing.

    Raises:
        UserError: with the command that installs it.
    """
    for choice in read_loggers(value):
        package = LOGGERS[choice.name].package if isinstance(choice, LoggerChoice) else None
        if package is not None and importlib.util.find_spec(package) is None:
            raise UserError(
                f"loggers: {package} is not installed; install it with `pip install {package}`, "
                f"or leave {package} out of loggers"
            )


def _name_its_place(logger: "Logger") -> None:
    """Have errors of the system name the folder that the logger writes to, where it is one."""
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    if isinstance(logger, (CSVLogger, TensorBoardLogger)):
        for name in ("log_hyperparams", "log_metrics", "save", "finalize"):
            method = getattr(logger, name)
            setattr(logger, name, functools.partial(_write, method, str(logger.root_dir)))


def _write(method: Callable[..., Any], folder: str, *args: Any, **options: Any) -> Any:
    with writing(folder):
        return method(*args, **options)


class RunLoggers:
    """The loggers of a run that its configuration asks for, found again when it is resumed.

    Args:
        value: the configuration's ``loggers``.
        folder: the run folder; what identifies the run to a server is kept in its ``logs``.
        resumed: whether the run goes on.
    """

    def __init__(self, value: Any, *, folder: Path, resumed: bool):
        self._folder = folder
        self._memory = folder / "logs" / "loggers.json"
        ids: dict[str, str] = {}
        if resumed and self._memory.is_file():
            ids = read_json(self._memory, expected="the loggers of a run")
        self._made: dict[str, Logger] = {}
        self.loggers: list[Logger] = []
        for choice in read_loggers(value):
            if not isinstance(choice, LoggerChoice):
                self.loggers.append(choice)
            elif choice.options or choice.name not in _WRITTEN_ANYWAY:
                logger = self._make(choice, ids.get(choice.name))
                self.loggers.append(logger)
                self._made.setdefault(choice.name, logger)
        for logger in self.loggers:
            _name_its_place(logger)

    def begin(self, configuration: Mapping[str, Any] | None) -> None:
        """Open the loggers, keep their runs' names, and tell them what is trained.

        Called on the first process only.

        Args:
            configuration: the whole configuration; None where the run goes on, whose loggers
                have it already.

        Raises:
            UserError: a logger that cannot be opened.
        """
        for logger in self.loggers:
            try:
                if configuration is not None:
                    logger.log_hyperparams(dict(configuration))
                else:
                    _ = getattr(logger, "experiment", None)  # opens it
            except Exception as error:
                raise UserError(f"{type(logger).__name__}: {_one_line(error)}") from error
        ids = {
            name: str(logger.version)
            for name, logger in self._made.items()
            if LOGGERS[name].id_option is not None
        }
        if ids:
            write_json(self._memory, ids)

    def _make(self, choice: LoggerChoice, run_id: str | None) -> "Logger":
        import lightning.pytorch.loggers

        kind = LOGGERS[choice.name]
        options = self._defaults(choice.name) | choice.options
        if "run_name" in options:
            options[kind.name_option] = options.pop("run_name")
        if run_id is not None and kind.id_option is not None:
            options.setdefault(kind.id_option, run_id)
            if choice.name == "wandb":
                options.setdefault("resume", "allow")
        if choice.name == "mlflow" and str(options.get("tracking_uri", "")).startswith("file:"):
            # asked for by name: newer versions of MLflow want this to be said a second time
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            return getattr(lightning.pytorch.loggers, kind.class_name)(**options)
        except Exception as error:
            raise UserError(f"loggers, {choice.name}: {_one_line(error)}") from error

    def _defaults(self, name: str) -> dict[str, Any]:
        logs = self._folder / "logs"
        if name == "mlflow":
            uri = os.environ.get("MLFLOW_TRACKING_URI") or f"file:{logs.resolve() / 'mlruns'}"
            return {
                "experiment_name": "spanetv2",
                "run_name": self._folder.name,
                "tracking_uri": uri,
            }
        if name == "wandb":
            return {"project": "spanetv2", "run_name": self._folder.name, "save_dir": str(logs)}
        return {"save_dir": str(logs), "run_name": name}


def _one_line(error: Exception) -> str:
    return one_line(error) or type(error).__name__
