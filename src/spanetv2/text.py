"""Text for people, whatever a file's name is made of."""

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""A file name as one line of valid text: control characters and stray bytes are escaped.

    Example:
        >>> printable("a\nb.jpg")
        'a\\nb.jpg'
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
