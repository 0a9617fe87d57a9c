"""``spanetv2 convert-data``: other tools' annotations in COCO's layout."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["convert_data"]


def convert_data(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of the data set.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    format: Annotated[
        str | None, typer.Option(help="yolo, voc, labelme or coco (default: recognised).")
    ] = None,
    val_share: Annotated[
        float | None, typer.Option(help="Share of the images to validate on, if not split.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which images that are.")] = 0,
) -> None:
    """Convert annotations of objects to COCO's layout, which detection trains on.

    YOLO's text labels (boxes and polygons), Pascal VOC's XML, labelme's JSON; COCO's own, to hold
    out a part. Images are linked, not copied, where the file system can.
    """
    from spanetv2.tasks.detection.data.converting import convert_data as convert

    for line in convert(source, out, format=format, val_share=val_share, seed=seed):
        typer.echo(line)
