"""Images and label masks, for ``check-data segmentation`` and ``evaluate``: every pixel counts."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.judge import named_in, table_of
from tests.fuzz.pictures import (
    damage,
    damages,
    names,
    picture_recipes,
    seldom,
    shown_size,
    write_picture,
)
from tests.fuzz.worker import Outcome

SHARE = 5
_IGNORED = 255
_MODEL = ["background", *map(str, range(10))]
_FORMATS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".jpg": "JPEG"}


@st.composite
def _mask(draw: Any) -> dict[str, Any]:
    values = [0, 1, 2, *draw(st.lists(st.sampled_from([0, 1, 2, _IGNORED]), max_size=3))]
    values += draw(seldom(st.lists(st.integers(0, 255), min_size=1, max_size=5), []))
    odd_modes = st.sampled_from(["RGB", "1", "I;16", "RGBA", "LA"])
    return {
        "mode": draw(seldom(odd_modes, draw(st.sampled_from(["L", "P"])))),
        "values": values,
        "turned": draw(seldom(st.just(True), False)),
        "larger": draw(seldom(st.just(1), 0, one_in=12)),
        "ending": draw(seldom(st.sampled_from([".bmp", ".tif", ".jpg"]), ".png")),
        "damage": draw(seldom(damages, [], one_in=10)),
    }


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    pairs = []
    for place in range(draw(st.integers(1, 4))):
        name = draw(seldom(names, f"{place}"))
        mask = draw(seldom(st.none(), True, one_in=20))
        pairs.append([name, draw(picture_recipes()), mask and draw(_mask())])
    other_classes = st.sampled_from(["odd", "none"]) | st.text(max_size=20)
    return {
        "layout": draw(st.sampled_from(["folder", "folder", "ade20k"])),
        "pairs": pairs,
        "suffix": draw(seldom(st.just("_mask"), "")),
        "classes": draw(seldom(other_classes, "model") if draw(st.booleans()) else st.just("few")),
        "command": draw(st.sampled_from(["check", "check", "evaluate"])),
    }


def _names(recipe: dict[str, Any]) -> str | None:
    usual = {"model": "\n".join(_MODEL), "few": "a\nb\nc", "odd": "a\n\x1b[31mb", "none": None}
    return usual.get(recipe["classes"], recipe["classes"])


def places(recipe: dict[str, Any]) -> tuple[str, str]:
    """The folders of images and of masks."""
    if recipe["layout"] == "ade20k":
        return "images/validation", "annotations/validation"
    if recipe["layout"] == "split":
        return "images/train", "masks/train"
    return "images", "masks"


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    write_pairs(recipe, folder / "data")
    options = ["--dataset", recipe["layout"]]
    options += ["--split", "val"] if recipe["layout"] == "ade20k" else []
    if recipe["command"] == "check":
        return ["check-data", "segmentation", "data", *options, "--empty-classes", "keep"]
    checkpoint = "spanetv2_pico_pure.scenes_semantic_fpn"
    return ["evaluate", checkpoint, "--data", "data", *options, "--json", "figures.json"]


def write_pairs(recipe: dict[str, Any], data: Path) -> None:
    """Write images, masks and the class list of a recipe."""
    images, masks = (data / place for place in places(recipe))
    for place in (images, masks):
        place.mkdir(parents=True)
    if (classes := _names(recipe)) is not None:
        (data / "classes.txt").write_text(classes, "utf-8", "surrogateescape")
    for name, picture, mask in recipe["pairs"]:
        write_picture(images / f"{name}{picture['ending']}", picture)
        if mask is not None:
            _write(masks / f"{name}{recipe['suffix']}{mask['ending']}", mask, picture)


def _write(path: Path, mask: dict[str, Any], picture: dict[str, Any]) -> None:
    width, height = picture["size"]
    sideways = picture["orientation"] >= 5
    if mask["turned"] != sideways:  # of the image as shown
        width, height = height, width
    width += mask["larger"]
    values = np.resize(np.array(mask["values"], dtype=np.uint8), height * width)
    labels = values.reshape(height, width)
    if mask["mode"] == "I;16":
        image = Image.fromarray(labels.astype(np.uint16))
    elif mask["mode"] == "P":
        image = Image.fromarray(labels)
        image.putpalette([i for colour in range(256) for i in (colour, 255 - colour, 7)])
    else:
        image = Image.fromarray(labels).convert(mask["mode"])
    file_format = _FORMATS[mask["ending"]]
    try:
        image.save(path, format=file_format)
    except OSError:  # the format has no such mode
        image.convert("L").save(path, format=file_format)
    path.write_bytes(damage(path.read_bytes(), mask["damage"]))


def _pixels(path: Path) -> np.ndarray | None:
    """Numbers of a mask's values as they lie in the file; None where they are no labels."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.mode not in ("L", "P", "1", "I;16"):
                return None
            count = np.bincount(np.asarray(image).ravel(), minlength=256)
            return count if len(count) == 256 else None
    except Exception:
        return None


