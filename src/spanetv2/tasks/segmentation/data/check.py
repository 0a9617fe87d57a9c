"""Looking through a data set before anything depends on it."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.table import Table, percent
from spanetv2.tasks.segmentation.data.folder import (
    DatasetSpec,
    open_dataset,
    splits_to_check,
)
from spanetv2.tasks.segmentation.data.source import (
    IGNORED,
    Pair,
    PairSource,
    check_label_mode,
)
from spanetv2.tasks.task import SplitCheck
from spanetv2.text import shorten

__all__ = ["Problem", "Survey", "check_headers", "check_splits", "survey"]

_SIDEWAYS = range(5, 9)
_ORIENTATION = 0x0112


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


def survey(source: PairSource, *, workers: int = 1, progress: bool = False) -> Survey:
    """Read every image and every label map, and count.

    Args:
        source: the data; its transform is not used.
        workers: threads that read.
        progress: show a bar.

    Returns:
        Counts and problems.
    """
    from tqdm import tqdm

    size = len(source.classes)
    pixels, images = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    result = Survey()

    def look(index: int) -> np.ndarray | Problem:
        try:
            _, labels = source.read(index)
        except ImageError as error:
            return Problem(error.path or source.location(index), error.reason)
        return np.bincount(labels.ravel(), minlength=256)

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


def check_headers(sources: Iterable[PairSource], *, progress: bool = False) -> None:
    """Refuse data whose files' headers already show that they cannot be used.

    Sizes and channels are read from the headers, without decoding a pixel: 20,000 pairs take
    seconds.

    Raises:
        UserError: naming the first file, and how many there are.
    """
    from tqdm import tqdm

    pairs = [pair for source in sources for pair in source.pairs]
    bar = tqdm(pairs, unit="pair", desc="check", disable=not progress, delay=2, leave=False)
    problems = list(_header_problems(bar))
    if problems:
        path, reason = problems[0]
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise UserError(f"{path}: {reason}{more}; spanetv2 check-data segmentation lists all")


def _header_problems(pairs: Iterable[Pair]) -> Iterator[Problem]:
    for pair in pairs:
        sizes: list[tuple[int, int]] = []
        for path, is_mask in ((pair.image, False), (pair.mask, True)):
            try:
                sizes.append(_header(path, is_mask))
            except ImageError as error:
                yield Problem(path, error.reason)
            except Image.UnidentifiedImageError:
                yield Problem(path, "not an image in a known format")
            except OSError as error:
                yield Problem(path, (error.strerror or str(error)).lower())
            except Exception as error:  # damaged headers make decoders raise nearly anything
                yield Problem(path, f"damaged image ({' '.join(str(error).split())})")
        if len(sizes) == 2 and sizes[0] != sizes[1]:
            yield Problem(pair.mask, _sizes_differ(pair, sizes))


def _sizes_differ(pair: Pair, sizes: Sequence[tuple[int, int]]) -> str:
    (width, height), (columns, rows) = sizes
    return (
        f"{columns} x {rows} pixels, but its image {pair.image} has {width} x {height}; "
        "make them the same size"
    )


def _header(path: str, is_mask: bool) -> tuple[int, int]:
    with Image.open(path) as opened:
        if is_mask:
            check_label_mode(opened.mode, path)
        elif opened.getexif().get(_ORIENTATION) in _SIDEWAYS:  # turned upright when it is read
            return opened.height, opened.width
        return opened.size


def check_splits(
    root: Path,
    *,
    split: str | None = None,
    dataset: str | None = None,
    workers: int = 2,
    progress: bool = False,
) -> Iterator[SplitCheck]:
    """Look through a data set, a part at a time.

    Args:
        root: folder of the data.
        split: the only part to look at; None is train and val, or all of a folder that is not
            split.
        dataset: ade20k or folder; None is what the folder looks like.
        workers: threads that read.
        progress: show a bar.

    Raises:
        UserError: no such folder, part or class list; masks that are missing or left over.
    """
    name: Any = dataset or ("ade20k" if _looks_like_ade20k(root) else "folder")
    usable = unusable = 0
    spec = DatasetSpec(name=name, root=str(root), split=split)
    for part in (split,) if split is not None else splits_to_check(spec):
        source = open_dataset(replace(spec, split=part))
        result = survey(source, workers=workers, progress=progress)
        usable += result.samples
        unusable += len(result.problems)
        problems = [f"error: {problem.path}: {problem.reason}" for problem in result.problems]
        never = [c for c, count in zip(source.classes, result.images, strict=True) if not count]
        if never:
            more = f" and {len(never) - 5} more" if len(never) > 5 else ""
            problems.append(f"warning: never labelled: {', '.join(never[:5])}{more}")
        yield SplitCheck(
            report=_report(part, source.classes, result),
            problems=problems,
            errors=len(result.problems),
            summary=f"{usable} pairs can be used, {unusable} cannot" if unusable else "",
        )


def _looks_like_ade20k(root: Path) -> bool:
    tops = (root, root / "ADEChallengeData2016")
    return not (root / "masks").is_dir() and any((top / "annotations").is_dir() for top in tops)


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
