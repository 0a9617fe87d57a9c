"""``spanetv2 export``: a checkpoint as a file that runs without this package."""

from pathlib import Path
from typing import Annotated

import typer

from spanetv2.cli.messages import messages_on_stderr
from spanetv2.cli.options import CHECKPOINT

__all__ = ["export"]


def export(
    checkpoint: Annotated[str, CHECKPOINT],
    format: Annotated[str, typer.Option(help="onnx, torch (torch.export) or torchscript.")] = (
        "onnx"
    ),
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default named after the model.")
    ] = None,
    img_size: Annotated[
        list[int] | None,
        typer.Option(help="Side of the images in pixels; twice for height and width."),
    ] = None,
    dynamic_batch: Annotated[bool, typer.Option(help="Take any number of images.")] = True,
    dynamic_size: Annotated[bool, typer.Option(help="Take images of any size.")] = False,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images per run, with --no-dynamic-batch.")
    ] = 1,
    opset: Annotated[int, typer.Option(help="ONNX opset, 18 or later.")] = 20,
) -> None:
    """Export a checkpoint to ONNX, torch.export or TorchScript, and check the file.

    The file describes its classes and the pre-processing of images in its metadata.
    """
    from spanetv2.deploy.export import FORMATS, check_export, export_model
    from spanetv2.errors import UserError
    from spanetv2.models.weights.read import read_checkpoint
    from spanetv2.tasks import find_task

    if format not in FORMATS:
        raise UserError(f"got --format {format}, expected one of {', '.join(FORMATS)}")
    if img_size is not None and len(img_size) > 2:
        raise UserError(f"got --img-size {len(img_size)} times, expected once or twice")
    if out is not None and out.suffix != FORMATS[format]:
        raise UserError(f"got --out {out}, expected a name that ends in {FORMATS[format]}")
    check_export(format, dynamic_size=dynamic_size, opset=opset)
    size = None if img_size is None else (img_size[0], img_size[-1])
    with messages_on_stderr():
        record = read_checkpoint(checkpoint)
        subject = find_task(record.task).export_subject(record, size)
    target = out or Path(subject.name + FORMATS[format])
    written = export_model(
        subject.model,
        target,
        format=format,  # pyright: ignore[reportArgumentType] - checked above
        input_size=subject.img_size,
        batch_size=batch_size,
        dynamic_batch=dynamic_batch,
        dynamic_size=dynamic_size,
        opset=opset,
        description=subject.description,
    )
    shape = " x ".join("any" if side < 0 else str(side) for side in written.input_shape)
    checked = (
        "not checked (pip install 'spanetv2[export]' to run it here)"
        if written.error is None
        else f"largest difference from the network {written.error:.1e} of the largest output"
    )
    typer.echo(f"{checkpoint} -> {target}: images {shape}, {checked}")
