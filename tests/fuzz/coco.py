"""Annotation files in COCO's form, for ``check-data detection`` and ``evaluate``."""

import contextlib
import copy
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.judge import lines_of, table_of
from tests.fuzz.pictures import damage, damages, picture_recipes, write_picture
from tests.fuzz.worker import Outcome

SHARE = 5
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
    return {
        "images": draw(st.lists(picture_recipes(sound=True), min_size=1, max_size=3)),
        "objects": draw(st.lists(boxes, max_size=6)),
        "edits": draw(st.lists(st.tuples(_PLACES, _VALUES).map(list), max_size=3)),
        "dropped": draw(st.lists(_PLACES, max_size=1)),
        "damage": draw(st.one_of(st.just([]), st.just([]), st.just([]), damages)),
        "command": draw(st.sampled_from(["check", "check", "check", "evaluate"])),
        "names": draw(st.sampled_from(["model", "model", "own"])),
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
    (folder / "data" / "images").mkdir(parents=True)
    for place, picture in enumerate(recipe["images"]):
        write_picture(folder / "data" / "images" / f"{place}{picture['ending']}", picture)
    file = folder / "data" / "instances_val.json"
    file.write_bytes(damage(json.dumps(record(recipe)).encode(), recipe["damage"]))
    if recipe["command"] == "check":
        places = ["--annotations", "data/instances_val.json", "--split", "data/images"]
        return ["check-data", "detection", *places]
    places = ["--data", "data/instances_val.json", "--split", "data/images"]
    return ["evaluate", "spanetv2_pico_pure.scenes_mask_rcnn", *places, "--json", "figures.json"]


def _counted(path: Path) -> Counter[str] | None:
    """Objects per class as pycocotools reads the file; None where it cannot."""
    from pycocotools.coco import COCO

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            data = COCO(str(path))
        names = {key: entry["name"] for key, entry in data.cats.items()}
        return Counter(names[entry["category_id"]] for entry in data.anns.values())
    except Exception:
        return None


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if outcome.status != 0 or lines_of(outcome.err):
        return []  # refused, or a difference was said
    counted = _counted(folder / "data" / "instances_val.json")
    if counted is None:
        return []  # what pycocotools does not read, such as ids of other kinds
    if recipe["command"] == "evaluate":
        figures = json.loads((folder / "figures.json").read_text())
        if figures["images"] != len(recipe["images"]):
            return [f"{figures['images']} images evaluated of {len(recipe['images'])}"]
        if figures["objects"] != counted.total():
            return [f"{figures['objects']} objects evaluated, pycocotools has {counted.total()}"]
        return []
    rows = table_of(outcome.out, "class ")
    if len(lines_of(outcome.out)) != len(rows) + 2:
        return []  # a remark among what is printed
    printed = {row[0]: int(row[1]) for row in rows}
    wrong = {name: n for name, n in counted.items() if printed.get(name) != n}
    return [f"{printed} objects printed, pycocotools has {dict(counted)}"] if wrong else []
