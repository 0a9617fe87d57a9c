"""``spanetv2 export``: a checkpoint as a file that runs without this package."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spanetv2.cli.messages import messages_on_stderr
from spanetv2.cli.options import CHECKPOINT, own_options, with_task_options

if TYPE_CHECKING:
    from torch import Tensor

    from spanetv2.deploy.export import Exported
    from spanetv2.deploy.subject import ExportSubject

__all__ = ["export_command"]

_IMAGES = 256
_BATCH = 8


def export_command() -> Callable[..., None]:
    """The command, with the options of every task."""
    return with_task_options(export, "export")


def export(
    checkpoint: Annotated[str, CHECKPOINT],
    *,
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
    dynamic_size: Annotated[
        bool, typer.Option(help="Take images of 64 to 4096 pixels a side.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images per run, with --no-dynamic-batch.  [default: 1]"),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="ONNX opset, 18 or later.  [default: 20]")
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="int8: whole numbers, for ONNX Runtime and OpenVINO on CPUs.")
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(help="With --quantize: folder of images like those that it will see."),
    ] = None,
    options: dict[str, Any],
) -> None:
    """Export a checkpoint to ONNX, torch.export or TorchScript, and check the file.

    The file describes its classes and the pre-processing of images in its metadata.
    """
    from spanetv2.deploy.export import check_subject, export_network
    from spanetv2.deploy.write import FORMATS, OPSET, check_format
    from spanetv2.errors import UserError
    from spanetv2.kept import promise
    from spanetv2.models.weights.read import read_checkpoint
    from spanetv2.tasks import find_task

    if format not in FORMATS:
        raise UserError(f"got --format {format}, expected one of {', '.join(FORMATS)}")
    if img_size is not None and len(img_size) > 2:
        raise UserError(f"got --img-size {len(img_size)} times, expected once or twice")
    if out is not None and out.suffix != FORMATS[format]:
        raise UserError(f"got --out {out}, expected a name that ends in {FORMATS[format]}")
    if quantize not in (None, "int8"):
        raise UserError(f"got --quantize {quantize}, expected int8")
    if (quantize is None) != (calibrate is None):
        given, other = ("quantize", "calibrate") if calibrate is None else ("calibrate", "quantize")
        raise UserError(f"got --{given} without --{other}, expected both")
    if batch_size is not None and dynamic_batch:
        raise UserError(f"got --batch-size {batch_size} without --no-dynamic-batch, expected both")
    if opset is not None and format != "onnx":
        raise UserError(f"got --opset {opset} with --format {format}, expected it with onnx")
    batch_size = 1 if batch_size is None else batch_size
    opset = OPSET if opset is None else opset
    quantized = quantize is not None
    check_format(format, dynamic_size=dynamic_size, opset=opset, quantized=quantized)
    files = None if calibrate is None else _files(calibrate)
    size = None if img_size is None else (img_size[0], img_size[-1])
    with messages_on_stderr():
        record = read_checkpoint(checkpoint)
        task = find_task(record.task)
        given = own_options(task, "export", options)
        subject = task.export_subject(record, size, **given)
        check_subject(
            subject, format, quantized=quantized, batch_size=batch_size, dynamic_size=dynamic_size
        )
        target = out or Path(subject.name + FORMATS[format])
        promise(target)
        calibration = None
        if files is not None:
            calibration = _calibration(
                files, subject, batch_size=None if dynamic_batch else batch_size
            )
    print(f"exporting {subject.name} and checking the file ...", file=sys.stderr)
    written = export_network(
        subject,
        target,
        format=format,  # pyright: ignore[reportArgumentType] - checked above
        batch_size=batch_size,
        dynamic_batch=dynamic_batch,
        dynamic_size=dynamic_size,
        opset=opset,
        calibration=calibration,
    )
    images = None if calibration is None else sum(map(len, calibration))
    typer.echo(f"{checkpoint} -> {target}: {_told(written, subject, images)}")


def _told(written: "Exported", subject: "ExportSubject", images: int | None) -> str:
    """What was written, and how it compares, in words."""
    from spanetv2.deploy.verify import AGREEMENT
    from spanetv2.extras import install

    shape = " x ".join("any" if side < 0 else str(side) for side in written.input_shape)
    outputs = subject.outputs
    if written.error is None:
        return f"images {shape}, not checked ({install('onnxruntime')} to run it here)"
    difference = outputs.told.format(written.error)
    if written.agreement is None:
        return f"images {shape}, {difference}"
    on = "" if outputs.named_on == "images" else f"the {outputs.named_on} of "
    return (
        f"int8, images {shape}, the network's class on {100 * written.agreement:.1f} % of {on}"
        f"{images} images (expected: at least {100 * AGREEMENT:.0f} %), {difference}"
    )


def _files(folder: str) -> list[str]:
    """Up to 256 image files, evenly over a folder."""
    from spanetv2.data.images import Failure
    from spanetv2.data.paths import find_images
    from spanetv2.errors import UserError
    from spanetv2.kept import keep

    if not Path(folder).is_dir():
        raise UserError(f"got --calibrate {folder}, expected a folder of images")
    found = [path for path in find_images([folder]) if not isinstance(path, Failure)]
    if not found:
        raise UserError(f"got 0 images in {folder}, expected some to calibrate with")
    keep(found)
    return found[:: -(-len(found) // _IMAGES)]


def _calibration(
    files: list[str], subject: "ExportSubject", *, batch_size: int | None
) -> "list[Tensor]":
    """The images of files in batches; those that cannot be read are named and left out.

    Args:
        files: where they are.
        subject: says how they are made.
        batch_size: images per batch, where the network takes no other number.
    """
    import torch

    from spanetv2.data.images import Failure
    from spanetv2.data.paths import path_batches
    from spanetv2.errors import UserError

    assert subject.read is not None
    images = []
    for entry in (e for b in path_batches(files, read=subject.read, batch_size=_BATCH) for e in b):
        if isinstance(entry, Failure):
            print(f"warning: {entry.path}: {entry.reason}; left out", file=sys.stderr)
        else:
            images.append(entry[1])
    size = batch_size or min(_BATCH, len(images) or 1)
    if len(images) < size:
        raise UserError(
            f"got {len(images)} images to calibrate with that can be read, expected at least {size}"
        )
    whole = len(images) if batch_size is None else len(images) // size * size
    return [torch.stack(images[i : i + size]) for i in range(0, whole, size)]
