"""Scenes on disk: ADE20K's folders with COCO's annotations beside them.

::

    OUT/images/training/scene_000001.jpg        OUT/images/validation/...
    OUT/annotations/training/scene_000001.png   OUT/annotations/validation/...
    OUT/annotations/instances_train.json        OUT/annotations/instances_val.json
    OUT/classes.txt                             one name per line, background first
    OUT/scenes.json                             what it was made with
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from spanetv2.data.walk import is_folder
from spanetv2.errors import UserError
from spanetv2.files import atomic_folder
from spanetv2.processes import end_with_parent
from spanetv2.scenes.annotate import ade_labels, coco_annotations, coco_categories
from spanetv2.scenes.compose import Scene, SceneSettings, make_scene
from spanetv2.scenes.material import CLASSES, PHOTOGRAPHS, Split, material
from spanetv2.text import printable

__all__ = ["FOLDERS", "RECORD", "scene_of", "write_scenes"]

FOLDERS: dict[Split, str] = {"train": "training", "val": "validation"}
"""Names of the splits' folders, as in ADE20K."""

RECORD = "scenes.json"
"""The file by which a folder of scenes is recognised."""

_OWN = re.compile(
    rf"{RECORD}|classes\.txt|annotations/instances_\w+\.json|images/\w+/scene_\d+\.jpg|"
    r"annotations/\w+/scene_\d+\.png"
)
"""Files that scenes are made of."""
_QUALITY = 92


def scene_of(settings: SceneSettings, split: Split, number: int, *, seed: int) -> Scene:
    """Scene ``number`` (from 1) of a split: a function of these arguments, not of other scenes."""
    rng = np.random.default_rng([seed, list(FOLDERS).index(split), number])
    return make_scene(settings, material(split), rng)


def write_scenes(
    out: str | os.PathLike[str],
    *,
    train: int,
    val: int,
    seed: int = 0,
    settings: SceneSettings | None = None,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Make a data set of scenes. The folder appears when all of it is written.

    Args:
        out: the folder to make.
        train: number of scenes to train on.
        val: number of held-out scenes, of other digits and other parts of the photographs.
        seed: 0 or more; the files are a function of it and the settings.
        settings: how scenes are made.
        workers: processes that make them; 0 makes them in this one. The files are the same.
        overwrite: replace a folder of scenes that is there already.
        progress: show a bar on standard error.

    Returns:
        The folder.

    Raises:
        UserError: no scenes asked for, a negative seed, or something else is in the folder.
        OSError: it cannot be written.
    """
    settings = settings or SceneSettings()
    if min(train, val) < 0 or train + val < 1:
        raise UserError(f"got {train} + {val} scenes, expected at least one in all")
    if seed < 0:
        raise UserError(f"got seed {seed}, expected 0 or more")
    _refuse_to_replace(Path(out), overwrite=overwrite)
    with (
        atomic_folder(out) as folder,
        tqdm(total=train + val, unit="scene", disable=not progress) as bar,
    ):
        counts: dict[Split, int] = {"train": train, "val": val}
        for split, count in counts.items():
            if count:
                _write_split(folder, split, count, settings, seed=seed, workers=workers, bar=bar)
        (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
        record = {
            "train": train,
            "val": val,
            "seed": seed,
            "settings": dataclasses.asdict(settings),
            "material": ["scikit-learn's digits", *PHOTOGRAPHS],
        }
        text = json.dumps(record, indent=2) + "\n"
        (folder / RECORD).write_text(text, encoding="utf-8")
    return Path(out)


def _write_split(
    folder: Path,
    split: Split,
    count: int,
    settings: SceneSettings,
    *,
    seed: int,
    workers: int,
    bar: Any,
) -> None:
    for kind in ("images", "annotations"):
        (folder / kind / FOLDERS[split]).mkdir(parents=True)
    write = functools.partial(_write_scene, folder, split, settings, seed)
    images, annotations = [], []
    with _mapped(write, count, workers) as written:
        for number, found in enumerate(written, start=1):
            side = settings.size
            name = f"{_name(number)}.jpg"
            images.append({"id": number, "file_name": name, "width": side, "height": side})
            annotations += [{**one, "id": len(annotations) + i} for i, one in enumerate(found, 1)]
            bar.update()
    whole = {
        "info": {"description": f"Digits on photographs, {FOLDERS[split]}", "version": "1"},
        "images": images,
        "annotations": annotations,
        "categories": coco_categories(),
    }
    text = json.dumps(whole, separators=(",", ":")) + "\n"
    (folder / "annotations" / f"instances_{split}.json").write_text(text, encoding="utf-8")


def _write_scene(
    folder: Path, split: Split, settings: SceneSettings, seed: int, number: int
) -> list[dict[str, Any]]:
    """Write the files of one scene; returns its annotations, whose ids count from 1."""
    scene = scene_of(settings, split, number, seed=seed)
    name, place = _name(number), FOLDERS[split]
    image = Image.fromarray(scene.image)
    image.save(folder / "images" / place / f"{name}.jpg", quality=_QUALITY)
    ade_labels(scene).save(folder / "annotations" / place / f"{name}.png")
    return coco_annotations(scene, image_id=number, first_id=1)


def _name(number: int) -> str:
    return f"scene_{number:06d}"


@contextlib.contextmanager
def _mapped(write: Any, count: int, workers: int) -> Iterator[Iterator[list[dict[str, Any]]]]:
    numbers = range(1, count + 1)
    if workers < 1:
        yield map(write, numbers)
        return
    # Fresh processes: those forked from one that holds PyTorch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=end_with_parent
    ) as pool:
        try:
            yield pool.map(write, numbers, chunksize=16)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _foreign(folder: Path) -> Path | None:
    """The first file in a folder of scenes that ``write_scenes`` has not made."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not (is_folder(path) or _OWN.fullmatch(name.as_posix())) or path.is_symlink():
            return name
    return None


def _refuse_to_replace(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds what is to stay."""
    if out.exists() and not out.is_dir():
        raise UserError(f"got {out}, a file, expected a folder to make")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / RECORD).is_file():
        raise UserError(
            f"got folder {out} with other files in it (no {RECORD}), expected a new folder"
        )
    if not overwrite:
        raise UserError(f"got {out}, which holds scenes; choose another, or add --overwrite")
    if (other := _foreign(out)) is not None:
        raise UserError(
            f"got {out} with {printable(str(other))} in it, which is no part of scenes and "
            "would be lost; move it, or choose another folder"
        )
