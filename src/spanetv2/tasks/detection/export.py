"""A detector as it is exported: one image on a canvas of one size to the objects on it.

Shape suffixes: C channels, H and W the canvas.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.data.images import ImageError
from spanetv2.deploy.subject import ExportSubject, Outputs, Results
from spanetv2.errors import UserError
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.detection.graph import DetectorGraph
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.predict import read_pixels
from spanetv2.tasks.detection.weights import category_ids, load_detector

__all__ = ["export_subject", "on_canvas"]

_PIXELS, _SCORE, _MASK = 0.5, 0.01, 0.02
"""How far boxes and scores, and masks in the mean, may be from those of the same object."""


def export_subject(
    checkpoint: Checkpoint,
    img_size: tuple[int, int] | None = None,
    *,
    image: Path | None = None,
) -> ExportSubject:
    """A detector to export.

    Args:
        checkpoint: its weights.
        img_size: height and width of the canvas in pixels; None is a square image's in ``predict``.
        image: picture to hold the file against the network on; None is a scene of digits.

    Raises:
        UserError: damaged weights, a picture that cannot be read, or a size that detectors do not
            pad to.
    """
    detector, checkpoint = load_detector(checkpoint)
    options, step = detector.options, detector.transform.size_divisible
    side = -(-options.min_size // step) * step
    canvas = img_size or (side, side)
    if any(length % step or length < 1 for length in canvas):
        raise UserError(
            f"got images of {canvas[0]} x {canvas[1]} pixels, expected multiples of {step}, to "
            "which detectors pad"
        )
    pixels_CHW = _picture(image, options)
    images_1CHW, size = on_canvas(pixels_CHW, canvas, options)
    with torch.no_grad():
        detector.detect([pixels_CHW])  # refuses damaged weights, with which graphs find nothing
        graph = DetectorGraph(detector, canvas).eval()
        count = len(graph(images_1CHW, size)[0])
    picture = "a scene of digits" if image is None else str(image)
    found = f"{count} detections in {picture}"
    return ExportSubject(
        model=graph,
        img_size=canvas,
        in_chans=3,
        name=f"{checkpoint.model_name}_{options.system_name}",
        description={
            "task": "detection",
            "model": checkpoint.model_name,
            "system": options.system_name,
            "classes": checkpoint.classes,  # label k is the k-th
            "category_ids": category_ids(checkpoint),
            "preprocessing": {"mean": list(options.mean), "std": list(options.std)},
            "score_threshold": options.score_threshold,
            "nms": options.nms,
            "detections": options.detections,
        },
        outputs=_outputs(
            masks=bool(options.masks),
            told=f"{{:.2g}} of {found} not the network's"
            if count
            else f"nothing to compare, {found}: say --image FILE with objects ({{:.0f}} differ)",
        ),
        examples=lambda _: images_1CHW,
        more={"size": size},
        formats=("onnx",),
        why="only ONNX has operators for what chooses boxes",
    )


def on_canvas(
    pixels_CHW: Tensor, canvas: tuple[int, int], options: DetectorOptions
) -> tuple[Tensor, Tensor]:
    """An image as a detector's file takes it.

    Args:
        pixels_CHW: 0 to 1.
        canvas: height and width in pixels.
        options: of the detector.

    Returns:
        The image as large as it fits on the canvas, normalised, at the top left of zeros
        (1, C, H, W), and its height and width there (int64).
    """
    rows, columns = pixels_CHW.shape[1:]
    scale = min(canvas[0] / rows, canvas[1] / columns)
    size = [
        min(most, max(1, round(side * scale)))
        for most, side in zip(canvas, (rows, columns), strict=True)
    ]
    mean, std = (torch.tensor(three)[:, None, None] for three in (options.mean, options.std))
    x_1CHW = ((pixels_CHW - mean) / std)[None]
    if size != [rows, columns]:
        x_1CHW = F.interpolate(
            x_1CHW, size=size, mode="bilinear", align_corners=False, antialias=True
        )
    x_1CHW = F.pad(x_1CHW, (0, canvas[1] - size[1], 0, canvas[0] - size[0]))
    return x_1CHW, torch.tensor(size)


def _picture(image: Path | None, options: DetectorOptions) -> Tensor:
    """Pixels from 0 to 1, (C, H, W)."""
    if image is not None:
        try:
            return read_pixels(str(image), white=options.white).float() / 255
        except (ImageError, OSError) as error:
            raise UserError(f"got --image {image}, which cannot be read: {error}") from error
    from spanetv2.scenes import SceneSettings, scene_of

    scene = scene_of(SceneSettings(), "val", 1, seed=0)
    return torch.from_numpy(np.asarray(scene.image).copy()).permute(2, 0, 1).float() / 255


def _outputs(*, masks: bool, told: str) -> Outputs:
    axes = {"boxes": ("detections", "corners"), "scores": ("detections",)}
    axes |= {"labels": ("detections",)}
    if masks:
        axes |= {"masks": ("detections", "rows", "columns")}
    return Outputs(axes=axes, difference=_unmatched, told=told, classes=None, named_on="objects")


def _unmatched(got: Results, expected: Results) -> float:
    """Share of detections, of either answer, without one like it in the other."""
    most = max(len(got[0]), len(expected[0]))
    if not most:
        return 0.0
    (boxes, scores, labels, *masks), (boxes2, scores2, labels2, *masks2) = got, expected
    alike = labels[:, None] == labels2
    alike &= (boxes[:, None] - boxes2).abs().amax(2) <= _PIXELS
    alike &= (scores[:, None] - scores2).abs() <= _SCORE
    for one, other in zip(masks, masks2, strict=True):
        alike &= (one[:, None] - other).abs().mean((2, 3)) <= _MASK
    matched = min(int(alike.any(1).sum()), int(alike.any(0).sum()))
    return 1 - matched / most
