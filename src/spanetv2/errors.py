"""What is raised for a user to read, as opposed to a fault of the program."""

__all__ = ["ConfigError", "Interrupted", "UserError"]


class UserError(ValueError):
    """Bad input from a user: the message says what was got, what was expected and what to do.

    Command-line tools print it as one line and exit with status 1; library callers can catch it
    as the ``ValueError`` it is.
    """


class ConfigError(UserError):
    """An option that does not exist, or a value that does not fit it."""


class Interrupted(BaseException):
    """A training run was stopped by a signal; the text tells what was saved and how to go on.

    Not an ``Exception``, as ``KeyboardInterrupt`` is none: nothing should swallow it by accident.

    Args:
        message: for the user.
        status: exit status by convention, 128 + the signal's number (130 Ctrl-C, 143 SIGTERM).
    """

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status
