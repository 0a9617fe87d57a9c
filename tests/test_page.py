"""Pages: well-formed, escaped, self-contained, numbers aligned."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from spanetv2 import page
from spanetv2.errors import UserError

PNG = b"\x89PNG\r\n\x1a\n and more"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>'
ODD = "<script>alert('1')</script> & \"x\""


class Tree(HTMLParser):
    """Checks that tags close in order; gathers tags with attributes and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.seen if name == tag]


def test_document_escapes_every_text_and_nests_correctly() -> None:
    parts = [
        page.paragraph(ODD),
        page.listing(ODD),
        page.details(ODD, page.paragraph(ODD)),
        page.cards({ODD: ODD}),
        page.figure(PNG, ODD, alt=ODD),
        page.table([ODD], [[ODD]], caption=ODD),
    ]
    tree = Tree(page.document(ODD, page.section(ODD, *parts), lead=ODD))
    assert tree.all("script") == []
    # title, h1, lead, h2, paragraph, listing, summary, its paragraph, card (2), caption, table (3)
    assert tree.text.count(ODD) == 14
    assert tree.all("img")[0]["alt"] == ODD


def test_document_needs_no_other_file() -> None:
    text = page.document("t", page.figure(SVG, "c"))
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


@pytest.mark.parametrize(
    ("data", "kind"),
    [(PNG, "image/png"), (SVG, "image/svg+xml"), (b"\xff\xd8\xff\xe0", "image/jpeg")],
)
def test_figure_embeds_bytes_and_files_alike(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(data)
    html = page.figure(path, "caption")
    assert html == page.figure(data, "caption")
    (image,) = Tree(html).all("img")
    start, encoded = str(image["src"]).split(",")
    assert start == f"data:{kind};base64"
    assert base64.b64decode(encoded) == data
    assert image["alt"] == "caption"


def test_figure_wide_is_marked() -> None:
    assert Tree(page.figure(PNG, "", wide=True)).all("div") == [{"class": "picture wide"}]
    assert Tree(page.figure(PNG, "")).all("div") == [{"class": "picture"}]


def test_figure_names_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*missing\.png"):
        page.figure(tmp_path / "missing.png", "")
    with pytest.raises(UserError, match="expected a PNG, JPEG or SVG"):
        page.figure(b"GIF89a", "")


def test_table_aligns_columns_of_numbers() -> None:
    rows = [["a", 1, 0.123456, "12.5 %", None], ["7", 22, float("nan"), "1,000", None]]
    tree = Tree(page.table(["name", "count", "value", "share", "none"], rows))
    right = [attrs.get("class") == "number" for attrs in tree.all("th")]
    assert right == [False, True, True, True, False]
    assert [attrs.get("class") == "number" for attrs in tree.all("td")] == right * 2
    assert "0.1235" in tree.text
    assert tree.text.count(page.DASH) == 3


def test_table_shows_large_small_and_true_values() -> None:
    text = Tree(page.table(["x"], [[123456.7], [1.5e-7], [True], [np.int64(12345)]])).text
    for expected in ("123,457", "1.5e-07", "yes", "12345"):
        assert expected in text


def test_table_wants_full_rows() -> None:
    with pytest.raises(ValueError, match="got a row of 1 cells, expected 2"):
        page.table(["a", "b"], [["x"]])
