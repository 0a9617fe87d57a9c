"""Files that figures become, and what series look like."""

from pathlib import Path

import pytest
from PIL import Image

import spanetv2
from spanetv2 import UserError
from spanetv2.drawing import (
    COLOURS,
    new_figure,
    save_figure,
    save_picture,
    series_style,
    shared_legend,
)


def test_pictures_of_other_endings_are_refused_before_the_work(tmp_path: Path) -> None:
    said = r"got picture .*a\.xyz, expected a name that ends in \.png, \.jpg, \.jpeg, \.pdf"
    picture = tmp_path / "a.xyz"
    missing = tmp_path / "no data"
    classifier = "spanetv2_pico_pure.fashion_mnist"
    for refused in (
        lambda: save_figure(new_figure(2, 1), picture),
        lambda: save_picture(Image.new("L", (2, 2)), picture),
        lambda: spanetv2.evaluate(classifier, missing, picture=picture),
        lambda: spanetv2.predict(classifier, missing, picture=picture),
        lambda: spanetv2.merge(missing, picture=picture),
    ):
        with pytest.raises(UserError, match=said):
            refused()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.JPG", b"\xff\xd8"), ("a", b"\x89PNG")],
)
def test_save_figure_writes_what_the_ending_says(tmp_path: Path, name: str, start: bytes) -> None:
    figure = new_figure(2, 1)
    figure.add_subplot().plot([1, 2], label="量")  # drawn as a box, without a warning
    figure.axes[0].legend()
    path = save_figure(figure, tmp_path / "new" / name, dpi=50)
    assert path == tmp_path / "new" / name
    assert path.read_bytes().startswith(start)
    if start != b"%PDF":
        with Image.open(path) as picture:
            assert picture.size == (100, 50)


def test_series_differ_without_colour() -> None:
    styles = [series_style(number) for number in range(len(COLOURS))]
    for key in ("color", "linestyle", "marker"):
        assert len({str(style[key]) for style in styles}) == len(COLOURS)
    few = [series_style(number, lines=("-", ":"))["linestyle"] for number in range(4)]
    assert few == ["-", ":", "-", ":"]


def test_shared_legend_lists_every_entry_once() -> None:
    figure = new_figure(4, 2)
    panels = figure.subplots(1, 2)
    for axes in panels:
        axes.plot([1, 2], label="both")
    panels[1].plot([2, 1], label="right")
    shared_legend(figure, panels, title="key")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["both", "right"]


def test_save_picture_goes_by_the_ending(tmp_path: Path) -> None:
    save_picture(Image.new("RGB", (4, 3)), tmp_path / "new" / "a.jpg")
    with Image.open(tmp_path / "new" / "a.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (4, 3))