def used_pairs(
    recipe: dict[str, Any], folder: Path, outcome: Outcome
) -> tuple[list[np.ndarray], list[str]]:
    """What can be used of a data set, and what should have been named and was not.

    A file is only left out where an error names it, and its partner with it.

    Returns:
        Numbers of the values of each mask that is left; faults.
    """
    images, masks = (
        [path for path in (folder / "data" / place).iterdir() if path.name[0] != "."]
        for place in places(recipe)
    )
    out = {_stem(path, "") for path in named_in(outcome, images, folder)}
    out |= {_stem(path, recipe["suffix"]) for path in named_in(outcome, masks, folder)}
    left = [path for path in masks if _stem(path, recipe["suffix"]) not in out]
    counts = {path: _pixels(path) for path in left}
    faults = [
        f"no word for {p.name!r}, which holds no labels" for p, n in counts.items() if n is None
    ]
    left_images = [path for path in images if _stem(path, "") not in out]
    faults += [
        f"no word for {path.name!r}, which Pillow cannot decode"
        for path in left_images
        if shown_size(path) is None
    ]
    if len(left_images) != len(left):
        faults.append(f"{len(left_images)} images and {len(left)} masks that are not named")
    return [count for count in counts.values() if count is not None], faults


def _stem(path: Path, suffix: str) -> str:
    return path.stem.removesuffix(suffix)


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    rows = table_of(outcome.out, "class ")
    if not rows or "Traceback" in outcome.err:
        return ["nothing is said of the data"] if outcome.status == 0 else []
    counts, faults = used_pairs(recipe, folder, outcome)
    if faults:
        return faults
    shift = int(recipe["layout"] == "ade20k")
    total = np.sum([np.zeros(256, dtype=np.int64), *counts], axis=0)
    if recipe["command"] == "evaluate":
        return _judge_figures(recipe, folder, total[shift:], len(counts))
    labelled = int(total[shift:_IGNORED].sum())
    said = re.search(r"^\w+: (\d+) pairs", outcome.out, re.MULTILINE)
    if said is None or int(said[1]) != len(counts):
        return [f"{said and said[0]!r} printed, {len(counts)} can be used"]
    for index, row in enumerate(rows):
        here = sum(int(count[index + shift] > 0) for count in counts)
        share = 100 * total[index + shift] / (labelled or 1)
        printed = float(row[-1].rstrip(" %")) if row[-1][0].isdigit() else 0.0
        if int(row[-2]) != here or abs(printed - share) > 0.01:
            return [f"{row} printed, {here} images and {share:.2f} % in the masks"]
    if beyond := int(total[len(rows) + shift : _IGNORED].sum()):
        return [f"{beyond} pixels of no class, and not a word"]
    ignored = 100 * (total.sum() - labelled) / (total.sum() or 1)
    said = re.search(r"^([\d.]+) % of all pixels are not labelled", outcome.out, re.MULTILINE)
    if abs((float(said[1]) if said else 0.0) - ignored) > 0.01:
        return [f"{said and said[0]!r} printed, {ignored:.2f} % in the masks"]
    return []


def _judge_figures(
    recipe: dict[str, Any], folder: Path, total: np.ndarray, images: int
) -> list[str]:
    if not (folder / "figures.json").exists():
        return ["no figures are written"]
    figures = json.loads((folder / "figures.json").read_text())
    if figures["images"] != images:
        return [f"{figures['images']} images evaluated, {images} can be used"]
    listed = (_names(recipe) or "").split()
    pixels = {row["class"]: row["pixels"] for row in figures["classes"]}
    wrong = [name for place, name in enumerate(listed) if pixels.get(name) != total[place]]
    return [f"pixels of {wrong} differ from those in the masks"] if wrong else []
