"""Multiply-adds of a detector, on a fixed number of boxes.

RoI pooling and the suppression of boxes are not counted.
"""

from spanetv2.models import costs
from spanetv2.models.costs import MultiplyAdds
from spanetv2.tasks.detection.model import Detector

__all__ = ["MultiplyAdds", "multiply_adds"]


def multiply_adds(
    detector: Detector,
    height: int = 800,
    width: int = 1280,
    *,
    boxes: int = 1000,
    masks: int = 100,
) -> MultiplyAdds:
    """Count the multiply-adds of one image.

    Args:
        detector: any; it is left as it is.
        height: rows of the image, padding included.
        width: its columns.
        boxes: boxes that each box head sees (in a cascade, each stage's).
        masks: boxes that each mask head sees.

    Returns:
        Multiply-adds; ``layers`` is what papers on detection count.
    """
    return costs.multiply_adds(
        detector,
        (1, 3, height, width),
        lambda shadow, image: shadow.count_pass(image, boxes=boxes, masks=masks),
    )
