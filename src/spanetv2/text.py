"""Text for people, whatever a file's name is made of."""

import json
import re

__all__ = ["harmless", "one_line", "printable", "shorten"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Those of terminals, and those that turn the direction of text."""
_CURSOR_UP = "\x1b[A"
"""What a progress bar below another one writes, alone or after line ends."""


def printable(text: str) -> str:
    r"""A file name as one line of valid text: control characters and stray bytes are escaped.

    Example:
        >>> printable("a\nb.jpg")
        'a\\nb.jpg'
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def harmless(text: str) -> str:
    r"""A text for a terminal, whatever names are in it: control characters are escaped.

    Line ends, tabs and carriage returns stay; so do the movements of progress bars. Escapes are
    those of JSON, so that a line of JSON stays one.

    Example:
        >>> harmless("a\x1b[2Jb\n")
        'a\\u001b[2Jb\n'
    """
    if not text.replace(_CURSOR_UP, "").strip():
        return text
    return _CONTROL.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    """As JSON spells it."""
    return json.dumps(character)[1:-1]


def one_line(said: object) -> str:
    r"""What an error says, without its line ends.

    Example:
        >>> one_line(ValueError("no such\n  key"))
        'no such key'
    """
    return " ".join(str(said).split())


def shorten(text: str, length: int = 32) -> str:
    """Cut a text that has no room, and mark the cut.

    Example:
        >>> shorten("Egyptian Mau", 9)
        'Egyptian…'
    """
    return text if len(text) <= length else text[: length - 1] + "…"
