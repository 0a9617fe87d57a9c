"""``spanetv2 scenes``: make a data set for detection and segmentation, offline."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["scenes"]

_SHEET = 8


def scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    train: Annotated[int, typer.Option(min=0, help="Scenes to train on.")] = 2000,
    val: Annotated[int, typer.Option(min=0, help="Held-out scenes.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The files are a function of it.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the scenes in pixels, at least 96.")] = 256,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make scenes beside this one.")
    ] = 0,
    picture: Annotated[
        Path | None,
        typer.Option(help=f"Draw {_SHEET} scenes with classes and boxes into this PNG."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace scenes that are already in the folder.")
    ] = False,
) -> None:
    """Make scenes: handwritten digits on photographs, with exact masks.

    Real material that ships with scikit-learn, in the formats of ADE20K (JPEG and label PNG) and
    COCO (instances as JSON). Held-out scenes use other digits and other parts of the photographs.
    """
    from spanetv2.drawing import picture_format
    from spanetv2.kept import promise
    from spanetv2.scenes import SceneSettings, contact_sheet, scene_of, write_scenes

    if picture is not None:
        picture_format(picture)
        promise(picture)
    settings = SceneSettings(size=size)
    write_scenes(
        out,
        train=train,
        val=val,
        seed=seed,
        settings=settings,
        workers=workers,
        overwrite=overwrite,
        progress=True,
    )
    if picture is not None:
        split, count = ("train", train) if train else ("val", val)
        shown = [
            scene_of(settings, split, number, seed=seed)
            for number in range(1, min(_SHEET, count) + 1)
        ]
        contact_sheet(shown, picture)
    typer.echo(f"{train} scenes to train on and {val} held out in {out}")
