"""Finding the image files that an annotation file names, as other systems write paths.

A name is taken as it is wherever there is such a file. Otherwise it is read with the backslashes of
Windows, with ``%20`` for a space, as a link; and its last parts are looked for below the folder of
the images, however accents are encoded (NFC, NFD) and whatever the case of letters. A file is taken
only if it is the only one that fits best.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from spanetv2.data.images import Failure
from spanetv2.data.walk import walk

__all__ = ["FoundFile", "ImageFiles"]

_SHOWN = 3


class FoundFile(NamedTuple):
    """Where an image lies."""

    path: str
    """the file; where none fits, the one that the name says"""
    how: str = ""
    """how it was found, where the name as it is leads nowhere; "" otherwise"""
    fault: str = ""
    """why none was taken; "" otherwise"""


class ImageFiles:
    """The image files of a data set.

    Args:
        folder: that the names start from.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self._index: dict[str, list[tuple[str, ...]]] | None = None

    def find(self, name: str) -> FoundFile:
        """The file of a name in the annotations."""
        exact = self.folder / name
        if _is_there(exact):
            return FoundFile(str(exact))
        for written, how in _readings(name):
            if _is_there(self.folder / written):
                return FoundFile(str(self.folder / written), how)
        return self._by_parts(name, exact)

    def _by_parts(self, name: str, exact: Path) -> FoundFile:
        wanted = _parts(unquote(_without_scheme(name)).replace("\\", "/"))
        nothing = FoundFile(str(exact), fault="no such file")
        if not wanted:
            return nothing
        found = self._files().get(wanted[-1], [])
        best = [(_common(wanted, tuple(map(_plain, parts))), parts) for parts in found]
        # A folder that is named, and is another one, is no spelling; a path of elsewhere may lead
        # anywhere.
        best = [
            (length, parts)
            for length, parts in best
            if length in (len(wanted), len(parts)) or _is_absolute(name)
        ]
        longest = max((length for length, _ in best), default=0)
        fitting = [parts for length, parts in best if length == longest]
        if not fitting:
            return nothing
        if len(fitting) > 1:
            listed = ", ".join("/".join(parts) for parts in fitting[:_SHOWN])
            more = ", ..." if len(fitting) > _SHOWN else ""
            reason = f"no such file; {len(fitting)} files in {self.folder} could be meant"
            return FoundFile(str(exact), fault=f"{reason} ({listed}{more})")
        [parts] = fitting
        written = [part for part in name.replace("\\", "/").split("/") if part]
        if len(written) >= len(parts) and tuple(written[-len(parts) :]) == parts:
            how = "the end of the path"
        elif len(written) == len(parts):
            how = "other letters (case, accents or %)"
        else:
            how = "the name of the file"
        return FoundFile(str(self.folder.joinpath(*parts)), how)

    def _files(self) -> dict[str, list[tuple[str, ...]]]:
        """Files below the folder by the plain form of their last part; made when first needed."""
        if self._index is None:
            self._index = defaultdict(list)
            top = str(self.folder)
            for entry in walk(top):
                if not isinstance(entry, Failure):
                    parts = Path(entry).relative_to(top).parts
                    self._index[_plain(parts[-1])].append(parts)
        return self._index


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """Other paths that a name may mean, and what makes them so."""
    slashes = name.replace("\\", "/")
    if slashes != name:
        yield slashes, "backslashes"
    for written, how in ((name, "% in the name"), (slashes, "backslashes and % in the name")):
        if (decoded := unquote(written)) != written:
            yield decoded, how
    if (rest := _without_scheme(slashes)) != slashes:
        yield unquote(rest), "a link"


def _without_scheme(name: str) -> str:
    """``file:///a/b.jpg``, ``https://host/a/b.jpg?x=1`` and ``/data/?d=a/b.jpg`` without these."""
    head, mark, rest = name.partition("?d=")
    if mark:
        return rest
    if "://" in head:
        return head.partition("://")[2].partition("?")[0]
    return name


def _is_absolute(name: str) -> bool:
    return name[:1] in ("/", "\\") or name[1:2] == ":" or "://" in name


def _parts(path: str) -> tuple[str, ...]:
    return tuple(_plain(part) for part in path.split("/") if part not in ("", ".", ".."))


def _plain(text: str) -> str:
    """Texts that people would call the same name become equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts two paths have in common, from the end."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _is_there(path: Path) -> bool:
    try:
        # Not only files: what else lies there is said when it is read.
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False
