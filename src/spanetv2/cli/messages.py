"""What the package has to say while a command runs: on standard error, whatever else logs."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from spanetv2.failures import describe_failure

__all__ = ["messages_on_stderr"]

_logger = logging.getLogger("spanetv2")


class _Printed(logging.Handler):
    """Prints messages as they are, on what is standard error by then."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)


class _Threads:
    """Threads whose failures have a sentence print no traceback.

    Those that wait for their work, as for TensorBoard's writer, raise the same again.
    """

    def __init__(self) -> None:
        self.before = threading.excepthook

    def __call__(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None or describe_failure(args.exc_value) is None:
            self.before(args)


@contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Print what goes to the ``spanetv2`` logger on standard error, a line for each message.

    A context inside another changes nothing: every message is printed once.
    """
    if any(isinstance(handler, _Printed) for handler in _logger.handlers):
        yield
        return
    if not isinstance(threading.excepthook, _Threads):
        threading.excepthook = _Threads()  # to stay: threads may outlive the block
    handler = _Printed(logging.WARNING)
    _logger.addHandler(handler)
    try:
        yield
    finally:
        _logger.removeHandler(handler)
