"""Pages that are one file: headings, figures, tables and cards as HTML, pictures embedded.

Such a page needs nothing beside it, so it can be mailed or opened from a disk. It reads on a phone
and follows the reader's light or dark setting. Every function takes plain text and escapes it;
what it returns is HTML, to be passed on to :func:`section` and :func:`document`.
"""

import base64
import math
import numbers
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError

__all__ = [
    "cards",
    "details",
    "document",
    "figure",
    "link",
    "listing",
    "paragraph",
    "section",
    "table",
]

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1c1e21; --soft: #5b6470;
  --line: #d7dce2; --card: #f4f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e8eaed; --soft: #a3adb8;
  --line: #353c44; --card: #1e2328; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p, figcaption, caption { color: var(--soft); max-width: 46rem; }
.cards { display: grid; gap: .75rem; padding: 0;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; }
.cards dt { color: var(--soft); font-size: .85rem; }
.cards dd { margin: 0; font-size: 1.05rem; font-weight: 600; }
figure { margin: 1rem 0; } figcaption { margin-bottom: .6rem; }
.picture { overflow-x: auto; border-radius: .5rem;
  border: 1px solid var(--line); background: #ffffff; }
.picture img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.picture.wide img { min-width: 48rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0;
  border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .7rem .9rem; overflow-x: auto; font-size: .9rem; overflow-wrap: normal; }
summary { cursor: pointer; color: var(--accent); padding: .4rem 0; }
"""

DASH = "\u2013"
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
    top = f"<h1>{escape(title)}</h1>" + (paragraph(lead) if lead else "")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{top}\n{body}\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Put a heading (plain text) over parts (HTML)."""
    return "\n".join([f"<section>\n<h2>{escape(heading)}</h2>", *parts, "</section>"])


def paragraph(text: str) -> str:
    """Make one paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def link(address: str, text: str) -> str:
    """Make a paragraph that is a link: an address or a file beside the page, and plain text."""
    return f'<p><a href="{escape(address)}">{escape(text)}</a></p>'


def listing(text: str) -> str:
    """Show plain text as it is, in a fixed-width face: a command, a file."""
    return f"<pre>{escape(text)}</pre>"


def details(summary: str, *parts: str) -> str:
    """Hide parts (HTML) behind a line of plain text that opens them."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def cards(facts: Mapping[str, Any]) -> str:
    """Show a few facts as label -> value, side by side."""
    items = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(_plain(value))}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="cards">{items}</dl>'


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
    above = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure>{above}<div class="picture{" wide" if wide else ""}">'
        f'<img alt="{escape(alt or caption)}" src="{source}"></div></figure>'
    )


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

    def cell(tag: str, column: int, text: str) -> str:
        kind = ' class="number"' if column in numeric else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = "".join(cell("th", i, str(title)) for i, title in enumerate(header))
    lines = "".join(
        f"<tr>{''.join(cell('td', i, _plain(value)) for i, value in enumerate(row))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>{above}<tr>{head}</tr>{lines}</table></div>'


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
