"""Text for people, whatever a file's name is made of."""

__all__ = ["printable", "shorten"]


def printable(text: str) -> str:
    r"""A file name as one line of valid text: control characters and stray bytes are escaped.

    Example:
        >>> printable("a\nb.jpg")
        'a\\nb.jpg'
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, length: int = 32) -> str:
    """Cut a text that has no room, and mark the cut.

    Example:
        >>> shorten("Egyptian Mau", 9)
        'Egyptian…'
    """
    return text if len(text) <= length else text[: length - 1] + "…"
