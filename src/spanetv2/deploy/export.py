"""Export to ONNX, ``torch.export`` and TorchScript, and check each file against the network.

Every file carries a description (JSON): model, classes, pre-processing of images, input and output.
It is ``spanetv2`` in an ONNX model's metadata, and ``spanetv2.json`` beside the graph in the other
two formats.

Shape suffixes: B batch, C channels of the image, H and W its sides in pixels.
"""

import copy
import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spanetv2.deploy.fold import optimize_for_inference
from spanetv2.deploy.quantize import quantize_onnx
from spanetv2.deploy.runtimes import NETWORKS, open_runtime
from spanetv2.deploy.tokens import in_tokens
from spanetv2.errors import UserError
from spanetv2.extras import need_packages
from spanetv2.files import atomic_path
from spanetv2.mixers import SpectralRescale
from spanetv2.models.backbone import SPANetV2
from spanetv2.models.implementation import set_implementation

__all__ = [
    "AGREEMENT",
    "DESCRIPTION",
    "FORMATS",
    "OPSET",
    "Exported",
    "check_export",
    "export_model",
    "run_exported",
    "write_onnx",
]

Format = Literal["onnx", "torch", "torchscript"]
FORMATS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2", "torchscript": ".ts"}
OPSET = 20
"""ONNX opset: the first with GELU as one operator."""
DESCRIPTION = "spanetv2.json"
AGREEMENT = 0.9
"""Share of images on which a file in int8 must name the network's class."""
_SMALLEST, _LARGEST = 64, 4096


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written and how well it agrees with the network.

    Args:
        path: the file.
        format: "onnx", "torch" or "torchscript".
        input_shape: images it takes, -1 where any number does.
        error: largest difference from the network's output, of the largest output; None if the
            file could not be run here (ONNX without ONNX Runtime).
        agreement: share of the calibration images whose largest output is the network's, of a
            quantised file; None otherwise.
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

    With a fixed image size the network is optimised first (``optimize_for_inference``). With a
    dynamic one the spectral filters are resized inside the graph, for any image of 64 to 4096
    pixels a side.

    Args:
        model: a SPANetV2.
        path: file to write; an existing one is replaced at the end.
        format: "onnx" (dynamo exporter), "torch" (``torch.export``) or "torchscript" (trace).
        input_size: one side or (height, width), in pixels; by default what the model was made for.
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
        UserError: not a SPANetV2, an unknown format, a missing package, an impossible
            combination, or a network in a precision that the format's programs do not run. No file
            is left then, and an existing one stays.
    """
    if not isinstance(model, SPANetV2):
        raise UserError(f"got a {type(model).__name__}, expected a SPANetV2 to export")
    quantized = calibration is not None
    check_export(format, dynamic_size=dynamic_size, opset=opset, quantized=quantized)
    size = model.img_size if input_size is None else input_size
    height, width = (size, size) if isinstance(size, int) else size
    if dynamic_size and min(height, width) < _SMALLEST:
        raise UserError(
            f"got images of {height} x {width} pixels, expected at least {_SMALLEST} a side for a "
            "dynamic size"
        )
    reference = next(model.parameters())
    dtype = str(reference.dtype).removeprefix("torch.")
    if quantized and reference.dtype != torch.float32:
        raise UserError(f"got a network in {dtype} to quantise, expected float32")
    if format == "onnx" and reference.dtype not in (torch.float32, torch.float16):
        raise UserError(
            f"got a network in {dtype}, which ONNX Runtime does not run; expected float32 or "
            "float16, as model.float() makes it (torch and torchscript files keep the precision)"
        )
    ready = _by_products(model)
    if not dynamic_size:
        ready = optimize_for_inference(ready, (height, width))
        ready = in_tokens(ready) if format == "onnx" else ready
    # Two images, as a batch of one would be taken for a constant.
    images = 2 if dynamic_batch else batch_size
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(images, model.in_chans, height, width, generator=generator)
    example = example.to(reference.device, reference.dtype)
    with torch.no_grad():
        try:
            expected = ready(example)
        except RuntimeError as error:
            reason = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"got a network in {dtype} that does not run on images of {height} x {width} "
                f"pixels ({reason}); expected one precision that this machine computes in"
            ) from error
    any_batch = dynamic_batch or format == "torchscript"
    output = [*expected.shape]
    if any_batch:
        output[0] = "batch"
    if dynamic_size and len(output) == 4:
        output[2:] = ["rows", "columns"]
    about = {
        "input": ["batch", model.in_chans, "height", "width"]
        if dynamic_size
        else ["batch" if any_batch else images, model.in_chans, height, width],
        "dtype": dtype,
        **({"quantized": "int8"} if quantized else {}),
        "output": output,
        **(description or {}),
    }
    target = Path(path)
    with torch.no_grad(), atomic_path(target) as partial, _quiet():
        if format == "torchscript":
            # The trace of an eager run, without the projection's form for compilers.
            traced = torch.jit.trace(ready, (example,), check_trace=False)
            torch.jit.save(traced, str(partial), _extra_files={DESCRIPTION: json.dumps(about)})
        else:
            program = _program(ready, example, dynamic_batch, dynamic_size)
            if format == "torch":
                extra = {DESCRIPTION: json.dumps(about)}
                torch.export.save(program, partial, extra_files=extra)
            else:
                _save_onnx(program, partial, opset, about)
        agreement = None
        if calibration is None:
            error = _error(partial, example, expected)
        else:
            quantize_onnx(partial, partial, calibration)
            error, agreement = _agreement(partial, ready, calibration)
    batch = -1 if any_batch else images
    sides = (-1, -1) if dynamic_size else (height, width)
    shape = (batch, model.in_chans, sides[0], sides[1])
    return Exported(path=target, format=format, input_shape=shape, error=error, agreement=agreement)


def check_export(
    format: str, *, dynamic_size: bool = False, opset: int = OPSET, quantized: bool = False
) -> None:
    """Refuse what cannot be exported, whatever the network; see ``export_model``.

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


