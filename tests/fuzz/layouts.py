"""YOLO and Pascal VOC folders, for ``convert-data``: every object of a pixel arrives as it was.

Text and XML are written by hand and read back by ``float`` and the standard library's XML reader.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import yaml
from hypothesis import strategies as st

from tests.fuzz.judge import number_in
from tests.fuzz.pictures import damage, damages, picture_recipes, seldom, shown_size, write_picture
from tests.fuzz.worker import Outcome

SHARE = 3
_ODD = st.sampled_from(
    [
        "nan",
        "inf",
        "-1",
        "1e999",
        "",
        "x",
        "1,5",
        "0x1",
        "99",
        "1.5",
        "\x1b[31m",
        "1e-9",
        "ü",
        "1_0",
    ]
)
_NAMES = ["cat", "my dog", "ü"]
_LEFT_OUT = "objects left out: boxes outside the image or without area"
_EMPTY = "images without a label file, taken for empty"


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    share = st.integers(1, 9).map(lambda n: n / 10)
    objects = st.tuples(
        st.integers(0, 2),
        st.lists(share, min_size=4, max_size=4),
        st.sampled_from(["box", "points"]),
    ).map(list)
    images = [
        {
            "picture": draw(picture_recipes(sound=True)),
            "split": split,
            "objects": draw(st.lists(objects, max_size=3)),
            "labelled": draw(seldom(st.just(False), True)),
        }
        for split in ("train", "val")
        for _ in range(draw(st.integers(1, 2)))
    ]
    places = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4), _ODD).map(list)
    return {
        "format": draw(st.sampled_from(["yolo", "voc"])),
        "images": images,
        "names": draw(seldom(st.sampled_from(["none", "odd", "few"]), "usual")),
        "edits": draw(seldom(st.lists(places, min_size=1, max_size=2), [], one_in=3)),
        "damage": draw(seldom(damages, [])),
        "picture_damage": draw(seldom(damages, [], one_in=10)),
        "difficult": draw(st.booleans()),
    }


def _words(recipe: dict[str, Any], place: int, row: int, words: list[str]) -> list[str]:
    """The words of an object after the recipe's edits."""
    words = list(words)
    for image, at, word, value in recipe["edits"]:
        if (image, at) == (place, row):
            words[word % len(words)] = value
    return words


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    data = folder / "data"
    write = _write_yolo if recipe["format"] == "yolo" else _write_voc
    for place, image in enumerate(recipe["images"]):
        picture = {**image["picture"], "damage": recipe["picture_damage"] if place == 0 else []}
        path = data / "images" / image["split"] / f"{place}{picture['ending']}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, picture)
        if image["labelled"] or recipe["format"] == "voc":
            file, text = write(recipe, place, path)
            file = data / file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(damage(text.encode(), recipe["damage"] if place == 0 else []))
    if recipe["format"] == "yolo" and recipe["names"] != "none":
        names: Any = {"few": _NAMES[:2], "odd": {0: "a\x1b[31m", 1: 7, 2: None}}
        names = names.get(recipe["names"], _NAMES)
        text = yaml.safe_dump({"train": "images/train", "val": "images/val", "names": names})
        (data / "data.yaml").write_text(text)
    return ["convert-data", "data", "out"]


def _write_yolo(recipe: dict[str, Any], place: int, image: Path) -> tuple[str, str]:
    lines = []
    for row, (kind, (x, y, across, down), form) in enumerate(recipe["images"][place]["objects"]):
        shares = [x, y, across, down] if form == "box" else [x, y, across, y, across, down]
        lines.append(" ".join(_words(recipe, place, row, [str(kind), *map(str, shares)])))
    return f"labels/{image.parent.name}/{image.stem}.txt", "\n".join(lines)


def _write_voc(recipe: dict[str, Any], place: int, image: Path) -> tuple[str, str]:
    width, height = shown_size(image) or recipe["images"][place]["picture"]["size"]
    objects = []
    for row, (kind, (x, y, across, down), _) in enumerate(recipe["images"][place]["objects"]):
        words = [_NAMES[kind], *(f"{v:.1f}" for v in (x * width, y * height))]
        words += [f"{(x + across) * width:.1f}", f"{(y + down) * height:.1f}"]
        name, *corners = (escape(word) for word in _words(recipe, place, row, words))
        box = "".join(
            f"<{tag}>{corner}</{tag}>"
            for tag, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        )
        difficult = f"<difficult>{int(recipe['difficult'])}</difficult>"
        objects.append(f"<object><name>{name}</name>{difficult}<bndbox>{box}</bndbox></object>")
    text = f"<annotation><filename>{image.name}</filename>{''.join(objects)}</annotation>"
    return f"annotations/{image.parent.name}/{image.stem}.xml", text


