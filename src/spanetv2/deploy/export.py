"""Export to ONNX, ``torch.export`` and TorchScript, and check each file against the network.

Every file carries a description (JSON): model, classes, pre-processing of images, input and output.

Shape suffixes: B batch, C channels of the image, H and W its sides in pixels.
"""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from spanetv2.deploy.fold import optimize_for_inference
from spanetv2.deploy.quantize import quantize_onnx
from spanetv2.deploy.subject import ExportSubject, Results, results_of
from spanetv2.deploy.tokens import in_tokens
from spanetv2.deploy.verify import check_agreement, check_difference
from spanetv2.deploy.write import (
    OPSET,
    SMALLEST,
    Format,
    check_format,
    make_program,
    quiet,
    reason_of,
    save_program,
    save_trace,
)
from spanetv2.errors import UserError
from spanetv2.files import atomic_path
from spanetv2.mixers import SpectralRescale
from spanetv2.models.backbone import SPANetV2
from spanetv2.models.implementation import set_implementation

__all__ = ["Exported", "check_subject", "export_model", "export_network"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written and how well it agrees with the network.

    Args:
        path: the file.
        format: "onnx", "torch" or "torchscript".
        input_shape: images it takes, -1 where any number does.
        error: difference from the network's output, as ``Outputs.told`` says it: by default the
            largest, of the largest output; None if the file could not be run here (ONNX without
            ONNX Runtime).
        agreement: share of the calibration images (or of their pixels) whose class is the
            network's, of a quantised file; None otherwise.
    """

    path: Path
    format: str
    input_shape: tuple[int, int, int, int]
    error: float | None
    agreement: float | None = None


def export_model(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    format: Format,
    input_size: int | tuple[int, int] | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = True,
    dynamic_size: bool = False,
    opset: int = OPSET,
    description: Mapping[str, Any] | None = None,
    calibration: Sequence[Tensor] | None = None,
) -> Exported:
    """Write a network for use without this package.

    With a fixed image size every SPANetV2 is optimised first (``optimize_for_inference``). With a
    dynamic one the spectral filters are resized inside the graph, for any image of 64 to 4096
    pixels a side.

    Args:
        model: images (B, C, H, W) to a tensor: a SPANetV2, a network around one, or a timm model.
        path: file to write; an existing one is replaced at the end.
        format: "onnx" (dynamo exporter), "torch" (``torch.export``) or "torchscript" (trace).
        input_size: one side or (height, width), in pixels; by default what a SPANetV2 was made
            for.
        batch_size: images per run, where the batch is not dynamic.
        dynamic_batch: take any number of images. A trace always does.
        dynamic_size: take images of any size. Not for "torchscript", whose trace is of one size.
        opset: ONNX opset version, 18 or later.
        description: classes, pre-processing, ...; must be JSON.
        calibration: batches (B, C, H, W) of pre-processed images like those that it will see, to
            write the network in int8 ("onnx" with one image size). The file is then compared on
            these images, of which the largest output must be the network's on at least 90 %.

    Returns:
        ``Exported``, with the error measured on random images, or on those of the calibration.

    Raises:
        UserError: a network that cannot be exported, an unknown format, a missing package, an
            impossible combination, a network in a precision that the format's programs do not run,
            or a file that does not answer as the network does. No file is left then, and an
            existing one stays.
    """
    size = (input_size, input_size) if isinstance(input_size, int) else input_size
    subject = ExportSubject(model=model, img_size=size, description=description or {})
    return export_network(
        subject,
        path,
        format=format,
        batch_size=batch_size,
        dynamic_batch=dynamic_batch,
        dynamic_size=dynamic_size,
        opset=opset,
        calibration=calibration,
    )


def export_network(
    subject: ExportSubject,
    path: str | os.PathLike[str],
    *,
    format: Format,
    batch_size: int = 1,
    dynamic_batch: bool = True,
    dynamic_size: bool = False,
    opset: int = OPSET,
    calibration: Sequence[Tensor] | None = None,
) -> Exported:
    """``export_model`` of a network of which more is known: what its answers are called and mean.

    Args:
        subject: the network.
        path: as for ``export_model``, like all that follow.

    Raises:
        UserError: as ``export_model`` does.
    """
    quantized = calibration is not None
    check_format(format, dynamic_size=dynamic_size, opset=opset, quantized=quantized)
    check_subject(
        subject, format, quantized=quantized, batch_size=batch_size, dynamic_size=dynamic_size
    )
    channels, height, width = subject.image_shape()
    if dynamic_size and min(height, width) < SMALLEST:
        raise UserError(
            f"got images of {height} x {width} pixels, expected at least {SMALLEST} a side for a "
            "dynamic size"
        )
    dtype = _checked_dtype(subject.model, format, quantized=quantized)
    ready = _by_products(subject.model)
    if not dynamic_size and any(isinstance(module, SPANetV2) for module in ready.modules()):
        ready = optimize_for_inference(ready, (height, width))
        ready = in_tokens(ready) if format == "onnx" else ready
    # Two images, as a batch of one would be taken for a constant.
    images = 2 if dynamic_batch and not subject.more else batch_size
    dynamic_batch = dynamic_batch and not subject.more
    runs = [_run(subject, ready, (images, channels, height, width))]
    if dynamic_size:
        # no multiple of a stride, and longer one way, shorter the other
        other = max(SMALLEST, 3 * height // 4 + 1), max(SMALLEST, 5 * width // 4 - 1)
        runs.append(_run(subject, ready, (3 if dynamic_batch else images, channels, *other)))
    (example, expected) = runs[0]
    any_batch = dynamic_batch or format == "torchscript"
    target = Path(path)
    with torch.no_grad(), atomic_path(target) as partial, quiet():
        program = None
        sides = _sides(expected, any_batch=any_batch)
        if format != "torchscript":
            program = make_program(
                ready, example, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size
            )
            sides = _sides_of(program)
        about = {
            "input": ["batch", channels, "height", "width"]
            if dynamic_size
            else ["batch" if any_batch else images, channels, height, width],
            "dtype": dtype,
            **({"quantized": "int8"} if quantized else {}),
            **_described(subject, sides),
            **subject.description,
        }
        if program is None:
            save_trace(ready, example, partial, about)
        else:
            kind = cast(Literal["onnx", "torch"], format)
            save_program(
                program,
                partial,
                format=kind,
                about=about,
                opset=opset,
                inputs=("images", *subject.more),
                outputs=subject.outputs.names,
            )
        agreement = None
        if calibration is None:
            error = check_difference(partial, subject.outputs, runs)
        else:
            quantize_onnx(partial, partial, calibration)
            error, agreement = check_agreement(partial, ready, subject.outputs, calibration)
    batch = -1 if any_batch else images
    shape = (batch, channels, *((-1, -1) if dynamic_size else (height, width)))
    return Exported(path=target, format=format, input_shape=shape, error=error, agreement=agreement)


def check_subject(
    subject: ExportSubject,
    format: str,
    *,
    quantized: bool = False,
    batch_size: int = 1,
    dynamic_size: bool = False,
) -> None:
    """Refuse a form that a network cannot be written in.

    Raises:
        UserError: it cannot.
    """
    formats = subject.formats
    if formats is not None and format not in formats:
        raise UserError(
            f"got format {format} for {subject.name}, expected {' or '.join(formats)}: "
            f"{subject.why}"
        )
    if subject.more and (batch_size != 1 or dynamic_size):
        got = "a dynamic image size" if dynamic_size else f"batches of {batch_size} images"
        raise UserError(f"got {got} for {subject.name}, expected one image of one size at a time")
    if quantized and subject.outputs.classes is None:
        raise UserError(
            f"got {subject.name} with outputs {', '.join(subject.outputs.names)} to quantise, "
            "expected a network that names classes, by which files in int8 are checked"
        )


def _checked_dtype(model: nn.Module, format: str, *, quantized: bool) -> str:
    dtype = next(model.parameters()).dtype
    name = str(dtype).removeprefix("torch.")
    if quantized and dtype != torch.float32:
        raise UserError(f"got a network in {name} to quantise, expected float32")
    if format == "onnx" and dtype not in (torch.float32, torch.float16):
        raise UserError(
            f"got a network in {name}, which ONNX Runtime does not run; expected float32 or "
            "float16, as model.float() makes it (torch and torchscript files keep the precision)"
        )
    return name


def _by_products(model: nn.Module) -> nn.Module:
    """A copy that filters by matrix products made inside the graph, for any grid and any device."""
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    if any(isinstance(module, SpectralRescale) for module in copied.modules()):
        set_implementation(copied, "products")
    return copied


def _run(
    subject: ExportSubject, ready: nn.Module, shape: tuple[int, int, int, int]
) -> tuple[tuple[Tensor, ...], Results]:
    """Images of a shape and what else the network takes, and what it answers."""
    like = next(subject.model.parameters())
    images = subject.examples(shape).to(like.device, like.dtype)
    given = (images, *(value.to(like.device) for value in subject.more.values()))
    try:
        with torch.no_grad():
            return given, results_of(ready(*given))
    except UserError:
        raise
    except (RuntimeError, AssertionError, ValueError) as error:
        name = str(like.dtype).removeprefix("torch.")
        raise UserError(
            f"got a network in {name} that does not run on images of {shape[2]} x {shape[3]} "
            f"pixels ({reason_of(error)}); expected one precision that this machine computes in, "
            "and a size that the network takes"
        ) from error


def _sides(results: Results, *, any_batch: bool) -> list[list[int | None]]:
    """Sides of every result of a trace; None where they differ from run to run."""
    return [[None if any_batch else len(each), *each.shape[1:]] for each in results]


def _sides_of(program: torch.export.ExportedProgram) -> list[list[int | None]]:
    """The same of a graph."""
    (last,) = program.graph_module.graph.find_nodes(op="output")
    return [
        [side if isinstance(side, int) else None for side in node.meta["val"].shape]
        for node in last.args[0]
    ]


def _described(subject: ExportSubject, sides: list[list[int | None]]) -> dict[str, Any]:
    """Names and shapes of results: ``output`` and ``output_name`` of one, else ``outputs``."""
    shapes = {
        name: [axis if side is None else side for axis, side in zip(axes, shape, strict=False)]
        for (name, axes), shape in zip(subject.outputs.axes.items(), sides, strict=True)
    }
    if len(shapes) == 1:
        ((name, shape),) = shapes.items()
        return {"output_name": name, "output": shape}
    return {"outputs": shapes}
