"""Looking through a folder of labelled images before training on it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spanetv2.data.images import EXTENSIONS, Failure, ImageError
from spanetv2.data.splits import RUN_SPLITS
from spanetv2.data.walk import walk
from spanetv2.table import Table
from spanetv2.tasks.classification.data.folder import FolderSource, split_folder
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.task import SplitCheck
from spanetv2.text import printable, shorten

__all__ = ["check_splits"]

_MOST_NAMED = 5


class _Read(NamedTuple):
    """What a readable file holds."""

    label: int
    digest: bytes
    size: tuple[int, int]
    mode: str


@dataclass(kw_only=True)
class _Survey:
    """What a split holds."""

    images: Counter[int] = field(default_factory=Counter)
    """readable images by class index"""
    digests: dict[bytes, list[str]] = field(default_factory=lambda: defaultdict(list))
    """digest of a file -> paths of the files with these bytes"""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(width, height) in pixels"""
    modes: Counter[str] = field(default_factory=Counter)
    """Pillow's modes, upright and reduced to grey or colour"""
    damaged: list[Failure] = field(default_factory=list)
    """files that cannot be read"""


def check_splits(
    root: Path,
    *,
    split: str | None = None,
    workers: int = 2,
    progress: bool = False,
) -> Iterator[SplitCheck]:
    """Read every image of a folder of class folders, a split at a time.

    The same code as in training finds the files and reads them. Named are damaged files, files that
    are no images by their endings, files with the same bytes in both splits, classes in one split
    only, and, as what cannot be trained on, a set without images or with one class.

    Args:
        root: folder of the data.
        split: the only split to look at; None is train and val.
        workers: threads that read.
        progress: show a bar.

    Raises:
        UserError: no such folder or split, or files that training would refuse.
    """
    splits = (split,) if split is not None else RUN_SPLITS
    folders = [split_folder(root, name) for name in splits]
    same = len(folders) == 2 and folders[0].resolve() == folders[1].resolve()
    if same:
        folders, splits = folders[:1], ("all",)
    earlier: dict[bytes, list[str]] = {}
    classes: list[str] | None = None
    for name, folder in zip(splits, folders, strict=True):
        training = name == splits[0] and split is None
        source = FolderSource(folder, drop_empty=not training)
        survey = _survey(source, workers=workers, progress=progress)
        errors = [f"{printable(path)}: {reason}" for path, reason in survey.damaged]
        if training and len(source.classes) < 2:
            errors.append(f"{folder}: one class, {source.classes[0]!r}; training needs two or more")
        warnings = [*_left_out(folder), *_doubled(survey, earlier)]
        if same:
            warnings.append(
                f"{root} is not split: training would validate on the images it trains on; make "
                "folders train and val"
            )
        if classes is not None:
            warnings += _one_sided(classes, source.classes)
            unknown = sorted(set(source.classes) - set(classes))
            if unknown:
                errors.append(f"{folder}: classes {_named(unknown)} are not in the training images")
        yield SplitCheck(
            report=_report(name, source, survey),
            problems=[f"error: {text}" for text in errors]
            + [f"warning: {text}" for text in warnings],
            errors=len(errors),
        )
        earlier, classes = survey.digests, source.classes


def _survey(source: ImageSource, *, workers: int, progress: bool) -> _Survey:
    from tqdm import tqdm

    def look(index: int) -> _Read | Failure:
        path = source.location(index)
        try:
            image, label = source.sample(index)
        except ImageError as error:
            return Failure(error.path or path, error.reason)
        digest = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
        return _Read(label, digest, image.size, image.mode)

    survey = _Survey()
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(source), unit="image", desc="check", disable=not progress) as bar,
    ):
        for index, read in enumerate(pool.map(look, range(len(source)))):
            bar.update()
            if isinstance(read, Failure):
                survey.damaged.append(read)
                continue
            survey.images[read.label] += 1
            survey.digests[read.digest].append(source.location(index))
            survey.sizes[read.size] += 1
            survey.modes[read.mode] += 1
    return survey


def _left_out(folder: Path) -> Iterator[str]:
    """Files below the class folders that are not read, by their endings."""
    endings: Counter[str] = Counter()
    for path in walk(str(folder)):
        if isinstance(path, Failure):
            yield f"{printable(path.path)}: {path.reason}"
        elif (ending := Path(path).suffix.lower()) not in EXTENSIONS:
            endings[ending or "no ending"] += 1
    for ending, count in endings.most_common():
        yield f"{folder}: {count} files with {ending} are left out; read are {_listed_endings()}"
    hidden = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name.startswith("."))
    if hidden:
        yield f"{folder}: folders that begin with a dot are left out: {_named(hidden)}"


def _listed_endings() -> str:
    return ", ".join(sorted(EXTENSIONS))


def _doubled(survey: _Survey, earlier: dict[bytes, list[str]]) -> Iterator[str]:
    """Files with the same bytes as others, in this split and in the one before."""
    shared = [digest for digest in survey.digests if digest in earlier]
    if shared:
        first = shared[0]
        yield (
            f"{len(shared)} images are in both splits, byte by byte (first: "
            f"{printable(earlier[first][0])} and {printable(survey.digests[first][0])}); figures "
            "on them flatter"
        )
    twice = [paths for paths in survey.digests.values() if len(paths) > 1]
    if twice:
        pair = " and ".join(printable(path) for path in twice[0][:2])
        yield f"{len(twice)} images are there more than once (first: {pair})"


def _one_sided(train: list[str], val: list[str]) -> Iterator[str]:
    if missing := sorted(set(train) - set(val)):
        yield f"classes without validation images: {_named(missing)}"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(printable(name) for name in names[:_MOST_NAMED]) + more


def _report(split: str, source: ImageSource, survey: _Survey) -> str:
    total = sum(survey.images.values())
    rows = [
        [shorten(printable(name)), str(survey.images[i])] for i, name in enumerate(source.classes)
    ]
    lines = [f"{split}: {total} images, {len(source.classes)} classes"]
    lines.append(Table("", ["class", "images"], rows).text().rstrip())
    if survey.sizes:
        sides: Any = [side for size in survey.sizes for side in size]
        common, count = survey.sizes.most_common(1)[0]
        lines.append(
            f"sides of {min(sides)} to {max(sides)} pixels, most often {common[0]} x {common[1]} "
            f"({count} images); " + ", ".join(f"{n} {m}" for m, n in survey.modes.most_common())
        )
    return "\n".join([*lines, ""])
