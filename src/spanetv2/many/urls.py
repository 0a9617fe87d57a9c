"""Images in object stores, by their URLs: ``s3://bucket/folder``, as ``pyarrow.fs`` reads them."""

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from spanetv2.data.images import Failure
from spanetv2.data.paths import find_images, images_among
from spanetv2.data.walk import is_hidden
from spanetv2.errors import UserError
from spanetv2.text import one_line

__all__ = ["Source", "find_sources", "is_url", "read_url"]

Source = tuple[str | Failure, str]
"""What an image is called, or what is wrong with it, and from where it is read."""

_SAFE = "/:?&=%@+,;~!$'()*[]#"
"""What stays as it is in a URL that may hold blanks or letters beyond ASCII."""


def is_url(path: str) -> bool:
    """Whether a path is a URL.

    Example:
        >>> is_url("s3://bucket/cat.jpg"), is_url("photos/cat.jpg")
        (True, False)
    """
    return re.match(r"[a-z][a-z0-9+]+://", path) is not None


def find_sources(paths: Iterable[str]) -> Iterator[Source]:
    """Find images by files, folders, patterns, and URLs of files and folders.

    Args:
        paths: as given. What stands behind a ``?`` of a URL (``?endpoint_override=...``) is for the
            file system.

    Yields:
        What ``find_images`` gives for each image, and from where it is read: names are written out
        (``cat 1.jpg``), URLs to read from are encoded (``cat%201.jpg``).

    Raises:
        UserError: a URL of a kind that is not known, or an object store that does not answer.
    """
    for path in paths:
        if is_url(path):
            yield from _found(path)
        else:
            for entry in find_images([path]):
                yield entry, entry.path if isinstance(entry, Failure) else entry


def read_url(url: str) -> bytes:
    """The content of an object.

    Raises:
        OSError: it cannot be read.
    """
    parts = urlsplit(url)
    folder, _, name = parts.path.rpartition("/")
    system, inside = _file_system(parts._replace(path=folder + "/").geturl())
    with system.open_input_stream(f"{inside.rstrip('/')}/{unquote(name)}") as stream:
        return stream.read()


@functools.lru_cache(maxsize=256)
def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(quote(url, safe=_SAFE))
    except (ValueError, ImportError) as error:
        said = one_line(error)
        raise UserError(
            f"got {url}, expected a path, or a URL of a file system that pyarrow knows, such as "
            f"s3://bucket/folder ({said})"
        ) from None


def _found(url: str) -> Iterator[Source]:
    from pyarrow import fs

    plain, _, query = url.partition("?")
    given = plain.rstrip("/")
    system, top = _file_system(url)
    try:
        if system.get_file_info(top).type != fs.FileType.Directory:
            yield unquote(plain), url  # also where there is none: reading it says so
            return
        listed = system.get_file_info(fs.FileSelector(top, recursive=True))
    except OSError as error:
        said = one_line(error)
        raise UserError(f"cannot list {url} ({said}); check the address and the rights") from None
    inside = [info.path[len(top.rstrip("/")) :] for info in listed if info.is_file]
    inside = [path for path in inside if not any(map(is_hidden, path.strip("/").split("/")))]
    names = (unquote(given) + path for path in sorted(inside, key=lambda p: p.split("/")))
    for entry in images_among(unquote(plain), names):
        name = entry.path if isinstance(entry, Failure) else entry
        source = given + quote(name[len(unquote(given)) :])
        yield entry, f"{source}?{query}" if query else source
