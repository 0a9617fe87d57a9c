"""What can be chosen about a detector, as one frozen record.

The defaults are those of the published systems; smaller widths and fewer samples, as in the recipes
``scenes/*``, make detectors that a CPU can train.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from spanetv2.data.preprocessing import MOST_SIDE
from spanetv2.errors import UserError

__all__ = ["SYSTEMS", "CascadeStage", "DetectorOptions"]

SYSTEMS = ("mask_rcnn", "cascade_mask_rcnn")

_MOST = 65_536
"""No width, number or side is larger."""

_WITHOUT_MASKS = {"mask_rcnn": "faster_rcnn", "cascade_mask_rcnn": "cascade_rcnn"}


def _check(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise UserError(f"{name} is {value!r}, expected {expected}")


@dataclass(frozen=True, kw_only=True)
class CascadeStage:
    """One stage of a cascade.

    Args:
        iou: overlap with an object from which a box counts as that object, 0 to 1.
        stds: what the four box deltas (dx, dy, dw, dh) are divided by.
        loss_weight: weight of the stage's losses.
    """

    iou: float = 0.5
    stds: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    loss_weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stds", tuple(float(std) for std in self.stds))
        _check(0 < self.iou < 1, "cascade_ious", self.iou, "a number between 0 and 1")
        _check(
            len(self.stds) == 4 and min(self.stds) > 0,
            "cascade_stds",
            self.stds,
            "four positive numbers",
        )
        _check(self.loss_weight >= 0, "cascade_weights", self.loss_weight, "0 or more")


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """A detector's heads, sampling and test settings; sizes are in pixels, widths in channels.

    Args:
        system: mask_rcnn or cascade_mask_rcnn.
        masks: whether masks are predicted: yes, no (the detector learns from boxes alone: Faster
            R-CNN and Cascade R-CNN), or auto: where an object of the training data has one.
        fpn_channels: channels of the feature pyramid.
        box_channels: units of the box head's linear layers (two in Mask R-CNN, one in the cascade).
        box_convs: 3x3 convolutions of the cascade's box heads.
        box_conv_channels: their channels.
        box_norm: their normalisation: batch (to be synchronised by the trainer) or group.
        box_resolution: side of the features that a box is pooled to.
        mask_convs: 3x3 convolutions of a mask head.
        mask_channels: their channels.
        mask_resolution: side of the features that a mask is predicted from; masks have twice that.
        anchor_sizes: side of the anchors on each of the five levels.
        anchor_ratios: height by width of the anchors.
        roi_scale: side of a box that is pooled from the third level of the pyramid, stride 16 with
            the usual stem; half of it goes one level finer.
        proposals_before_nms_train: boxes per level that enter the suppression, in training.
        proposals_before_nms_test: the same, in test.
        proposals_train: boxes per image that go on to the heads, in training.
        proposals_test: the same, in test.
        proposal_nms: overlap at which the weaker of two proposals is dropped.
        rpn_samples: anchors per image that the proposal network learns from.
        roi_samples: boxes per image that the heads learn from.
        roi_positive: largest share of objects among them.
        cascade_ious: a cascade's stages: the overlap from which a box counts as an object in each.
        cascade_stds: what each stage's box deltas (dx, dy, dw, dh) are divided by.
        cascade_weights: the weight of each stage's losses.
        box_loss: giou on decoded boxes or smooth_l1 on deltas, in the cascade (Mask R-CNN has
            smooth_l1).
        box_loss_weight: weight of the cascade's box loss.
        score_average: what a cascade averages over its stages in test, logits or probabilities.
        score_threshold: boxes below are dropped in test.
        nms: overlap at which the weaker of two boxes of a class is dropped.
        detections: boxes per image at most.
        min_size: in test, images are resized so that their short side has this length ...
        max_size: ... and their long side is no longer than this.
        white: value of white in grey images of more than 8 bits; null is the smallest of 255, 1023,
            4095, 16383 and 65535 that holds the training images.
        mean: of the three colours, 0 to 1.
        std: of the three colours.
    """

    system: Literal["mask_rcnn", "cascade_mask_rcnn"] = "mask_rcnn"
    masks: bool | Literal["auto", "yes", "no"] = "auto"
    fpn_channels: int = 256
    box_channels: int = 1024
    box_convs: int = 4
    box_conv_channels: int = 256
    box_norm: Literal["batch", "group"] = "batch"
    box_resolution: int = 7
    mask_convs: int = 4
    mask_channels: int = 256
    mask_resolution: int = 14
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    roi_scale: int = 224
    proposals_before_nms_train: int = 2000
    proposals_before_nms_test: int = 1000
    proposals_train: int = 1000
    proposals_test: int = 1000
    proposal_nms: float = 0.7
    rpn_samples: int = 256
    roi_samples: int = 512
    roi_positive: float = 0.25
    cascade_ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    cascade_stds: tuple[tuple[float, float, float, float], ...] = (
        (0.1, 0.1, 0.2, 0.2),
        (0.05, 0.05, 0.1, 0.1),
        (0.033, 0.033, 0.067, 0.067),
    )
    cascade_weights: tuple[float, ...] = (1.0, 0.5, 0.25)
    box_loss: Literal["giou", "smooth_l1"] = "giou"
    box_loss_weight: float = 10.0
    score_average: Literal["logits", "probabilities"] = "logits"
    score_threshold: float = 0.05
    nms: float = 0.5
    detections: int = 100
    min_size: int = 800
    max_size: int = 1333
    white: int | None = None
    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # YAML and JSON have lists
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        object.__setattr__(self, "cascade_stds", tuple(map(tuple, self.cascade_stds)))
        object.__setattr__(self, "masks", {"yes": True, "no": False}.get(self.masks, self.masks))  # pyright: ignore
        for name, allowed in (
            ("system", SYSTEMS),
            ("box_norm", ("batch", "group")),
            ("box_loss", ("giou", "smooth_l1")),
            ("score_average", ("logits", "probabilities")),
        ):
            value = getattr(self, name)
            _check(value in allowed, name, value, f"one of {', '.join(allowed)}")
        _check(
            isinstance(self.masks, bool) or self.masks == "auto",
            "masks",
            self.masks,
            "auto, yes or no",
        )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool):
                least = 0 if field.name in ("box_convs", "mask_convs") else 1
                _check(least <= value <= _MOST, field.name, value, f"{least} to {_MOST}")
        for name in ("proposal_nms", "nms", "roi_positive"):
            _check(0 < getattr(self, name) <= 1, name, getattr(self, name), "above 0, at most 1")
        _check(self.box_loss_weight >= 0, "box_loss_weight", self.box_loss_weight, "0 or more")
        _check(0 <= self.score_threshold < 1, "score_threshold", self.score_threshold, "0 to 1")
        _check(len(self.anchor_sizes) == 5, "anchor_sizes", self.anchor_sizes, "five sides")
        _check(bool(self.anchor_ratios), "anchor_ratios", self.anchor_ratios, "at least one ratio")
        lengths = {len(self.cascade_ious), len(self.cascade_stds), len(self.cascade_weights)}
        _check(
            len(lengths) == 1 and 0 not in lengths,
            "cascade_ious",
            self.cascade_ious,
            "as many as cascade_stds and cascade_weights, at least one",
        )
        assert self.stages  # checks them
        _check(self.min_size <= self.max_size, "min_size", self.min_size, "at most max_size")
        _check(self.max_size <= MOST_SIDE, "max_size", self.max_size, f"at most {MOST_SIDE}")
        for name in ("anchor_sizes", "anchor_ratios"):
            _check(min(getattr(self, name)) > 0, name, getattr(self, name), "positive numbers")
        _check(min(self.std) > 0, "std", self.std, "positive numbers")

    @property
    def system_name(self) -> str:
        """The system, by the name that it has without masks where it predicts none."""
        return self.system if self.masks else _WITHOUT_MASKS[self.system]

    def decided(self, *, has_masks: bool = True) -> "DetectorOptions":
        """The same with a decision about masks, for data that have some or none."""
        masks = has_masks if self.masks == "auto" else self.masks
        return dataclasses.replace(self, masks=masks)

    @property
    def stages(self) -> list[CascadeStage]:
        """The stages of a cascade."""
        rows = zip(self.cascade_ious, self.cascade_stds, self.cascade_weights, strict=True)
        return [CascadeStage(iou=i, stds=s, loss_weight=w) for i, s, w in rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which ``DetectorOptions(**values)`` makes the same options."""
        plain = dataclasses.asdict(self)
        if self.white is None:  # as in files from before there was one, which means 65535
            del plain["white"]
        return plain
