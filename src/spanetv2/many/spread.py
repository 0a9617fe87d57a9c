"""A process per device, each with its part of a run."""

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from spanetv2.errors import UserError
from spanetv2.failures import describe_failure
from spanetv2.many.ranks import Ranks
from spanetv2.processes import describe_end, end_with_parent
from spanetv2.tasks.shard import Shard

__all__ = ["devices_of", "spread"]

_logger = logging.getLogger("spanetv2")
_UNGUARDED = (
    "no process for a device could begin; a script that asks for several devices does so under "
    'if __name__ == "__main__":, since each of them imports it'
)


def devices_of(text: str, ranks: Ranks | None = None) -> list[str]:
    """The devices of a comma-separated list.

    Args:
        text: names with commas between.
        ranks: this process among others; it has one device.

    Raises:
        UserError: an empty name, or several devices of one of several processes.

    Example:
        >>> devices_of("cuda:0, cuda:1")
        ['cuda:0', 'cuda:1']
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(f"got device {text!r}, expected names with commas between: cuda:0,cuda:1")
    if ranks is None:
        return names
    if len(names) > 1:
        raise UserError(f"got device {text!r} under torchrun, expected one: it gives each its own")
    return [ranks.device(names[0])]


def spread(
    function: Callable[..., Any],
    devices: Sequence[str],
    shard: Shard,
    arguments: Mapping[str, Any],
    tell: Callable[[int], None],
) -> None:
    """Run a function in a process for each device, and wait for all.

    Args:
        function: takes ``arguments`` and, by name, ``device``, ``shard`` as text, and ``tell``.
        devices: by name.
        shard: the part that is divided among them.
        arguments: what it takes; plain values.
        tell: told the number of images of each batch that is done.

    Raises:
        UserError: one of them failed; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    on_cpu = sum(torch.device(name).type == "cpu" for name in devices if name != "auto")
    threads = max(1, torch.get_num_threads() // max(1, on_cpu))
    running: dict[Connection, tuple[str, Any]] = {}
    said: set[str] = set()
    begun = False
    try:
        for index, device in enumerate(devices):
            ours, theirs = context.Pipe(duplex=False)
            part = shard.part(index, len(devices))
            given = {**arguments, "device": device, "shard": f"{part.number}/{part.of}"}
            process = context.Process(target=_work, args=(theirs, function, given, threads))
            try:
                process.start()
            except RuntimeError:  # in a process that imports a script without a guard
                raise SystemExit(1) from None  # the one that began it says so
            theirs.close()
            running[ours] = (device, process)
        while running:
            for connection in multiprocessing.connection.wait(list(running)):
                assert isinstance(connection, Connection)
                device, process = running[connection]
                try:
                    kind, value = connection.recv()
                except EOFError:
                    process.join()
                    unguarded = process.exitcode == 1 and not begun
                    told = _UNGUARDED if unguarded else _death(device, process.exitcode)
                    raise UserError(told) from None
                begun = True
                if kind == "images":
                    tell(value)
                elif kind == "message" and value not in said:
                    said.add(value)
                    _logger.warning("%s", value)
                elif kind == "error":
                    raise UserError(value)
                elif kind == "done":
                    process.join()
                    del running[connection]
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _death(device: str, status: int | None) -> str:
    how = describe_end(status) if status is not None and status < 0 else "ended without a word"
    return (
        f"the process of device {device} {how}; what it has written stays: --resume goes on, with "
        "fewer devices or smaller batches if memory ran out"
    )


def _work(
    connection: Connection,
    function: Callable[..., Any],
    arguments: dict[str, Any],
    threads: int,
) -> None:
    """What a process of a device does."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops it
    torch.set_num_threads(threads)
    with _telling(connection):
        try:
            connection.send(("begun", None))
            function(**arguments, tell=lambda images: connection.send(("images", images)))
        except UserError as error:
            connection.send(("error", str(error)))
        except Exception as error:
            if os.environ.get("SPANETV2_TRACEBACK"):
                raise
            told = describe_failure(error) or f"not foreseen: {error}"
            connection.send(("error", told))
        else:
            connection.send(("done", None))


class _Sent(logging.Handler):
    """Sends messages to the parent."""

    def __init__(self, connection: Connection):
        super().__init__(logging.WARNING)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(("message", record.getMessage()))


@contextlib.contextmanager
def _telling(connection: Connection) -> Iterator[None]:
    handler = _Sent(connection)
    _logger.addHandler(handler)
    try:
        yield
    finally:
        _logger.removeHandler(handler)
