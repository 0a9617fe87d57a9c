"""Write networks as ONNX, ``torch.export`` and TorchScript.

Every file carries a description (JSON): it is ``spanetv2`` in an ONNX model's metadata, and
``spanetv2.json`` beside the graph in the other two formats.
"""

import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spanetv2.deploy.runtimes import NETWORKS
from spanetv2.errors import UserError
from spanetv2.extras import need_packages
from spanetv2.files import atomic_path

__all__ = [
    "DESCRIPTION",
    "FORMATS",
    "OPSET",
    "SMALLEST",
    "Format",
    "check_format",
    "make_program",
    "quiet",
    "reason_of",
    "save_program",
    "save_trace",
    "write_onnx",
]

Format = Literal["onnx", "torch", "torchscript"]
FORMATS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2", "torchscript": ".ts"}
OPSET = 20
"""ONNX opset: the first with GELU as one operator."""
DESCRIPTION = "spanetv2.json"
SMALLEST, _LARGEST = 64, 4096
"""Sides of images in pixels, where they are not fixed."""


def check_format(
    format: str, *, dynamic_size: bool = False, opset: int = OPSET, quantized: bool = False
) -> None:
    """Refuse what cannot be written, whatever the network; see ``export_model``.

    Raises:
        UserError: an unknown format, a missing package, or an impossible combination.
    """
    if format not in FORMATS:
        raise UserError(f"got format {format!r}, expected one of {', '.join(FORMATS)}")
    if format == "torchscript" and sys.version_info >= (3, 14):
        raise UserError(
            "got torchscript on Python 3.14 or newer, where PyTorch has none; use torch "
            "(torch.export), or Python 3.11 to 3.13"
        )
    if dynamic_size and format == "torchscript":
        raise UserError(
            "got a dynamic image size with torchscript, which traces one size; use onnx or torch"
        )
    if quantized and format != "onnx":
        raise UserError(f"got format {format} to quantise, expected onnx")
    if quantized and dynamic_size:
        raise UserError(
            "got a dynamic image size to quantise, expected one size, whose ranges are measured"
        )
    if opset < 18:
        raise UserError(f"got opset {opset}, expected 18 or later")
    if quantized:
        need_packages("onnxruntime", use=NETWORKS)


def make_program(
    model: nn.Module, example: tuple[Tensor, ...], *, dynamic_batch: bool, dynamic_size: bool
) -> torch.export.ExportedProgram:
    """The graph of a network on images (B, C, H, W), and what else it takes, like an example.

    Args:
        model: in evaluation mode.
        example: two images or more where the batch is dynamic: one would be taken for a constant.
        dynamic_batch: for 1 to 4096 images.
        dynamic_size: for sides of 64 to 4096 pixels.

    Raises:
        UserError: a network that the exporter cannot follow.
    """
    dynamic: dict[int, Any] = {}
    if dynamic_batch:
        dynamic[0] = torch.export.Dim("batch", min=1, max=4096)
    if dynamic_size:
        dynamic[2] = torch.export.Dim("height", min=SMALLEST, max=_LARGEST)
        dynamic[3] = torch.export.Dim("width", min=SMALLEST, max=_LARGEST)
    try:
        return torch.export.export(
            model,
            example,
            dynamic_shapes=(dynamic, *({} for _ in example[1:])),
            strict=False,
            # that grids divide as they do is checked at run time where it cannot be proved
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    except Exception as error:  # whatever the exporter raises
        sides = ", or one image size" if dynamic_size else ""
        raise UserError(
            f"got a {type(model).__name__} that torch.export cannot follow ({reason_of(error)}), "
            f"expected a network without branches that depend on its input{sides}"
        ) from error


def save_program(
    program: torch.export.ExportedProgram,
    path: Path,
    *,
    format: Literal["onnx", "torch"],
    about: Mapping[str, Any],
    opset: int = OPSET,
    inputs: Sequence[str] = ("images",),
    outputs: Sequence[str] = ("logits",),
) -> None:
    """Write a graph with a description.

    PyTorch's own writer of files ends the whole process where the disk is full, so that what it
    makes is written from memory.

    Args:
        program: of ``make_program``.
        path: file to write.
        format: of the file.
        about: the description; must be JSON.
        opset: of an ONNX file.
        inputs: name of every argument, for an ONNX file.
        outputs: name of every result, for an ONNX file.
    """
    if format == "torch":
        content = io.BytesIO()
        torch.export.save(program, content, extra_files={DESCRIPTION: json.dumps(about)})
        path.write_bytes(content.getbuffer())
        return
    exported = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=opset,
        input_names=list(inputs),
        output_names=list(outputs),
        external_data=False,
        verbose=False,
    )
    assert exported is not None
    exported.model.metadata_props["spanetv2"] = json.dumps(about)
    exported.save(str(path), external_data=False)


def save_trace(
    model: nn.Module, example: tuple[Tensor, ...], path: Path, about: Mapping[str, Any]
) -> None:
    """Write the trace of an eager run, without the projection's form for compilers."""
    traced = torch.jit.trace(model, example, check_trace=False)
    content = io.BytesIO()  # as in save_program
    torch.jit.save(traced, content, _extra_files={DESCRIPTION: json.dumps(about)})
    path.write_bytes(content.getbuffer())


def write_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    description: Mapping[str, Any] | None = None,
) -> None:
    """Write any module as ONNX, for inputs of the shapes of an example.

    Args:
        module: in evaluation mode.
        example: its arguments.
        path: file to write; an existing one is replaced at the end.
        inputs: a name for every argument.
        outputs: a name for every result.
        description: kept in the file's metadata; must be JSON.

    Raises:
        UserError: a module that the exporter cannot follow.
    """
    with torch.no_grad(), atomic_path(path) as partial, quiet():
        try:
            program = torch.export.export(module, example, strict=False)
            about = description or {}
            save_program(
                program, partial, format="onnx", about=about, inputs=inputs, outputs=outputs
            )
        except OSError:
            raise
        except Exception as error:  # whatever the exporter raises
            raise UserError(
                f"got a {type(module).__name__} that PyTorch cannot export to ONNX "
                f"({reason_of(error)}), expected a network without branches that depend on its "
                "input"
            ) from error


def reason_of(error: Exception) -> str:
    """The first line of what an error says, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what the exporters tell their own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
