"""Folders of images by class, and CSV files of labels, for ``check-data classification``."""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

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

SHARE = 2


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    images = [  # two of each class, so that not every recipe is refused
        [split, kind, f"{place}", draw(picture_recipes())]
        for split in ("train", "val")
        for kind in ("cat", "dog")
        for place in range(draw(st.integers(1, 2)))
    ]
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(seldom(names, "cat", one_in=3))
        images.append(
            [draw(st.sampled_from(["train", "val"])), kind, draw(names), draw(picture_recipes())]
        )
    odd_csv = st.sampled_from(["file;label", "\tx\t", "class,image"])
    return {
        "images": images,
        "csv": draw(seldom(odd_csv, draw(st.sampled_from(["", "", "image,class"])))),
        "damage": draw(seldom(damages, [])),
    }


def files_of(recipe: dict[str, Any], folder: Path) -> dict[Path, tuple[str, str, dict[str, Any]]]:
    """Split, class and picture of every image file."""
    return {
        folder / "data" / split / kind / f"{name}{picture['ending']}": (split, kind, picture)
        for split, kind, name, picture in recipe["images"]
    }


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    lines = [recipe["csv"]]
    for path, (_, kind, picture) in files_of(recipe, folder).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, picture)
        lines.append(f"{path.relative_to(folder / 'data')},{kind}")
    if not recipe["csv"]:
        return ["check-data", "classification", "data"]
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    (folder / "data" / "labels.csv").write_bytes(damage(text, recipe["damage"]))
    return [
        "check-data",
        "classification",
        "data",
        "--labels",
        "data/labels.csv",
        "--val-share",
        "0.5",
    ]


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    parts = {
        line.split(":")[0]: (int(line.split()[1].replace(",", "")), table_of(part, "class "))
        for part in outcome.out.split("\n\n")
        for line in part.splitlines()[:1]
        if re.search(r": [\d,]+ images, [\d,]+ classes", line)
    }
    if not parts:
        return ["nothing is said of the data"] if outcome.status == 0 else []
    if recipe["csv"]:
        return _judge_csv(recipe, folder, outcome, {k: v[0] for k, v in parts.items()})
    # hidden files and folders are no input, as everywhere
    files = [
        path
        for path in files_of(recipe, folder)
        if path.is_file() and "/." not in str(path.relative_to(folder))
    ]
    named = named_in(outcome, files, folder)
    # a split that is refused as a whole is not looked through
    looked = [path for path in files if outcome.status == 0 or path.parent.parent.name in parts]
    left = [path for path in looked if path not in named]
    if broken := [path for path in left if shown_size(path) is None]:
        return [f"no word for {broken[0].name!r}, which Pillow cannot decode"]
    for split, (total, rows) in parts.items():
        here = Counter(p.parent.name for p in left if p.parent.parent.name == split)
        printed = sum(int(row[-1]) for row in rows)
        if not total == printed == here.total():
            return [
                f"{total} images of {split} printed, {printed} in rows, {here.total()} are there"
            ]
        if sorted(int(row[-1]) for row in rows if row[-1] != "0") != sorted(here.values()):
            return [f"{rows} printed, there are {dict(here)}"]
    return []


def _judge_csv(
    recipe: dict[str, Any], folder: Path, outcome: Outcome, printed: dict[str, int]
) -> list[str]:
    """Every row of a table that csv reads as it was meant is an image, held out or not."""
    if recipe["damage"] or recipe["csv"] != "image,class":
        return []
    with (folder / "data" / "labels.csv").open(newline="", errors="surrogateescape") as stream:
        rows = list(csv.DictReader(stream))
    paths = [folder / "data" / row["image"] for row in rows]
    if not all(path.is_file() for path in paths):
        return []
    left = len(rows) - len([p for p in paths if p in named_in(outcome, paths, folder)])
    total = sum(printed.values())
    if outcome.status == 0 and total != left:
        return [f"{total} images printed, the table has {left}"]
    return []
