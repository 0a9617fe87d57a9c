"""Images and label masks, for ``check-data segmentation`` and ``evaluate``: every pixel counts."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.judge import lines_of, table_of
from tests.fuzz.pictures import damage, damages, names, picture_recipes, write_picture
from tests.fuzz.worker import Outcome

SHARE = 4
_IGNORED = 255
_MODEL = ["background", *map(str, range(10))]


@st.composite
def _mask(draw: Any) -> dict[str, Any]:
    return {
        "mode": draw(st.sampled_from(["L", "L", "L", "P", "RGB", "1", "I;16", "RGBA", "LA"])),
        "values": draw(st.lists(st.integers(0, 255) | st.integers(0, 4), min_size=1, max_size=5)),
        "turned": draw(st.sampled_from([False, False, False, True])),
        "larger": draw(st.sampled_from([0, 0, 0, 0, 1])),
        "ending": draw(st.sampled_from([".png", ".png", ".png", ".bmp", ".tif", ".jpg"])),
        "damage": draw(st.one_of(st.just([]), st.just([]), damages)),
    }


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    pairs = draw(
        st.lists(
            st.tuples(names, picture_recipes(), st.none() | _mask() | _mask() | _mask()),
            min_size=1,
            max_size=4,
        )
    )
    return {
        "layout": draw(st.sampled_from(["folder", "folder", "ade20k"])),
        "pairs": [list(pair) for pair in pairs],
        "suffix": draw(st.sampled_from(["", "", "", "_mask"])),
        "classes": draw(
            st.sampled_from(["model", "model", "few", "few", "odd", "none"]) | st.text(max_size=20)
        ),
        "command": draw(st.sampled_from(["check", "check", "check", "evaluate"])),
    }


def _names(recipe: dict[str, Any]) -> str | None:
    usual = {"model": "\n".join(_MODEL), "few": "a\nb\nc", "odd": "a\n\x1b[31mb", "none": None}
    return usual.get(recipe["classes"], recipe["classes"])


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    ade = recipe["layout"] == "ade20k"
    places = ("images/validation", "annotations/validation") if ade else ("images", "masks")
    for place in places:
        (folder / "data" / place).mkdir(parents=True)
    if (classes := _names(recipe)) is not None:
        (folder / "data" / "classes.txt").write_text(classes, "utf-8", "surrogateescape")
    for name, picture, mask in recipe["pairs"]:
        write_picture(folder / "data" / places[0] / f"{name}{picture['ending']}", picture)
        if mask is not None:
            file = f"{name}{recipe['suffix']}{mask['ending']}"
            _write(folder / "data" / places[1] / file, mask, picture)
    options = ["--dataset", recipe["layout"]]
    if recipe["command"] == "check":
        return ["check-data", "segmentation", "data", *options]
    checkpoint = "spanetv2_pico_pure.scenes_semantic_fpn"
    return ["evaluate", checkpoint, "--data", "data", *options, "--json", "figures.json"]


def _write(path: Path, mask: dict[str, Any], picture: dict[str, Any]) -> None:
    width, height = picture["size"]
    if mask["turned"]:
        width, height = height, width
    width += mask["larger"]
    values = np.resize(np.array(mask["values"], dtype=np.uint8), height * width)
    labels = values.reshape(height, width)
    if mask["mode"] == "I;16":
        image = Image.fromarray(labels.astype(np.uint16))
    elif mask["mode"] == "P":
        image = Image.fromarray(labels).convert("P")
        image = Image.fromarray(labels, mode=None)
        image.putpalette([i for colour in range(256) for i in (colour, 255 - colour, 7)])
    else:
        image = Image.fromarray(labels).convert(mask["mode"])
    formats = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".jpg": "JPEG"}
    try:
        image.save(path, format=formats[mask["ending"]])
    except OSError:  # the format has no such mode
        image.convert("L").save(path, format=formats[mask["ending"]])
    path.write_bytes(damage(path.read_bytes(), mask["damage"]))


def _pixels(path: Path) -> np.ndarray | None:
    """Numbers of a mask's values as they lie in the file; None where they are no labels."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.mode not in ("L", "P"):
                return None
            return np.bincount(np.asarray(image).ravel(), minlength=256)
    except Exception:
        return None


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    ade = recipe["layout"] == "ade20k"
    remarks = [line for line in lines_of(outcome.err) if "wrote" not in line]
    if outcome.status != 0 or remarks:
        return []  # refused, or a difference was said
    below = folder / "data"
    masks = list((below / ("annotations/validation" if ade else "masks")).iterdir())
    images = list((below / ("images/validation" if ade else "images")).iterdir())
    counts = [_pixels(path) for path in masks]
    if any(count is None for count in counts):
        return ["status 0 without a remark for a mask that holds no plain labels"]
    total = np.sum([count for count in counts if count is not None], axis=0)
    shift = int(ade)
    if recipe["command"] == "evaluate":
        figures = json.loads((folder / "figures.json").read_text())
        if figures["images"] != len(images):
            return [f"{figures['images']} images evaluated, there are {len(images)}"]
        listed = (_names(recipe) or "").split()
        pixels = {row["class"]: row["pixels"] for row in figures["classes"]}
        wrong = [n for i, n in enumerate(listed) if pixels.get(n) != total[i + shift]]
        return [f"pixels of {wrong} differ from those in the masks"] if wrong else []
    rows = table_of(outcome.out, "class ")
    if len(lines_of(outcome.out)) != len(rows) + 2:
        return []  # a remark among what is printed
    labelled = total[shift:_IGNORED].sum() or 1
    for index, row in enumerate(rows):
        here = sum(int(count[index + shift] > 0) for count in counts if count is not None)
        share = 100 * total[index + shift] / labelled
        if int(row[-2]) != here or abs(float(row[-1].rstrip(" %")) - share) > 0.01:
            return [f"{row} printed, {here} images and {share:.2f} % in the masks"]
    beyond = int(total[len(rows) + shift : _IGNORED].sum())
    return [f"{beyond} pixels of no class, and not a word"] if beyond else []
