"""Folders of images by class, and CSV files of labels, for ``check-data classification``."""

import warnings
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.judge import lines_of, table_of
from tests.fuzz.pictures import damage, damages, names, picture_recipes, write_picture
from tests.fuzz.worker import Outcome

SHARE = 2


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    images = draw(
        st.lists(
            st.tuples(st.sampled_from(["train", "val"]), names, names, picture_recipes()),
            min_size=1,
            max_size=6,
        )
    )
    return {
        "images": [list(image) for image in images],
        "csv": draw(st.sampled_from(["", "", "image,class", "file;label", "\tx\t", "class,image"])),
        "damage": draw(st.one_of(st.just([]), damages)),
    }


def _files(recipe: dict[str, Any], folder: Path) -> dict[Path, tuple[str, str, dict[str, Any]]]:
    return {
        folder / "data" / split / kind / f"{name}{picture['ending']}": (split, kind, picture)
        for split, kind, name, picture in recipe["images"]
    }


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    lines = [recipe["csv"]]
    for path, (_, kind, picture) in _files(recipe, folder).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, picture)
        lines.append(f"{path.relative_to(folder / 'data')},{kind}")
    if not recipe["csv"]:
        return ["check-data", "classification", "data"]
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    (folder / "data" / "labels.csv").write_bytes(damage(text, recipe["damage"]))
    return ["check-data", "classification", "data/labels.csv"]


def _reads(path: Path) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            image.load()
    except Exception:
        return False
    return True


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if outcome.status != 0 or recipe["csv"]:
        return []
    # hidden files and folders are no input, as everywhere
    files = [
        path
        for path in _files(recipe, folder)
        if path.is_file() and "/." not in str(path.relative_to(folder))
    ]
    if broken := [path for path in files if not _reads(path)]:
        return [f"status 0, and Pillow cannot decode {broken[0].name!r}"]
    if lines_of(outcome.err):
        return []  # a difference was said
    rows = table_of(outcome.out, "class ")
    rest = outcome.out.split("\n\n")
    for part in rest[1:]:
        rows += table_of(part, "class ")
    printed = sum(int(row[-1]) for row in rows if row[-1].isdigit())
    return [f"{printed} images printed of {len(files)}"] if printed != len(files) else []
