"""``spanetv2 check-data``: look through a data set before training on it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spanetv2.errors import UserError

if TYPE_CHECKING:
    from spanetv2.tasks.segmentation.data.check import Survey
    from spanetv2.tasks.segmentation.data.folder import DatasetSpec

__all__ = ["app"]

_SPLITS = ("train", "val")

app = typer.Typer(
    name="check-data",
    help="Look through a data set and name every file that cannot be used.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def segmentation(
    data: Annotated[
        Path, typer.Argument(help="Folder of the data: images/ and annotations/, or masks/.")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="ade20k (labels from 1 in annotations/) or folder (labels from 0 in masks/); by "
            "default, what the folder looks like."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of the data; by default train and val.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read.")] = 2,
) -> None:
    """Read every image and label map, and count the pixels of every class.

    Named are masks of another size than their image, labels outside the class list, masks of
    several channels and unreadable files; the exit status is then 1. Missing and extra masks, an
    empty set and a class list that cannot be used end the check at once.
    """
    from spanetv2.tasks.segmentation.data.check import survey
    from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset

    name = dataset or ("ade20k" if _looks_like_ade20k(data) else "folder")
    found = bad = 0
    for part in _parts(data, split):
        spec = DatasetSpec(name=name, root=str(data), split=part)  # pyright: ignore
        source = open_dataset(spec)
        result = survey(source, workers=workers, progress=True)
        found += result.samples
        bad += len(result.problems)
        for problem in result.problems:
            print(f"error: {problem.path}: {problem.reason}", file=sys.stderr)
        _print(spec, source.classes, result)
    if bad:
        print(f"{found} pairs can be used, {bad} cannot", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def detection(
    data: Annotated[Path, typer.Argument(help="Folder of the data, as COCO's or the scenes'.")],
    split: Annotated[
        str | None, typer.Option(help="Part of the data; by default train and val.")
    ] = None,
) -> None:
    """Read every image and annotation of a COCO data set.

    Every problem is named with its file and annotation; the exit status is 1 if training would
    stop at one.
    """
    from spanetv2.tasks.detection.data.check import check_coco
    from spanetv2.tasks.detection.data.layout import find_coco

    if not data.is_dir():
        raise UserError(f"got data folder {str(data)!r}, expected a folder")
    stops = 0
    for part in (split,) if split is not None else _SPLITS:
        files = find_coco(data, part)
        problems = check_coco(files.annotations, files.images, progress=True)
        for problem in problems:
            word = {"stops": "error", "left out": "left out", "kept": "warning"}[problem.effect]
            print(f"{word}: {problem}", file=sys.stderr)
        fatal = sum(problem.effect == "stops" for problem in problems)
        stops += fatal
        print(f"{part}: {fatal} errors, {len(problems) - fatal} remarks")
    if stops:
        raise typer.Exit(1)


def _looks_like_ade20k(root: Path) -> bool:
    tops = (root, root / "ADEChallengeData2016")
    return not (root / "masks").is_dir() and any((top / "annotations").is_dir() for top in tops)


def _parts(root: Path, split: str | None) -> tuple[str | None, ...]:
    """The splits to look through: one None for a folder that is not split."""
    if split is not None:
        return (split,)
    flat = (root / "images").is_dir() and not any(p.is_dir() for p in (root / "images").iterdir())
    return (None,) if flat else _SPLITS


def _print(spec: "DatasetSpec", classes: list[str], result: "Survey") -> None:
    total = sum(result.pixels)
    width = min(32, max(len("class"), *(len(name) for name in classes)))
    print(f"{spec.split or 'all'}: {result.samples} pairs")
    print(f"{'class':{width}}  images  share of labelled pixels")
    for name, pixels, images in zip(classes, result.pixels, result.images, strict=True):
        share = f"{100 * pixels / total:6.2f} %" if total else "     -"
        print(f"{name[:width]:{width}}  {images:6}  {share}")
    unlabelled = total + result.ignored
    if result.ignored:
        print(f"{100 * result.ignored / unlabelled:.2f} % of all pixels are not labelled")
    never = [name for name, images in zip(classes, result.images, strict=True) if not images]
    if never:
        more = f" and {len(never) - 5} more" if len(never) > 5 else ""
        print(f"warning: never labelled: {', '.join(never[:5])}{more}", file=sys.stderr)
    print()
