"""Images, sound and damaged, for ``predict``: each is answered for or named."""

import json
import os
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.judge import lines_of
from tests.fuzz.pictures import names, picture_recipes, seldom, shown_size, write_picture
from tests.fuzz.worker import Outcome

SHARE = 4
TAGS = {"c": "fashion_mnist", "s": "scenes_semantic_fpn", "d": "scenes_mask_rcnn"}
_ENDINGS = (".png", ".jpg", ".bmp", ".gif", ".tif", ".webp", ".ppm", ".jpeg", ".PNG")


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    usual = st.sampled_from(["a", "b", "c", "d", "e", "f"])
    images = draw(st.lists(st.tuples(usual | names, picture_recipes()), min_size=1, max_size=4))
    return {
        "task": draw(st.sampled_from("cccsd")),
        "images": [list(image) for image in images],
        "endings": draw(seldom(st.lists(st.sampled_from(_ENDINGS), max_size=2), [])),
        "links": draw(seldom(st.sampled_from(["loop", "broken", "folder", "pipe"]), "", one_in=4)),
    }


def _files(recipe: dict[str, Any], folder: Path) -> dict[Path, dict[str, Any]]:
    endings = recipe["endings"]
    found = {}
    for place, (name, picture) in enumerate(recipe["images"]):
        ending = endings[place] if place < len(endings) else picture["ending"]
        found[folder / "in" / f"{name}{ending}"] = picture
    return found


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    (folder / "in").mkdir()
    for path, picture in _files(recipe, folder).items():
        write_picture(path, picture)
    extra = folder / "in" / "zz.png"
    match recipe["links"]:
        case "loop":
            extra.symlink_to(extra.name)
        case "broken":
            extra.symlink_to("nowhere.png")
        case "folder":
            extra.mkdir()
        case "pipe":
            os.mkfifo(extra)
    out = [] if recipe["task"] == "c" else ["--out", "out"]
    return ["predict", f"spanetv2_pico_pure.{TAGS[recipe['task']]}", "in", *out]


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    # hidden files are no input, as everywhere
    paths = [p for p in (folder / "in").iterdir() if p.is_file() and p.name[0] != "."]
    sizes = {path: shown_size(path) for path in paths}
    errors = [line for line in lines_of(outcome.err) if line.startswith("error: ")]
    if outcome.status == 0:
        if unreadable := [p.name for p, size in sizes.items() if size is None]:
            return [f"answered without a word for {unreadable[0]!r}, which Pillow cannot decode"]
        if errors:
            return ["status 0 beside an error"]
    answers = _answers(recipe, folder, outcome)
    said = len(answers) + len(errors)
    extra = recipe["links"] in ("loop", "broken", "pipe")
    whole = outcome.status in (0, 1) and answers
    if whole and not len(paths) <= said <= len(paths) + extra:
        return [f"{len(paths)} images, {len(answers)} answers and {len(errors)} errors"]
    if recipe["task"] == "s":
        for name, size in answers.items():
            path = folder / name
            if sizes.get(path) not in (None, size):
                return [f"labels of {size} for {path.name!r} of {sizes[path]}"]
    return []


def _answers(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> dict[str, Any]:
    """What was answered: file -> anything."""
    if recipe["task"] == "c":
        return dict.fromkeys(line.split("\t")[0] for line in lines_of(outcome.out))
    if recipe["task"] == "s":
        file = folder / "out" / "predictions.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        found = {}
        for row in rows:
            with Image.open(folder / "out" / row["labels"]) as labels:
                found[row["path"]] = labels.size
        return found
    pictures = (folder / "out").glob("*.png") if (folder / "out").is_dir() else []
    return dict.fromkeys(str(path) for path in pictures)
