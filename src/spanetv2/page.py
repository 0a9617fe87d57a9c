"""Pages that are one file: headings, figures, tables and cards as HTML, pictures embedded.

Such a page needs nothing beside it, so it can be mailed or opened from a disk. It reads on a phone
and follows the reader's light or dark setting. Every function takes plain text and escapes it;
what it returns is HTML, to be passed on to :func:`section` and :func:`document`. The HTML itself
is in ``pages/``, as a template.
"""

import base64
import functools
import math
import numbers
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError
from spanetv2.kept import promise

__all__ = [
    "PAGE",
    "cards",
    "details",
    "document",
    "figure",
    "link",
    "listing",
    "paragraph",
    "promise_page",
    "section",
    "table",
]

DASH = "\u2013"
PAGE = "index.html"
"""Name of a page in a folder of its own."""
_MARK = b'<meta name="generator" content="spanetv2">'
_FOLDER = Path(__file__).parent / "pages"
_NUMBER = re.compile(r"[-+\u2212]?[\d,]*\.?\d+(e[-+]?\d+)?( ?%)?", re.IGNORECASE)
# the first bytes of a picture -> its media type
_KINDS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"<?xml", "image/svg+xml"),
    (b"<svg", "image/svg+xml"),
)


def document(title: str, body: str, *, lead: str = "") -> str:
    """Make the whole page.

    Args:
        title: heading and browser title, plain text.
        body: HTML, the joined results of the other functions.
        lead: plain text under the heading: what the page shows.

    Returns:
        The text of the file.

    Example:
        >>> page = document("A & B", section("Part", paragraph("1 < 2")))
        >>> "<title>A &amp; B</title>" in page, "<p>1 &lt; 2</p>" in page
        (True, True)
    """
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    return _make("document", title, lead, _html(style), _html(body)) + "\n"


def promise_page(folder: str | os.PathLike[str]) -> None:
    """Say that a page will be made in a folder, so that it is refused before the work.

    Args:
        folder: of the page, ``index.html``.

    Raises:
        UserError: another page is there, or a file that is read.
    """
    path = Path(folder) / PAGE
    promise(path)
    if path.is_file() and _MARK not in path.read_bytes():
        raise UserError(
            f"{path} is a page that this version of spanetv2 has not made, and would be replaced; "
            "choose another folder, or move it"
        )


def section(heading: str, *parts: str) -> str:
    """Put a heading (plain text) over parts (HTML)."""
    return _make("section", heading, [_html(part) for part in parts])


def paragraph(text: str) -> str:
    """Make one paragraph of plain text."""
    return _make("paragraph", text)


def link(address: str, text: str) -> str:
    """Make a paragraph that is a link: an address or a file beside the page, and plain text."""
    return _make("link", address, text)


def listing(text: str) -> str:
    """Show plain text as it is, in a fixed-width face: a command, a file."""
    return _make("listing", text)


def details(summary: str, *parts: str) -> str:
    """Hide parts (HTML) behind a line of plain text that opens them."""
    return _make("details", summary, [_html(part) for part in parts])


def cards(facts: Mapping[str, Any]) -> str:
    """Show a few facts as label -> value, side by side."""
    return _make("cards", [(str(name), _plain(value)) for name, value in facts.items()])


def figure(
    picture: str | os.PathLike[str] | bytes, caption: str, *, wide: bool = False, alt: str = ""
) -> str:
    """Embed a picture under its caption.

    Args:
        picture: a PNG, JPEG or SVG: its path, or its bytes.
        caption: plain text; empty for none.
        wide: keep a least width and scroll sideways on a phone, where the picture would otherwise
            shrink until it cannot be read.
        alt: what to say where the picture cannot be seen; by default the caption.

    Raises:
        UserError: the file cannot be read, or is none of these kinds.
    """
    if isinstance(picture, bytes):
        data, name = picture, "the bytes"
    else:
        name = repr(os.fspath(picture))
        try:
            data = Path(picture).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {name} ({error.strerror}), expected a picture") from error
    kind = next((kind for start, kind in _KINDS if data.lstrip()[:8].startswith(start)), None)
    if kind is None:
        raise UserError(f"got something else in {name}, expected a PNG, JPEG or SVG picture")
    source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return _make("figure", source, caption, alt or caption, wide)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "") -> str:
    """Make a table. Columns that hold only numbers, as numbers or as text, are right-aligned.

    Args:
        header: column titles.
        rows: cells, as many per row as there are titles. Floats are shown with four digits, None
            and not-a-number as a dash.
        caption: plain text above the table.

    Raises:
        ValueError: a row has another number of cells than the header.

    Example:
        >>> table(["kernel", "gain"], [["3x3", 0.25]]).count('class="number"')
        2
    """
    rows = [list(row) for row in rows]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"got a row of {len(row)} cells, expected {len(header)}: {row}")
    numeric = {i for i in range(len(header)) if _is_numeric([row[i] for row in rows])}

    cells = [[_plain(value) for value in row] for row in rows]
    return _make("table", [str(title) for title in header], cells, numeric, caption)


def _make(macro: str, *values: Any) -> str:
    """What a macro of the template makes of some values."""
    return str(getattr(_macros(), macro)(*values)).strip()


@functools.cache
def _macros() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").module


def _html(text: str) -> Any:
    """Text that is HTML already, which the template must not escape."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - made by the functions of this module


def _is_numeric(column: Sequence[Any]) -> bool:
    """Whether a column holds numbers, and nothing else but empty cells."""
    texts = [text for value in column if (text := _plain(value)) not in ("", DASH)]
    return bool(texts) and all(_NUMBER.fullmatch(text) for text in texts)


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(value)
    if isinstance(value, numbers.Real):
        value = float(value)
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return str(value)
