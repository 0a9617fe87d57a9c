"""Annotation files in COCO's form, for ``check-data detection`` and ``evaluate``."""

import contextlib
import copy
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.judge import number_in, plain, table_of
from tests.fuzz.pictures import damage, damages, picture_recipes, seldom, write_picture
from tests.fuzz.worker import Outcome

SHARE = 5
_SMALLEST = 32  # sides of images that are trained on, in pixels, as check-data says
_NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2, 3, 0.5, 1e308, -1e308, 1e20, 2**31, 2**63, 2**64, 10**30]),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 1e-300, True, False]),
    st.integers(-50, 50),
    st.floats(-100, 100),
)
_VALUES = st.one_of(
    _NUMBERS,
    st.none(),
    st.sampled_from(["", "1", "1.0", "a", "007", "\x1b[2J", "../../etc/passwd", "a\\b.png"]),
    st.text(max_size=8),
    st.lists(_NUMBERS, max_size=6),
    st.lists(st.lists(_NUMBERS, max_size=8), max_size=2),
    st.just({}),
    st.fixed_dictionaries(
        {
            "size": st.lists(st.integers(0, 40), min_size=2, max_size=2),
            "counts": st.text("0123456789:;<=>?@ABCDabcd", max_size=12)
            | st.lists(st.integers(-3, 2000), max_size=5),
        }
    ),
)
_PLACES = st.one_of(
    st.tuples(
        st.just("annotations"),
        st.integers(0, 5),
        st.sampled_from(["id", "image_id", "category_id", "bbox", "area", "iscrowd"])
        | st.just("segmentation"),
    ),
    st.tuples(
        st.just("images"),
        st.integers(0, 2),
        st.sampled_from(["id", "file_name", "width", "height"]),
    ),
    st.tuples(
        st.just("categories"), st.integers(0, 2), st.sampled_from(["id", "name", "supercategory"])
    ),
).map(list)


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    boxes = st.tuples(
        st.integers(0, 2),
        st.integers(0, 2),
        st.lists(st.integers(0, 30), min_size=4, max_size=4),
        st.sampled_from(["box", "polygon", "polygon", "rle"]),
    ).map(list)
    pictures = picture_recipes(sound=True, sides=(28, 48))
    commands = ["check-train", "check", "check-train", "check", "evaluate"]
    edits = st.lists(st.tuples(_PLACES, _VALUES).map(list), min_size=1, max_size=3)
    return {
        "images": draw(st.lists(pictures, min_size=1, max_size=3)),
        "objects": draw(st.lists(boxes, max_size=6)),
        "crowds": draw(seldom(st.lists(st.integers(0, 5), max_size=2), [], one_in=4)),
        "edits": draw(edits if draw(st.booleans()) else st.just([])),
        "dropped": draw(seldom(st.lists(_PLACES, max_size=1), [])),
        "damage": draw(seldom(damages, [])),
        "command": draw(st.sampled_from(commands)),
        "names": draw(seldom(st.just("own"), "model", one_in=4)),
    }


def record(recipe: dict[str, Any]) -> dict[str, Any]:
    """The annotation file of a recipe, before its bytes are damaged."""
    images = []
    for place, picture in enumerate(recipe["images"]):
        width, height = picture["size"]
        if picture["orientation"] >= 5 and picture["ending"] in (".jpg", ".png", ".webp", ".tif"):
            width, height = height, width
        name = f"{place}{picture['ending']}"
        images.append({"id": place + 1, "file_name": name, "width": width, "height": height})
    names = ["0", "1", "2"] if recipe["names"] == "model" else ["leaf", "stone", "x"]
    annotations = []
    for place, (image, kind, box, code) in enumerate(recipe["objects"]):
        at = images[image % len(images)]
        annotations.append(_object(place, at, kind, box, code))
    made = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
    }
    for place in recipe.get("crowds", ()):
        if place < len(annotations):
            annotations[place]["iscrowd"] = 1
    made = copy.deepcopy(made)
    for (part, place, key), value in recipe["edits"]:
        if place < len(made[part]):
            made[part][place][key] = value
    for part, place, key in recipe["dropped"]:
        if place < len(made[part]):
            made[part][place].pop(key, None)
    return made


