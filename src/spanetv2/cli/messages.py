"""What the package has to say while a command runs: on standard error, whatever else logs."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["messages_on_stderr"]

_logger = logging.getLogger("spanetv2")


class _Printed(logging.Handler):
    """Prints messages as they are, on what is standard error by then."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)


@contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Print what goes to the ``spanetv2`` logger on standard error, a line for each message.

    A context inside another changes nothing: every message is printed once.
    """
    if any(isinstance(handler, _Printed) for handler in _logger.handlers):
        yield
        return
    handler = _Printed(logging.WARNING)
    _logger.addHandler(handler)
    try:
        yield
    finally:
        _logger.removeHandler(handler)
