"""Detectors of a few ten thousand parameters, and images with rectangles as objects."""

from typing import Any

import torch

from spanetv2.tasks.detection.model import Detector, create_detector
from spanetv2.tasks.detection.options import DetectorOptions

LIGHT: dict[str, Any] = {
    "fpn_channels": 16,
    "box_channels": 32,
    "box_convs": 1,
    "box_conv_channels": 16,
    "mask_convs": 1,
    "mask_channels": 16,
    "anchor_sizes": (8, 16, 32, 64, 128),
    "roi_samples": 32,
    "rpn_samples": 64,
    "proposals_before_nms_train": 100,
    "proposals_before_nms_test": 100,
    "proposals_train": 50,
    "proposals_test": 50,
    "detections": 20,
    "min_size": 64,
    "max_size": 128,
}


def light_detector(
    num_classes: int = 3, *, backbone: str = "pico_pure", **options: Any
) -> Detector:
    """A detector on the smallest backbone, the same every time."""
    torch.manual_seed(0)
    return create_detector(
        backbone, num_classes, DetectorOptions(**{**LIGHT, **options}), img_size=64
    )


def rectangles(
    boxes: list[list[float]], labels: list[int], size: tuple[int, int] = (64, 64)
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """An image (3, H, W) of noise with bright rectangles, and the target that says where."""
    generator = torch.Generator().manual_seed(len(boxes))
    image = 0.2 * torch.rand(3, *size, generator=generator)
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        masks[i, round(y1) : round(y2), round(x1) : round(x2)] = 1
        image[labels[i] % 3, masks[i].bool()] = 1.0
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "masks": masks,
        "iscrowd": torch.zeros(len(boxes), dtype=torch.int64),
        "area": masks.flatten(1).sum(1).float(),
        "image_id": torch.tensor(7),
    }
    return image, target