def run_exported(path: str | os.PathLike[str], x_BCHW: Tensor) -> Tensor:
    """Run an exported file on the CPU.

    Args:
        path: a .onnx, .pt2 or .ts file that ``export_model`` wrote.
        x_BCHW: images, (B, C, H, W), pre-processed.

    Returns:
        The network's output: logits (B, classes), features (B, C) of a network without classes,
        or maps of either without pooling.

    Raises:
        UserError: an unknown suffix, or ONNX Runtime is missing.
    """
    path = Path(path)
    if path.suffix == FORMATS["onnx"]:
        return open_runtime("onnxruntime", path)(x_BCHW)
    with torch.no_grad(), _quiet():
        if path.suffix == FORMATS["torch"]:
            return torch.export.load(str(path)).module()(x_BCHW)
        if path.suffix == FORMATS["torchscript"]:
            return torch.jit.load(str(path))(x_BCHW)
    raise UserError(f"got {path}, expected a file ending in {', '.join(FORMATS.values())}")


def _by_products(model: SPANetV2) -> SPANetV2:
    """A copy that filters by matrix products made inside the graph, for any grid and any device."""
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    if any(isinstance(module, SpectralRescale) for module in copied.modules()):
        set_implementation(copied, "products")
    return copied


def _program(
    model: nn.Module, example: Tensor, dynamic_batch: bool, dynamic_size: bool
) -> torch.export.ExportedProgram:
    dynamic: dict[int, Any] = {}
    if dynamic_batch:
        dynamic[0] = torch.export.Dim("batch", min=1, max=4096)
    if dynamic_size:
        dynamic[2] = torch.export.Dim("height", min=_SMALLEST, max=_LARGEST)
        dynamic[3] = torch.export.Dim("width", min=_SMALLEST, max=_LARGEST)
    return torch.export.export(
        model,
        (example,),
        dynamic_shapes=(dynamic,),
        strict=False,
        # that grids divide as they do is checked at run time where it cannot be proved
        prefer_deferred_runtime_asserts_over_guards=True,
    )


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
    with torch.no_grad(), atomic_path(path) as partial, _quiet():
        try:
            program = torch.export.export(module, example, strict=False)
            about = description or {}
            _save_onnx(program, partial, OPSET, about, inputs=inputs, outputs=outputs)
        except Exception as error:  # whatever the exporter raises
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"got a {type(module).__name__} that PyTorch cannot export to ONNX ({first}), "
                "expected a network without branches that depend on its input"
            ) from error


def _save_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    opset: int,
    about: Mapping[str, Any],
    *,
    inputs: Sequence[str] = ("images",),
    outputs: Sequence[str] = ("logits",),
) -> None:
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


def _error(path: Path, example: Tensor, expected: Tensor) -> float | None:
    """Difference of a file's output from the network's, of the largest; None if it cannot run."""
    if example.device.type != "cpu":
        return None
    if path.suffix == FORMATS["onnx"] and find_spec("onnxruntime") is None:
        return None
    try:
        got = run_exported(path, example).double()
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"got a file that does not run here ({reason}); nothing was written, expected a "
            "network in float32 or another format"
        ) from error
    expected = expected.double()
    return float((got - expected).abs().max() / expected.abs().max())


def _agreement(path: Path, model: nn.Module, batches: Sequence[Tensor]) -> tuple[float, float]:
    """Difference of a quantised file's outputs, and how often the largest one is the network's.

    Raises:
        UserError: less often than a usable file would have it.
    """
    run = open_runtime("onnxruntime", path)
    got = torch.cat([run(batch) for batch in batches]).double()
    expected = torch.cat([model(batch) for batch in batches]).double()
    error = float((got - expected).abs().max() / expected.abs().max())
    same = float((got.argmax(1) == expected.argmax(1)).double().mean())
    if same < AGREEMENT:
        raise UserError(
            f"got a file in int8 that agrees with the network on {100 * same:.0f} % of "
            f"{len(got)} images, expected at least {100 * AGREEMENT:.0f} %; nothing was written, "
            "calibrate with images like those that it was trained on"
        )
    return error, same


@contextmanager
def _quiet() -> Any:
    """Silence what the exporters tell their own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
