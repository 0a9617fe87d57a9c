"""The page of a run: complete, self-contained and safe against odd names."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.files import write_json
from spanetv2.tasks.classification.report import html_report

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags close in order, and gathers text, addresses and images."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "predictions.png")
    write_json(
        tmp_path / "metrics.json",
        {
            "top1": 0.98125,
            "images": 1234,
            "seconds": 77.125,
            "classes": [
                {"index": 4, "class": "<script>alert(1)</script>", "title": "cat & dog", "f1": 0.5}
            ],
        },
    )
    write_json(tmp_path / "versions.json", {"packages": {"torch": "9.9"}, "commit": "abc"})
    (tmp_path / "config.yaml").write_text("model:\n  name: a & b <c>\n")
    return tmp_path


def test_html_report_shows_metrics_pictures_and_commands(run_folder: Path) -> None:
    html_report(
        run_folder,
        title="Digits & more",
        facts={"model": "spanetv2_pico_pure"},
        commands=[("Use it", "spanetv2 predict runs/x image.png > out.json")],
    )
    page = Page((run_folder / "index.html").read_text(encoding="utf-8"))
    text = "".join(page.texts)
    for expected in (
        "Digits & more",
        "spanetv2_pico_pure",
        "98.12 %",
        "1,234",
        "spanetv2 predict runs/x image.png > out.json",
        "name: a & b <c>",
        "packages.torch",
        "9.9",
        "<script>alert(1)</script>",
        "cat & dog",
        "0.5",
    ):
        assert expected in text
    assert "77.1" not in text
    assert "script" not in page.tags


def test_html_report_is_self_contained(run_folder: Path) -> None:
    html_report(run_folder)
    text = (run_folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    (source,) = page.sources
    start, data = source.split(",")
    assert start == "data:image/png;base64"
    assert base64.b64decode(data) == (run_folder / "predictions.png").read_bytes()
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_html_report_of_an_empty_folder_is_a_page(tmp_path: Path) -> None:
    html_report(tmp_path)
    assert "img" not in Page((tmp_path / "index.html").read_text()).tags


def test_html_report_names_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the folder of a training run"):
        html_report(tmp_path / "missing")
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics\.json: not JSON"):
        html_report(tmp_path)
