"""Looking through labelled images before training on them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spanetv2.data.images import Failure, ImageError
from spanetv2.data.splits import canonical_split
from spanetv2.data.white import white_line
from spanetv2.errors import UserError
from spanetv2.table import Table
from spanetv2.tasks.classification.config import DataConfig, RunConfig
from spanetv2.tasks.classification.data.source import ImageSource, Label
from spanetv2.tasks.classification.parts import (
    Parts,
    class_faults,
    classes_unseen,
    divide,
    open_part,
    settle_white,
)
from spanetv2.tasks.task import SplitCheck
from spanetv2.text import printable, shorten

__all__ = ["check_splits"]


class _Read(NamedTuple):
    """What a readable file holds."""

    label: Label
    digest: bytes
    size: tuple[int, int]
    mode: str


@dataclass(kw_only=True)
class _Survey:
    """What a split holds."""

    total: int = 0
    """readable images"""
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
    config: DataConfig,
    *,
    split: str | None = None,
    seed: int = RunConfig.seed,
    workers: int = 2,
    progress: bool = False,
) -> Iterator[SplitCheck]:
    """Read every image that training would read, a split at a time.

    The same code as in training finds the files, divides and reads them. Named are damaged files,
    files that are no images by their endings, files with the same bytes in both splits, classes in
    one split only, and what training would stop at.

    Args:
        config: of the data, as in training.
        split: the only split to look at; None is those of training.
        seed: of the images that are held out.
        workers: threads that read.
        progress: show a bar.

    Raises:
        UserError: no such folder or split, or files that training would refuse.
    """
    training = split is None or canonical_split(split) == canonical_split(config.train_split)
    source = open_part(config, split or config.train_split, training=training)
    errors = class_faults(source, keep=config.empty_classes == "keep") if training else []
    refused: UserError | None = None
    parts = Parts(source, None, None)
    if split is None:
        try:
            parts = divide(config, source, seed=seed)
        except UserError as error:  # said when the training images have been looked at
            refused = error
    earlier: dict[bytes, list[str]] = {}
    for name, part in ((split or config.train_split, parts.train), ("val", parts.val)):
        if part is None:
            continue
        if not isinstance(part, ImageSource):
            raise UserError(f"got a stream ({config.dataset}), expected files that can be counted")
        survey = _survey(part, workers=workers, progress=progress)
        problems = [f"error: {printable(path)}: {reason}" for path, reason in survey.damaged]
        problems += [f"error: {text}" for text in errors]
        warnings = list(_doubled(survey, earlier))
        remarks = list(part.remarks)
        if part is parts.val:
            warnings += filter(None, [classes_unseen(parts)])
        elif training:
            deep, white = settle_white(part, given=None, max_pixels=config.max_pixels)
            remarks += [white_line(deep, white, option="preprocessing.white")] if deep else []
        problems += [f"warning: {text}" for text in warnings]
        problems += [f"remark: {text}" for text in remarks]
        yield SplitCheck(
            report=_report(name, part, survey),
            problems=problems,
            errors=len(survey.damaged) + len(errors),
        )
        earlier, errors = survey.digests, []
    if refused is not None:
        raise refused


def _survey(source: ImageSource, *, workers: int, progress: bool) -> _Survey:
    from tqdm import tqdm

    def look(index: int) -> _Read | Failure:
        path = source.location(index)
        try:
            image, label = source.sample(index)
        except ImageError as error:
            return Failure(error.path or path, error.reason)
        content = Path(path).read_bytes() if files else image.tobytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        return _Read(label, digest, image.size, image.mode)

    survey = _Survey()
    files = bool(source.files())
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(source), unit="image", desc="check", disable=not progress) as bar,
    ):
        for index, read in enumerate(pool.map(look, range(len(source)))):
            bar.update()
            if isinstance(read, Failure):
                survey.damaged.append(read)
                continue
            own = read.label
            survey.images.update([own] if isinstance(own, int) else np.flatnonzero(own).tolist())
            survey.total += 1
            survey.digests[read.digest].append(source.location(index))
            survey.sizes[read.size] += 1
            survey.modes[read.mode] += 1
    return survey


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


def _report(split: str, source: ImageSource, survey: _Survey) -> str:
    rows = [
        [shorten(printable(name)), str(survey.images[i])] for i, name in enumerate(source.classes)
    ]
    lines = [f"{split}: {survey.total} images, {len(source.classes)} classes"]
    lines.append(Table("", ["class", "images"], rows).text().rstrip())
    if survey.sizes:
        sides: Any = [side for size in survey.sizes for side in size]
        common, count = survey.sizes.most_common(1)[0]
        lines.append(
            f"sides of {min(sides)} to {max(sides)} pixels, most often {common[0]} x {common[1]} "
            f"({count} images); " + ", ".join(f"{n} {m}" for m, n in survey.modes.most_common())
        )
    return "\n".join([*lines, ""])
