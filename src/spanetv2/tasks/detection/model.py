"""A detector: backbone, feature pyramid, proposals, and the heads of a system.

Shape suffixes: B images, C channels, H and W rows and columns, N boxes, M side of a mask.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads, paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from spanetv2.errors import UserError
from spanetv2.models.features import FeatureBackbone, create_backbone
from spanetv2.models.weights.read import CheckpointSource
from spanetv2.tasks.detection.cascade import CascadeRoIHeads, stage_heads
from spanetv2.tasks.detection.options import CascadeStage, DetectorOptions
from spanetv2.tasks.detection.parts import (
    BoxPredictor,
    CountingSampler,
    MaskPredictor,
    RoIPool,
    box_head,
    mask_head,
    proposal_network,
)
from spanetv2.tasks.detection.pyramid import Pyramid

__all__ = ["Detector", "create_detector"]

_PAD = 32  # pixels; every stride of the backbone divides it


class Batcher(GeneralizedRCNNTransform):
    """Normalises images, resizes them in test, and pads them to one batch.

    In training images come as the augmentation made them. In test the short side becomes
    ``min_size`` unless the long one would pass ``max_size``; no side falls below one pixel.
    """

    @property
    def short_side(self) -> int:
        """``min_size``, which torchvision keeps as a tuple of choices."""
        return cast(Sequence[int], self.min_size)[-1]

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        if self.training:
            return image, target
        rows, columns = image.shape[-2:]
        scale = min(self.short_side / min(rows, columns), self.max_size / max(rows, columns))
        size = [max(1, round(rows * scale)), max(1, round(columns * scale))]
        if size != [rows, columns]:
            image = F.interpolate(
                image[None], size=size, mode="bilinear", align_corners=False, antialias=True
            )[0]
        return image, target


class Detector(nn.Module):
    """Mask R-CNN or Cascade Mask R-CNN on a feature pyramid.

    Args:
        backbone: four maps, each half as fine as the one before.
        num_classes: classes K; labels are 1 to K, and 0 is the background.
        options: everything else.

    Raises:
        UserError: no class, or a backbone with other maps.
    """

    def __init__(
        self,
        backbone: FeatureBackbone,
        num_classes: int,
        options: DetectorOptions,
    ):
        super().__init__()
        if num_classes < 1:
            raise UserError(f"got num_classes={num_classes}, expected at least 1")
        options = options.decided()
        self.num_classes = num_classes
        self.options = options
        self.transform = Batcher(
            options.min_size,
            options.max_size,
            list(options.mean),
            list(options.std),
            size_divisible=_PAD,
        )
        self.pyramid = Pyramid(backbone, options.fpn_channels)
        strides = self.pyramid.strides
        self.rpn = proposal_network(options, options.fpn_channels, strides)
        self.roi_heads = _roi_heads(options, num_classes, strides)

    def forward(
        self,
        images: Sequence[Tensor] | Tensor,
        targets: Sequence[dict[str, Tensor]] | None = None,
    ) -> Any:
        """Losses in training, detections otherwise.

        Args:
            images: (3, H, W) each, values 0 to 1, of any sizes; or one batch (B, 3, H, W).
            targets: in training, one dict per image: ``boxes`` (N, 4) as (x1, y1, x2, y2) in
                pixels, ``labels`` (N,) from 1, ``masks`` (N, H, W) of 0 and 1 if the detector
                predicts masks, ``has_mask`` (N,) if not all objects have one, and ``iscrowd`` (N,)
                if there are crowds, which are left out.

        Returns:
            In training name -> loss, to be added up. Otherwise one dict per image, best first:
            ``boxes`` (N, 4) in the image's pixels, ``labels`` (N,), ``scores`` (N,) and ``masks``
            (N, 1, H, W), probabilities 0 to 1.

        Raises:
            UserError: training without targets, or targets that do not fit.
        """
        if self.training:
            return self._losses(images, targets)
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        results = self.detect(images)
        for result, size in zip(results, sizes, strict=True):
            if "masks" in result:
                result["masks"] = paste_masks_in_image(result["masks"], result["boxes"], size)
        return results

    def detect(self, images: Sequence[Tensor] | Tensor) -> list[dict[str, Tensor]]:
        """Detections with masks as they are predicted: (N, 1, M, M), relative to their boxes.

        The same as calling the detector, but for the masks, whose memory then does not depend on
        the size of the image; see :mod:`spanetv2.tasks.detection.masks`.

        Raises:
            UserError: the network computes something that is not finite.
        """
        assert not self.training
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        batch, _ = self.transform(list(images))
        features = self.pyramid(batch.tensors)
        if not all(bool(x.isfinite().all()) for x in features.values()):
            # proposals that are not numbers would be dropped, and nothing be found
            raise UserError("the model's features are not finite; are the weights damaged?")
        proposals, _ = self.rpn(batch, features)
        results, _ = self.roi_heads(features, proposals, batch.image_sizes)
        for result, inside, size in zip(results, batch.image_sizes, sizes, strict=True):
            result["boxes"] = resize_boxes(result["boxes"], list(inside), list(size))
        return results

    def _losses(
        self,
        images: Sequence[Tensor] | Tensor,
        targets: Sequence[dict[str, Tensor]] | None,
    ) -> dict[str, Tensor]:
        if targets is None or len(targets) != len(images):
            count = "none" if targets is None else len(targets)
            raise UserError(f"got targets for {count} of {len(images)} images, expected one each")
        usable = [
            _check_target(target, image, self.num_classes, bool(self.options.masks))
            for target, image in zip(targets, images, strict=True)
        ]
        batch, usable = self.transform(list(images), usable)
        features = self.pyramid(batch.tensors)
        proposals, losses = self.rpn(batch, features, usable)
        _, more = self.roi_heads(features, proposals, batch.image_sizes, usable)
        return {**{f"rpn_{_SHORT[name]}": loss for name, loss in losses.items()}, **_short(more)}

    def no_weight_decay(self) -> set[str]:
        """Parameters that the backbone asks weight decay to leave alone (timm's interface)."""
        return {f"pyramid.backbone.{name}" for name in self.pyramid.backbone.no_weight_decay()}

    def loss_counts(self) -> dict[str, Tensor]:
        """Of how many each loss of the last training pass is the mean, by the losses' names.

        The proposals' losses and those of box heads are divided by the boxes sampled in all images
        of the pass, those of masks by the objects with one among them (and the pixels of a mask).
        """
        _, anchors = cast(CountingSampler, self.rpn.fg_bg_sampler).counts()
        counts = {"rpn_objectness": anchors, "rpn_box": anchors}
        cascade = isinstance(self.roi_heads, CascadeRoIHeads)
        for index, heads in enumerate(self._heads()):
            prefix = f"stage{index}_" if cascade else ""
            objects, boxes = heads.fg_bg_sampler.counts()
            masks = objects if heads.masks_learned is None else heads.masks_learned
            counts |= {f"{prefix}classifier": boxes, f"{prefix}box": boxes, f"{prefix}mask": masks}
        return counts

    def count_pass(self, images_BCHW: Tensor, *, boxes: int = 1000, masks: int = 100) -> None:
        """Run every layer once, heads on a fixed number of boxes: for counting operations.

        Nothing depends on values, so that it also runs on the meta device.

        Args:
            images_BCHW: a batch, normalised or not.
            boxes: boxes that each box head sees, of all images together.
            masks: boxes that each mask head sees.
        """
        features = self.pyramid(images_BCHW)
        self.rpn.head(list(features.values()))
        for heads in self._heads():
            for count, head, predictor, pool in (
                (boxes, heads.box_head, heads.box_predictor, heads.box_roi_pool),
                (masks, heads.mask_head, heads.mask_predictor, heads.mask_roi_pool),
            ):
                if isinstance(pool, RoIPool):
                    shape = (count, self.pyramid.out_channels, *pool.output_size)
                    predictor(head(images_BCHW.new_zeros(shape)))

    def layers(self) -> list[nn.Module]:
        """The parts with weights, between which there are only boxes: each takes and gives maps."""
        names = ("box_head", "box_predictor", "mask_head", "mask_predictor")
        heads = [getattr(heads, name) for heads in self._heads() for name in names]
        return [self.pyramid, self.rpn.head, *(part for part in heads if part is not None)]

    def _heads(self) -> list[Any]:
        if isinstance(self.roi_heads, CascadeRoIHeads):
            return list(self.roi_heads.stages)
        return [self.roi_heads]


_SHORT = {
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "box",
    "loss_classifier": "classifier",
    "loss_box_reg": "box",
    "loss_mask": "mask",
}


def _short(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {_SHORT.get(name, name): loss for name, loss in losses.items()}


def _check_target(
    target: dict[str, Tensor], image: Tensor, num_classes: int, masks: bool
) -> dict[str, Tensor]:
    """A target without crowds, after checks that cost nothing beside a training step."""
    boxes, labels = target["boxes"], target["labels"]
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) != len(labels):
        raise UserError(
            f"got boxes {tuple(boxes.shape)} and labels {tuple(labels.shape)}, "
            "expected (N, 4) and (N,)"
        )
    if masks and "masks" not in target:
        raise UserError(
            "got objects without masks, expected some: annotations that have none need "
            "a detector with masks=False, or has_mask"
        )
    if "iscrowd" in target:
        single = target["iscrowd"] == 0
        boxes, labels = boxes[single], labels[single]
    else:
        single = slice(None)
    if len(boxes):
        if bool((boxes[:, 2:] <= boxes[:, :2]).any()):
            raise UserError("got a box without area, expected x1 < x2 and y1 < y2")
        if bool((labels < 1).any() | (labels > num_classes).any()):
            raise UserError(
                f"got labels {int(labels.min())} to {int(labels.max())}, "
                f"expected 1 to {num_classes}"
            )
    usable = {"boxes": boxes.float(), "labels": labels}
    if masks:
        usable["masks"] = target["masks"][single]
        if "has_mask" in target:
            usable["has_mask"] = target["has_mask"][single]
        if usable["masks"].shape[1:] != image.shape[-2:]:
            raise UserError(
                f"got masks of {tuple(usable['masks'].shape[1:])} pixels for an image of "
                f"{tuple(image.shape[-2:])}"
            )
    return usable


def _roi_heads(
    options: DetectorOptions, num_classes: int, strides: Sequence[int]
) -> RoIHeads | CascadeRoIHeads:
    channels = options.fpn_channels

    def heads(stage: CascadeStage) -> RoIHeads:
        mask = None
        if options.masks:
            convs, width = mask_head(options, channels)
            mask = (convs, MaskPredictor(width, num_classes))
        return stage_heads(
            stage,
            pools=(
                RoIPool(strides, options.box_resolution, options.roi_scale),
                RoIPool(strides, options.mask_resolution, options.roi_scale),
            ),
            box=(box_head(options, channels), BoxPredictor(options.box_channels, num_classes)),
            mask=mask,
            samples=options.roi_samples,
            positive=options.roi_positive,
            score_threshold=options.score_threshold,
            nms=options.nms,
            detections=options.detections,
        )

    if options.system == "mask_rcnn":
        return heads(CascadeStage())
    return CascadeRoIHeads(
        [heads(stage) for stage in options.stages],
        loss_weights=[stage.loss_weight for stage in options.stages],
        box_loss=options.box_loss,
        box_loss_weight=options.box_loss_weight,
        score_average=options.score_average,
    )


def create_detector(
    backbone: str,
    num_classes: int,
    options: DetectorOptions | None = None,
    *,
    checkpoint: CheckpointSource | None = None,
    **backbone_options: Any,
) -> Detector:
    """Build a detector by the name of its backbone.

    Args:
        backbone: one of our variants ("s18_pure") or a timm model with four levels.
        num_classes: classes, without the background.
        options: system, widths, sampling; the published Mask R-CNN by default.
        checkpoint: weights of the backbone, such as a classifier's.
        **backbone_options: for ``create_backbone``: img_size, stem_stride, drop_path_rate,
            pretrained, ...

    Returns:
        The detector, in training mode.

    Raises:
        UserError: no such backbone, one without four levels, or weights that do not fit.

    Example:
        >>> import torch
        >>> light = DetectorOptions(fpn_channels=32, box_channels=64, mask_channels=32, min_size=64)
        >>> detector = create_detector("pico_pure", 3, light).eval()
        >>> [result] = detector([torch.rand(3, 48, 64)])
        >>> sorted(result)
        ['boxes', 'labels', 'masks', 'scores']
    """
    network = create_backbone(backbone, checkpoint, **backbone_options)
    return Detector(network, num_classes, options or DetectorOptions())
