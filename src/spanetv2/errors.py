"""The error that means: the input is wrong, not the program."""


class UserError(ValueError):
    """Bad input from a user: the message says what was got, what was expected and what to do.

    Command-line tools print it as one line and exit with status 1; library callers can catch it
    as the ``ValueError`` it is.
    """
