"""The page of benchmark results: what people wrote stays, what stands between two marks is made."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spanetv2.benchmark.plot import draw
from spanetv2.benchmark.tables import describe_machine, describe_settings, left_out, tables_of
from spanetv2.errors import UserError
from spanetv2.files import read_json, read_text, write_text
from spanetv2.kept import keep, promise

__all__ = ["BEGIN", "END", "KINDS", "made_part", "read_record", "write_page"]

Record = dict[str, Any]

BEGIN = "<!-- results: made by `spanetv2 benchmark --table`; change the program, not this part -->"
END = "<!-- end of results -->"
KINDS = ("networks", "operators")
"""Of the records that ``spanetv2 benchmark`` writes."""


def read_record(path: str | os.PathLike[str], kinds: Sequence[str] = KINDS) -> Record:
    """Read a result file.

    Args:
        path: of the file.
        kinds: of records that are wanted.

    Raises:
        UserError: unreadable, or not a result of ``spanetv2 benchmark``.
    """
    record = read_json(path, expected="a result file")
    if not isinstance(record, dict) or record.get("kind") not in kinds:
        raise UserError(
            f"{os.fspath(path)}: not a result of `spanetv2 benchmark`, expected its JSON file"
        )
    return record


def write_page(
    results: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    begin: str = BEGIN,
    opening: Callable[[Sequence[Record]], str] = lambda records: "",
) -> list[Path]:
    """Write the results into a page: the part between its marks, or a new page.

    Pictures go into ``images`` beside the page, named after page and result file.

    Args:
        results: files that ``spanetv2 benchmark`` wrote.
        out: the page, Markdown.
        begin: the mark where the made part begins, a line that names who makes it.
        opening: makes what stands first in it, of all records.

    Returns:
        What was written.

    Raises:
        UserError: an unreadable result, two of the same name, or a page without the marks.
    """
    out = Path(out)
    keep(results)
    promise(out)
    records = {Path(path): read_record(path) for path in results}
    if len({path.stem for path in records}) < len(results):
        raise UserError("got result files of the same name, expected each name once")
    text = f"# Performance\n\n{begin}\n{END}\n"
    if out.exists():
        text = read_text(out, expected="a page")
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(END)
    if not has_begin or not has_end:
        raise UserError(f"{out}: no place for results, expected the lines {begin} and {END}")
    written = []
    for path, record in records.items():
        if record["cells"]:
            picture = out.parent / _picture(out, path)
            draw(record, picture)
            written.append(picture)
    made = made_part(records, out, opening)
    write_text(out, f"{before}{begin}\n\n{made}\n{END}{after}")
    return [out, *written]


def _picture(out: Path, result: Path) -> Path:
    return Path("images") / f"{out.stem}_{result.stem}.png"


def made_part(
    records: dict[Path, Record],
    out: Path,
    opening: Callable[[Sequence[Record]], str] = lambda records: "",
) -> str:
    """The text between the marks: a section per result file.

    Args:
        records: by the file they come from.
        out: the page, whose name the pictures' names start with.
        opening: makes what stands before the sections, of all records.
    """
    parts = [opening(list(records.values()))]
    for path, record in records.items():
        what = "token mixers alone" if record["kind"] == "operators" else "networks"
        parts.append(f"## {describe_machine(record)}: {what} ({path.stem})\n")
        parts.append(f"{describe_settings(record)}\n")
        if "superseded" in record:
            parts.append(f"Measured before a change: {record['superseded']}.\n")
        if record["cells"]:
            parts.append(f"![{what}: {path.stem}]({_picture(out, path).as_posix()})\n")
        parts += [table.markdown() for table in tables_of(record)]
        if record["kind"] == "operators":
            parts.append(_rates(record))
        if missing := left_out(record):
            parts.append(f"Not measured: {'; '.join(missing)}.\n")
        parts.append(_origin(path, record))
    return "\n".join(part for part in parts if part)


def _rates(record: Record) -> str:
    rates = [
        f"{dtype} {2 * rate['multiply_adds'] / 1e12:.2f} TFLOP/s in matrix products, "
        f"{rate['bytes'] / 1e9:.1f} GB/s in copying (read and written)"
        for dtype, rate in record["rates"].items()
    ]
    return f"Rates behind the floors: {'; '.join(rates)}.\n"


def _origin(path: Path, record: Record) -> str:
    packages = record["packages"]
    versions = [
        f"{name} {packages[name]}"
        for name in ("torch", "triton", "timm", "onnxruntime", "openvino", "spanetv2")
        if name in packages
    ]
    commit = record["commit"]
    where = f" at commit `{commit}`" if commit else ", commit unknown"
    return "\n".join(
        [
            f"Measured {record['started'][:10]} with Python {record['python']}, "
            f"{', '.join(versions)}{where}. All times of all rounds: `{path.name}`. Command:",
            "",
            "```sh",
            record["command"],
            "```",
            "",
        ]
    )
