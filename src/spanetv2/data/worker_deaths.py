"""Where PyTorch may raise that a loading process died: not amid other work.

PyTorch does it in the handler of SIGCHLD, wherever this process is. Between the taking of a lock
and the ``with`` that gives it back, the lock stays taken: the loader's own end waits for ever.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.utils.data._utils import signal_handling

__all__ = ["check_workers", "hold_deaths"]

_WAITING = ("_recv", "select")
"""Functions that wait for other processes, of ``multiprocessing`` and ``selectors``."""

_FOR_A_BATCH = "_try_get_data"
"""PyTorch's, within which they wait for a batch."""


class _Held:
    """PyTorch's handler of SIGCHLD, called only while this process waits for a batch."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]):
        self.handler = handler
        self.noted = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.noted = True
        if frame is None or frame.f_code.co_name not in _WAITING:
            return
        outer: FrameType | None = frame
        while outer is not None and outer.f_code.co_name != _FOR_A_BATCH:
            outer = outer.f_back
        if outer is not None:
            self.check(frame)

    def check(self, frame: FrameType | None = None) -> None:
        if self.noted:
            self.noted = False
            self.handler(signal.SIGCHLD, frame)


def hold_deaths() -> None:
    """From now on PyTorch raises the death of a loading process where that breaks nothing.

    To be called when loading processes have been started, before each batch ``check_workers``.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if callable(handler) and getattr(handler, "__module__", "") == signal_handling.__name__:
        signal.signal(signal.SIGCHLD, _Held(handler))


def check_workers() -> None:
    """Raise what PyTorch says of a loading process that died since the last batch.

    Raises:
        RuntimeError: PyTorch's.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
        handler = signal.getsignal(signal.SIGCHLD)
        if isinstance(handler, _Held):
            handler.check()
