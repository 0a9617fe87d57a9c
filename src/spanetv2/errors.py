"""What is raised for a user to read, as opposed to a fault of the program."""

__all__ = ["ConfigError", "Interrupted", "UserError", "reasons"]


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


def reasons(error: BaseException) -> list[BaseException]:
    """An error and what led to it, from the last to the first; each once, also in a circle."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:  # two can be each other's cause and context
        chain.append(one)
        one = one.__cause__ or one.__context__
    return chain