def _object(
    place: int, image: dict[str, Any], kind: int, box: list[int], code: str
) -> dict[str, Any]:
    width, height = image["width"], image["height"]
    left, top = box[0] % width, box[1] % height
    across, down = 1 + box[2] % max(width - left, 1), 1 + box[3] % max(height - top, 1)
    right, bottom = left + across, top + down
    made: dict[str, Any] = {
        "id": place + 1,
        "image_id": image["id"],
        "category_id": kind + 1,
        "bbox": [left, top, across, down],
        "area": across * down,
        "iscrowd": 0,
    }
    if code == "polygon":
        made["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
    elif code == "rle":
        counts = [left * height + top]
        for column in range(across):
            counts.append(down)
            last = column == across - 1
            counts.append(height * (width - left - column) - top - down if last else height - down)
        made["segmentation"] = {"size": [height, width], "counts": counts}
    return made


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    split = "train" if recipe["command"] == "check-train" else "val"
    write_coco(recipe, folder / "data", split)
    if recipe["command"] == "evaluate":
        options = ["--data", "data", "--json", "figures.json"]
        return ["evaluate", "spanetv2_pico_pure.scenes_mask_rcnn", *options]
    options = ["--split", split, "--empty-classes", "keep"]
    return ["check-data", "detection", "data", *options]


def write_coco(recipe: dict[str, Any], data: Path, split: str) -> Path:
    """Write images and their annotation file in COCO's layout; gives the file."""
    (data / f"{split}2017").mkdir(parents=True)
    (data / "annotations").mkdir(exist_ok=True)
    for place, picture in enumerate(recipe["images"]):
        write_picture(data / f"{split}2017" / f"{place}{picture['ending']}", picture)
    file = data / "annotations" / f"instances_{split}2017.json"
    file.write_bytes(damage(json.dumps(record(recipe)).encode(), recipe["damage"]))
    return file


class Counted:
    """What pycocotools finds in an annotation file.

    Attributes:
        objects: by class.
        crowds: those of them that mark a crowd, by class.
        trained: those that can be learned from, by class.
        images: number of images.
        learned: images with at least one object to learn from.
    """

    def __init__(self, data: Any):
        names = {key: entry["name"] for key, entry in data.cats.items()}
        self.images = len(data.imgs)
        self.objects: Counter[str] = Counter()
        self.crowds: Counter[str] = Counter()
        self.trained: Counter[str] = Counter()
        self.learned: set[Any] = set()
        for entry in data.anns.values():
            name, image = names[entry["category_id"]], data.imgs[entry["image_id"]]
            self.objects[name] += 1
            self.crowds[name] += bool(entry.get("iscrowd"))
            if min(image["width"], image["height"]) < _SMALLEST or entry.get("iscrowd"):
                continue
            if _inside(entry["bbox"], image):
                self.learned.add(entry["image_id"])
                self.trained[name] += _has_pixel(data, entry)


def _inside(box: list[float], image: dict[str, Any]) -> bool:
    """Whether a box has a pixel's length in the image in both directions."""
    left, top, width, height = box
    across = min(left + width, image["width"]) - max(left, 0)
    down = min(top + height, image["height"]) - max(top, 0)
    return min(width, height, across, down) >= 1


def _has_pixel(data: Any, entry: dict[str, Any]) -> bool:
    if not entry.get("segmentation"):
        return True
    left, top, width, height = (round(value) for value in entry["bbox"])
    mask = np.asarray(data.annToMask(entry))
    return bool(mask[max(top, 0) : top + height, max(left, 0) : left + width].any())


def counted_in(path: Path) -> Counted | None:
    """What pycocotools finds in a file; None where it cannot read it."""
    from pycocotools.coco import COCO

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Counted(COCO(str(path)))
    except Exception:
        return None


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if outcome.status != 0:
        return []  # refused: the data stop every command until they are mended
    (file,) = (folder / "data" / "annotations").iterdir()
    counted = counted_in(file)
    if counted is None:
        return []  # what pycocotools does not read, such as ids of other kinds
    if recipe["command"] == "evaluate":
        return _judge_figures(folder, counted, outcome)
    header = next(line for line in outcome.out.splitlines() if line.startswith("class "))
    columns = re.split(r"  +", header.strip())
    rows = [dict(zip(columns, row, strict=True)) for row in table_of(outcome.out, "class ")]
    told = {
        plain(row["class"]): {k: int(v) for k, v in row.items() if k != "class"} for row in rows
    }
    expected = {"objects": counted.objects}
    if recipe["command"] == "check-train":
        expected |= {"trained on": counted.trained} if _plain_places(recipe) else {}
    expected |= {"crowds": counted.crowds} if counted.crowds.total() else {}
    for column, numbers in expected.items():
        printed = {name: row.get(column) for name, row in told.items()}
        there = Counter({plain(name): number for name, number in numbers.items()})
        if wrong := [name for name in told if printed[name] != there[name]]:
            return [f"{column} of {wrong}: {printed} printed, pycocotools has {dict(there)}"]
    if extra := set(map(plain, counted.objects)) - told.keys():
        return [f"objects of {extra} are in no row"]
    if recipe["command"] == "check-train":
        reasons = [name for name in columns if name not in ("class", "objects", "with masks")]
        for name, row in told.items():
            if sum(row[reason] for reason in reasons) != row["objects"]:
                return [f"{row} of {name}: the reasons do not add up to its objects"]
    return []


def _plain_places(recipe: dict[str, Any]) -> bool:
    """Whether boxes and sizes are as they were made, and not to be scaled or measured anew."""
    return not recipe["edits"] and not recipe["dropped"] and not recipe["damage"]


def _judge_figures(folder: Path, counted: Counted, outcome: Outcome) -> list[str]:
    figures = json.loads((folder / "figures.json").read_text())
    if figures["images"] != counted.images:
        return [f"{figures['images']} images evaluated of {counted.images}"]
    crowds = counted.crowds.total()
    single = counted.objects.total() - crowds
    if figures["objects"] != single:
        return [f"{figures['objects']} objects evaluated, pycocotools has {single} and {crowds}"]
    if crowds and number_in(outcome.out + outcome.err, r"([\d,]+) crowds") != crowds:
        return [f"{crowds} crowds are not counted, and nothing is said of them"]
    return []
