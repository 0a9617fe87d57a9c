"""Reading what people write; writing files so that a reader never sees half of one."""

import codecs
import contextlib
import errno
import json
import os
import shutil
import socket
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError, reasons
from spanetv2.kept import refuse_to_replace
from spanetv2.target import find_target
from spanetv2.text import printable

__all__ = [
    "UniqueNames",
    "atomic_folder",
    "atomic_path",
    "json_rows",
    "read_json",
    "read_text",
    "remove_partial",
    "write_json",
    "write_text",
    "writing",
]

_LARGEST_TEXT = 64_000_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ROOM = 64 * 1024
_LONGEST = 200
"""Bytes of a name without its ending and number. File systems allow 255 in all, and the temporary
file beside it needs some of them."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], *, size: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it there when the block ends without an error.

    The temporary file keeps the suffix of ``path`` (writers that look at it, such as matplotlib,
    work unchanged), is flushed to disk before the move, and is removed if the block raises. The
    parent folder is made if it is missing. Where ``path`` is a link, what it points to is replaced.
    A device, a pipe or a socket is written to when the block ends, and stays what it is.

    Args:
        path: where the finished file belongs.
        size: bytes of it, for the message if there is no room, where they are known.

    Yields:
        The path to write to, in the same folder.

    Raises:
        UserError: the file is one that is read (see ``kept``), or there is no room for it.
        OSError: the folder cannot be made or written.
    """
    refuse_to_replace(path)
    target, special = find_target(path)
    folder = Path(tempfile.gettempdir()) if special else target.parent
    with writing(path, part=folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem[:_LONGEST]}-", suffix=f".part{target.suffix}", dir=folder
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with writing(path, part=temporary, size=size):
            yield temporary
            if special:
                _pour(temporary, target)
                return
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder that takes the place of ``path`` if the block ends without an error.

    What is at ``path``, which is for the caller to look at before, is replaced; a folder with
    files that came there since is not. The folder it is in is made if it is missing. Where ``path``
    is a link, what it points to is replaced.

    Raises:
        UserError: there is no room for it, or somebody else made it meanwhile.
        OSError: it cannot be made or written.
    """
    with contextlib.suppress(FileNotFoundError):
        Path(path).stat()  # a file amid the path is told as what it is
    target = Path(os.path.realpath(path))
    replaces = _is_filled(target)
    with writing(path, part=target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        around = tempfile.mkdtemp(
            prefix=f".{target.name[:_LONGEST]}-", suffix=".part", dir=target.parent
        )
    made, old = Path(around) / "new", Path(around) / "old"
    try:
        with writing(path, part=Path(around)):
            made.mkdir()
            yield made
            if not replaces and _is_filled(target):
                raise UserError(
                    f"{printable(str(path))}: was made by somebody else meanwhile, and stays; "
                    "choose another folder"
                )
            try:
                if target.is_dir():
                    target.replace(old)
                made.replace(target)
            except BaseException:  # Ctrl-C between the two as well
                if old.is_dir() and not target.exists():
                    old.replace(target)
                raise
    finally:
        shutil.rmtree(around, ignore_errors=True)


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextlib.contextmanager
def writing(
    path: str | os.PathLike[str], *, part: Path | None = None, size: int | None = None
) -> Iterator[None]:
    """Around writing an output: errors of the system name it, and that of a full disk the space.

    Args:
        path: the output, as it was given.
        part: the file or folder in which it is until it is whole.
        size: bytes of it, where they are known.

    Raises:
        UserError: there is no room for it.
        OSError: what else went wrong, with ``path`` where it names no file, or the part.
    """
    part = Path(path) if part is None else part
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (told := _no_room(error, path, part, size)) is not None:
            raise UserError(told) from error
        if isinstance(error, OSError) and error.errno is not None:
            name = error.filename
            if name is None or (isinstance(name, str) and Path(name).is_relative_to(part)):
                error.filename = str(path)
        raise


def read_text(path: str | os.PathLike[str], *, expected: str) -> str:
    """The text of a file that people write: UTF-8, or UTF-16 as its first two bytes say.

    Args:
        path: the file.
        expected: what it should be, for the message.

    Raises:
        UserError: it cannot be read, is larger than any such file, or has another encoding.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise UserError(f"{printable(str(path))}: larger than 64 MB, expected {expected}")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot read {printable(str(path))} ({reason.lower()}), expected {expected}"
        ) from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"cannot read {printable(str(path))} (not UTF-8 text: line {line} has the byte "
            f"{data[error.start]:#04x}), expected {expected}; save it as UTF-8"
        ) from None


