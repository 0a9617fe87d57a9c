"""Looking through a data set before anything depends on it."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spanetv2.data.apart import TAKE_OUT, shared_files, shared_text
from spanetv2.data.images import (
    ImageError,
    check_file,
    image_orientation,
    open_image,
    opening,
)
from spanetv2.data.splits import canonical_split
from spanetv2.data.white import deep_images, find_white, white_line
from spanetv2.errors import UserError
from spanetv2.table import Table, percent
from spanetv2.tasks.segmentation.data.encoding import IGNORED
from spanetv2.tasks.segmentation.data.folder import (
    DatasetSpec,
    decided,
    open_dataset,
    splits_to_check,
)
from spanetv2.tasks.segmentation.data.orientation import (
    OrientationCount,
    settle,
    shown_size,
    turn_of,
)
from spanetv2.tasks.segmentation.data.shares import PixelCounts, find_class_problems
from spanetv2.tasks.segmentation.data.source import PairSource, sizes_differ
from spanetv2.tasks.segmentation.data.turned import draw_turned
from spanetv2.tasks.task import CHECK_PICTURES, SplitCheck
from spanetv2.text import shorten

__all__ = [
    "Problem",
    "Survey",
    "check_headers",
    "check_splits",
    "count_masks",
    "refuse",
    "settle_orientation",
    "settle_white",
    "survey",
]


class Problem(NamedTuple):
    """What is wrong with a file."""

    path: str
    reason: str


@dataclass(kw_only=True)
class Survey:
    """What a data set holds."""

    samples: int = 0
    """pairs that can be used"""
    pixels: list[int] = field(default_factory=list)
    """labelled pixels by class"""
    images: list[int] = field(default_factory=list)
    """images in which the class occurs, by class"""
    ignored: int = 0
    """pixels that are not labelled"""
    problems: list[Problem] = field(default_factory=list)
    """files that cannot be used"""

    @property
    def counts(self) -> PixelCounts:
        """Pixels alone."""
        return PixelCounts(pixels=self.pixels, ignored=self.ignored)


def survey(source: PairSource, *, workers: int = 1, progress: bool = False) -> Survey:
    """Read every image and every label map, and count.

    Args:
        source: the data; its transform is not used.
        workers: threads that read.
        progress: show a bar.

    Returns:
        Counts and problems.
    """
    return _count(source, lambda index: source.read(index)[1], workers, progress)


def count_masks(source: PairSource, *, workers: int = 4, progress: bool = False) -> Survey:
    """Read every label map, without its image, and count."""
    return _count(source, source.read_labels, workers, progress and sys.stderr.isatty())


def _count(
    source: PairSource, read: Callable[[int], np.ndarray], workers: int, progress: bool
) -> Survey:
    from tqdm import tqdm

    size = len(source.classes)
    pixels, images = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    result = Survey()

    def look(index: int) -> np.ndarray | Problem:
        try:
            return np.bincount(read(index).ravel(), minlength=256)
        except ImageError as error:
            return Problem(error.path or source.location(index), error.reason)

    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(source), unit="pair", desc="check", disable=not progress) as bar,
    ):
        for counts in pool.map(look, range(len(source))):
            bar.update()
            if isinstance(counts, Problem):
                result.problems.append(counts)
                continue
            result.samples += 1
            pixels += counts
            images += counts > 0
    result.pixels, result.images = pixels[:size].tolist(), images[:size].tolist()
    result.ignored = int(pixels[IGNORED])
    return result


def refuse(problems: Sequence[Problem]) -> None:
    """Stop where there are problems.

    Raises:
        UserError: naming the first file, and how many there are.
    """
    if problems:
        path, reason = problems[0]
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise UserError(f"{path}: {reason}{more}; spanetv2 check-data segmentation lists all")


def check_headers(
    sources: Iterable[PairSource], *, progress: bool = False
) -> list[OrientationCount]:
    """Refuse data whose files' headers already show that they cannot be used.

    Sizes and channels are read from the headers, without decoding a pixel: 20,000 pairs take
    seconds. The sources are told how masks lie on images that EXIF data turn.

    Returns:
        For each source, its images that EXIF data turn.

    Raises:
        UserError: naming the first file, and how many there are.
    """
    problems: list[Problem] = []
    counts = []
    for source in sources:
        count, found = settle_orientation(source, progress=progress)
        counts.append(count)
        problems += found
    refuse(problems)
    return counts


def settle_orientation(
    source: PairSource, *, progress: bool = False
) -> tuple[OrientationCount, list[Problem]]:
    """Find out how a source's masks lie on images that EXIF data turn, and tell it.

    Returns:
        Images that are turned, and files whose headers show that they cannot be used.
    """
    from tqdm import tqdm

    bar = tqdm(
        source.pairs,
        unit="pair",
        desc="check",
        disable=not (progress and sys.stderr.isatty()),
        delay=2,
        leave=False,
    )
    kinds = [0, 0, 0]
    problems: list[Problem] = []
    for pair in bar:
        image = _header(pair.image, problems, source)
        mask = _header(pair.mask, problems, source, is_mask=True)
        if image is None or mask is None:
            continue
        shown = shown_size(image.size, image.orientation)
        if image.orientation != 1:
            fits = [mask.size == shown, mask.size == image.size]
            if any(fits):
                kinds[2 if all(fits) else fits.index(True)] += 1
        turn = turn_of(image.orientation, shown=shown, mask=mask.size, rule=source.orientation)
        if shown_size(mask.size, turn) != shown:
            reason = sizes_differ(pair, shown=shown, mask=mask.size, orientation=image.orientation)
            problems.append(Problem(pair.mask, reason))
    count = OrientationCount(*kinds)
    source.undecided_stored = source.orientation == "auto" and settle(count)
    return count, problems


def settle_white(
    source: PairSource, *, given: int | None, progress: bool = False
) -> tuple[int, int | None]:
    """The white of a training split's grey images of more than 8 bits.

    Args:
        source: the training split.
        given: white as it was said; None finds it.
        progress: show a bar on a terminal.

    Returns:
        The number of such images, and white; None where there are none and nothing was said.
    """
    paths = [pair.image for pair in source.pairs]
    deep = deep_images(paths, max_pixels=source.max_pixels, progress=progress)
    if given is None:
        given = find_white(deep, max_pixels=source.max_pixels, progress=progress)
    return len(deep), given


class _Header(NamedTuple):
    size: tuple[int, int]
    orientation: int


def _header(
    path: str, problems: list[Problem], source: PairSource, *, is_mask: bool = False
) -> _Header | None:
    try:
        check_file(Path(path), path)
        with (
            opening(path, max_pixels=source.max_pixels),
            open_image(path) as opened,
        ):
            if is_mask:
                source.encoding.check_mode(opened.mode, path)
                return _Header(opened.size, 1)
            return _Header(opened.size, image_orientation(opened))
    except ImageError as error:
        problems.append(Problem(path, error.reason))
    return None


def check_splits(
    root: Path,
    *,
    split: str | None = None,
    spec: DatasetSpec | None = None,
    dataset: str | None = None,
    allow_missing: bool = False,
    pictures: Path | None = None,
    workers: int = 2,
    progress: bool = False,
) -> Iterator[SplitCheck]:
    """Look through a data set, a part at a time.

    Of images with an EXIF orientation three are drawn with their masks, to look at.

    Args:
        root: folder of the data.
        split: the only part to look at; None is train and val, or all of a folder that is not
            split.
        spec: how masks are read; its root, split and name are not looked at.
        dataset: ade20k or folder; None is what the folder looks like.
        allow_missing: classes may have no pixel.
        pictures: folder of the pictures.
        workers: threads that read.
        progress: show a bar.

    Raises:
        UserError: no such folder, part or class list; masks that are missing or left over.
    """
    usable = unusable = 0
    name: Any = dataset or "auto"
    spec = decided(replace(spec or DatasetSpec(), name=name, root=str(root), split=split))
    seen = splits_to_check(spec)
    trained: list[str] = []
    for part in (split,) if split is not None else seen:
        source = open_dataset(replace(spec, split=part))
        count, _ = settle_orientation(source)
        result = survey(source, workers=workers, progress=progress)
        usable += result.samples
        unusable += len(result.problems)
        problems = [f"error: {problem.path}: {problem.reason}" for problem in result.problems]
        training = part is None or canonical_split(part) == "train"
        found = find_class_problems(
            source, result.counts, training=training, allow_missing=allow_missing
        )
        remarks = [*source.remarks, count.remark(source.orientation)]
        if drawn := draw_turned(source, pictures or CHECK_PICTURES, part or "all"):
            listed = ", ".join(map(str, drawn))
            remarks.append(f"images with an EXIF orientation and their masks: {listed}")
        if training:
            deep, white = settle_white(source, given=None)
            remarks += [white_line(deep, white, option="preprocessing.white")] if deep else []
        paths = source.images()
        if shared := shared_files(trained, paths):
            said = shared_text(shared, len(paths), part or "all")
            problems.append(f"error: {said}, expected others; {TAKE_OUT}")
        trained = paths if training else trained
        if result.samples:
            problems += [f"error: {line}" for line in found.errors]
            problems += [f"warning: {line}" for line in found.warnings]
        problems += [f"remark: {line}" for line in remarks if line]
        yield SplitCheck(
            report=_report(part, source.classes, result),
            problems=problems,
            errors=sum(line.startswith("error: ") for line in problems),
            summary=f"{usable} pairs can be used, {unusable} cannot" if unusable else "",
        )


def _report(split: str | None, classes: Sequence[str], result: Survey) -> str:
    total = sum(result.pixels)
    rows = [
        [shorten(name), str(images), f"{percent(pixels / total if total else None)} %"]
        for name, pixels, images in zip(classes, result.pixels, result.images, strict=True)
    ]
    table = Table("", ["class", "images", "share of labelled pixels"], rows).text().rstrip()
    lines = [f"{split or 'all'}: {result.samples} pairs", table]
    if result.ignored:
        share = 100 * result.ignored / (total + result.ignored)
        lines.append(f"{share:.2f} % of all pixels are not labelled")
    return "\n".join([*lines, ""])