def _objects(recipe: dict[str, Any], data: Path) -> dict[str, Counter[str]] | None:
    """Objects per class of each split, as the files have them; None where nobody can read them."""
    found: dict[str, Counter[str]] = {"train": Counter(), "val": Counter()}
    try:
        if recipe["format"] == "voc":
            for path in (data / "annotations").rglob("*.xml"):
                tree = ElementTree.fromstring(path.read_bytes())
                names = [(one.findtext("name") or "").strip() for one in tree.findall("object")]
                found[path.parent.name].update(names)
            return found
        listed = yaml.load((data / "data.yaml").read_text(), yaml.BaseLoader)["names"]
        listed = listed if isinstance(listed, dict) else dict(enumerate(listed))
        listed = {int(number): name for number, name in listed.items()}
        for path in (data / "labels").rglob("*.txt"):
            rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
            found[path.parent.name].update(listed[int(float(row[0]))] for row in rows)
    except Exception:
        return None
    return found


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if outcome.status != 0:
        left = [path.name for path in folder.iterdir() if path.name != "data"]
        return [f"refused, and left {left[0]}"] if left else []
    objects = _objects(recipe, folder / "data")
    if objects is None:
        return ["converted labels that cannot be read"]
    unlabelled = missing = 0
    for split, here in objects.items():
        images = list((folder / "data/images" / split).iterdir())
        unlabelled += sum(
            not image["labelled"] for image in recipe["images"] if image["split"] == split
        )
        made = json.loads((folder / f"out/annotations/instances_{split}.json").read_text())
        names = {entry["id"]: entry["name"] for entry in made["categories"]}
        arrived = Counter(names[entry["category_id"]] for entry in made["annotations"])
        missing += here.total() - arrived.total()
        if not arrived <= here or len(made["images"]) != len(images):
            return [f"{dict(arrived)} arrived in {split} of {dict(here)}"]
        line = next(line for line in outcome.out.splitlines() if line.startswith(f"{split}: "))
        numbers = [
            int(n.replace(",", "")) for n in re.findall(r"([\d,]+) (?:images|objects)", line)
        ]
        if numbers != [len(images), arrived.total()]:
            return [f"{line!r}, {len(images)} images and {arrived.total()} objects arrived"]
    if (number_in(outcome.out, rf"([\d,]+) {_LEFT_OUT}") or 0) != missing:
        return [f"{missing} objects did not arrive, and another number is said"]
    said = number_in(outcome.out, rf"([\d,]+) {_EMPTY}")
    if recipe["format"] == "yolo" and (said or 0) != unlabelled:
        return [f"{unlabelled} images have no labels, and another number is said"]
    return _judge_places(recipe, folder)


def _judge_places(recipe: dict[str, Any], folder: Path) -> list[str]:
    """Boxes of YOLO's and VOC's files against those of the file that was written."""
    if recipe["edits"] or recipe["damage"] or recipe["picture_damage"]:
        return []
    for split in ("train", "val"):
        made = json.loads((folder / f"out/annotations/instances_{split}.json").read_text())
        written = sorted(round(v, 1) for entry in made["annotations"] for v in entry["bbox"])
        expected = []
        for place, image in enumerate(recipe["images"]):
            if image["split"] != split or not (image["labelled"] or recipe["format"] == "voc"):
                continue
            file = folder / "data/images" / split / f"{place}{image['picture']['ending']}"
            width, height = shown_size(file) or (0, 0)
            for _, (x, y, across, down), form in image["objects"]:
                left, top, wide, high = x, y, across, down
                if recipe["format"] == "yolo" and form == "box":
                    left, top = x - across / 2, y - down / 2
                elif recipe["format"] == "yolo":
                    left, top = min(x, across), min(y, down)
                    wide, high = abs(across - x), abs(down - y)
                box = [left * width, top * height, wide * width, high * height]
                seen = [min(left + wide, 1) - max(left, 0), min(top + high, 1) - max(top, 0)]
                side = min(*box[2:], seen[0] * width, seen[1] * height)
                if abs(side - 1) < 0.2:  # rounding decides whether it is left out
                    return []
                expected += box if side > 1 else []
        if any(abs(a - b) > 0.15 for a, b in zip(written, sorted(expected), strict=True)):
            return [f"boxes {written} written in {split}, {sorted(expected)} expected"]
    return []