def read_json(path: str | os.PathLike[str], *, expected: str) -> Any:
    """What a JSON file says, read by ``read_text``.

    Raises:
        UserError: it cannot be read, or is no JSON.
    """
    text = read_text(path, expected=expected)
    where = printable(str(path))
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{where}: nested too deeply, expected {expected}") from None
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}), expected {expected}") from None


def _pour(source: Path, target: Path) -> None:
    """Write a file's content into a device, a pipe or a socket."""
    with source.open("rb") as stream:
        if target.is_socket():
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(str(target))
                other.sendfile(stream)
        else:
            with target.open("wb") as other:
                shutil.copyfileobj(stream, other)


def _no_room(
    error: BaseException, path: str | os.PathLike[str], part: Path, size: int | None
) -> str | None:
    """What to say of an error whose reason is a full disk; None for others.

    Libraries that write files raise errors of their own, some without the reason.
    """
    numbers = {getattr(one, "errno", None) for one in reasons(error)}
    written, free = 0, 0
    with contextlib.suppress(OSError):
        written = sum(os.lstat(one).st_size for one in (part, *part.rglob("*")))
        free = shutil.disk_usage(part if part.is_dir() else part.parent).free
    full = free < max(_ROOM, (size or 0) - written) and not isinstance(error, OSError)
    text = str(error)
    if not (numbers & {*_FULL} or full or any(os.strerror(number) in text for number in _FULL)):
        return None
    needed = f"it needs {_amount(max(size or 0, written + 1))}"
    if size is None:
        needed = f"it needs more than {_amount(written)}"
    why = "no space left on the device"
    if errno.EFBIG in numbers or os.strerror(errno.EFBIG) in text:
        why = "the system allows no file of that size"
    if errno.EDQUOT in numbers or os.strerror(errno.EDQUOT) in text:
        why = "the quota of disk space is used up"
    return (
        f"{printable(str(path))}: {why}: {needed}, {_amount(free)} are free; nothing was replaced; "
        "make room or choose another folder"
    )


def _amount(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.1f} kB"


def remove_partial(folder: Path) -> None:
    """Remove what ``atomic_path`` was writing into a folder when its process was killed."""
    for left in folder.glob(".*-????????.part*"):
        with contextlib.suppress(OSError):
            left.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, atomically; stray bytes of names in it become escapes."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. Not-a-number is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def json_rows(
    path: str | os.PathLike[str], *, lines: bool = False
) -> Iterator[Callable[[Any], None]]:
    """Write JSON row by row; the file appears when it is whole.

    A name in it that is not valid text becomes the JSON escape of its stray bytes.

    Args:
        path: where the finished file belongs.
        lines: one row per line and nothing around them, instead of an array.

    Yields:
        A function that writes a row.

    Raises:
        OSError: the folder cannot be made or written.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        count = 0

        def write(row: Any) -> None:
            nonlocal count
            start = "" if lines else (",\n" if count else "[\n")
            stream.write(start + json.dumps(row, ensure_ascii=False) + ("\n" if lines else ""))
            count += 1

        yield write
        if not lines:
            stream.write("\n]\n" if count else "[]\n")


class UniqueNames:
    """Names for what is written about input files, so that no output replaces another.

    The second file of a name gets ``-2``, the third ``-3``. Names that differ only by case, or by
    how an accent is encoded, count as one: some file systems do not tell them apart. Characters
    that cannot be printed are escaped, and a name too long for a file system is cut.
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}

    def name(self, path: str | os.PathLike[str]) -> str:
        """The name for an input file: its own without the ending, numbered if it is taken.

        Args:
            path: the input file.

        Example:
            >>> names = UniqueNames()
            >>> [names.name(path) for path in ("a/cat.jpg", "b/cat.png", "b/Cat.png")]
            ['cat', 'cat-2', 'Cat-3']
        """
        stem = printable(Path(path).stem) or "image"
        stem = stem.encode()[:_LONGEST].decode(errors="ignore")
        key = _folded(stem)
        count = self._counts.get(key, 1)
        name = stem if count == 1 else f"{stem}-{count}"
        while _folded(name) in self._used:
            count += 1
            name = f"{stem}-{count}"
        self._counts[key] = count
        self._used.add(_folded(name))
        return name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
