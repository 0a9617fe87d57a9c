"""Run exported files, and hold their answers against the network's.

Shape suffixes: B batch, C channels of the image, H and W its sides in pixels.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.deploy.runtimes import open_runtime
from spanetv2.deploy.subject import Outputs, Results, results_of
from spanetv2.deploy.write import FORMATS, quiet, reason_of
from spanetv2.errors import UserError

__all__ = ["AGREEMENT", "check_agreement", "check_difference", "run_exported"]

AGREEMENT = 0.9
"""Share of images, or of pixels, on which a file in int8 must name the network's class."""


def run_exported(path: str | os.PathLike[str], x_BCHW: Tensor, *more: Tensor) -> Any:
    """Run an exported file on the CPU.

    Args:
        path: a .onnx, .pt2 or .ts file that ``export_model`` wrote.
        x_BCHW: images, (B, C, H, W), pre-processed.
        *more: what else the file takes.

    Returns:
        The network's output, a tuple where it has several: logits (B, classes), features (B, C) of
        a network without classes, maps of either without pooling, ...

    Raises:
        UserError: an unknown suffix, or ONNX Runtime is missing.
    """
    path = Path(path)
    if path.suffix == FORMATS["onnx"]:
        return open_runtime("onnxruntime", path)(x_BCHW, *more)
    with torch.no_grad(), quiet():
        if path.suffix == FORMATS["torch"]:
            return torch.export.load(str(path)).module()(x_BCHW, *more)
        if path.suffix == FORMATS["torchscript"]:
            return torch.jit.load(str(path))(x_BCHW, *more)
    raise UserError(f"got {path}, expected a file ending in {', '.join(FORMATS.values())}")


def check_difference(
    path: Path, outputs: Outputs, runs: Sequence[tuple[tuple[Tensor, ...], Results]]
) -> float | None:
    """Difference of a file's outputs from the network's, the largest of several runs.

    Args:
        path: the file.
        outputs: says how they are compared.
        runs: images and further arguments, and what the network answered.

    Returns:
        The difference; None if the file cannot run here (ONNX without ONNX Runtime, or images on
        a GPU).

    Raises:
        UserError: a file that does not run, or whose answers are others.
    """
    if any(images.device.type != "cpu" for (images, *_), _ in runs):
        return None
    if path.suffix == FORMATS["onnx"] and find_spec("onnxruntime") is None:
        return None
    worst = 0.0
    for (images, *more), expected in runs:
        try:
            got = results_of(run_exported(path, images, *more))
        except Exception as error:
            raise UserError(
                f"got a file that does not run here ({reason_of(error)}); nothing was written, "
                "expected a network in float32 or another format"
            ) from error
        difference = outputs.difference(got, expected)
        if not difference <= outputs.most:  # or not a number
            height, width = images.shape[2:]
            raise UserError(
                f"got a file whose outputs on {len(images)} images of {height} x {width} pixels "
                f"are not the network's ({outputs.told.format(difference)}), expected at most "
                f"{outputs.most:g}; nothing was written, try another format or one image size"
            )
        worst = max(worst, difference)
    return worst


def check_agreement(
    path: Path, model: nn.Module, outputs: Outputs, batches: Sequence[Tensor]
) -> tuple[float, float]:
    """Difference of a quantised file's outputs, and how often it names the network's class.

    Args:
        path: the file.
        model: the network.
        outputs: says how they are compared.
        batches: images, (B, C, H, W).

    Raises:
        UserError: less often than a usable file would have it.
    """
    assert outputs.classes is not None
    run = open_runtime("onnxruntime", path)
    error, same, count = 0.0, 0, 0
    for batch in batches:
        got, expected = results_of(run(batch)), results_of(model(batch))
        error = max(error, outputs.difference(got, expected))
        agree = outputs.classes(got) == outputs.classes(expected)
        same, count = same + int(agree.sum()), count + agree.numel()
    agreement = same / count
    if agreement < AGREEMENT:
        images = sum(map(len, batches))
        on = "" if outputs.named_on == "images" else f"the {outputs.named_on} of "
        raise UserError(
            f"got a file in int8 that agrees with the network on {100 * agreement:.0f} % of "
            f"{on}{images} images, expected at least {100 * AGREEMENT:.0f} %; nothing was written, "
            "calibrate with images like those that it was trained on"
        )
    return error, agreement
