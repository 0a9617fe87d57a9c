"""The cascade: box heads one after another, each starting from the boxes of the one before.

Shape suffixes: B images, N boxes of all images, K classes without the background (which is class
0), M side of a mask. Boxes are (x1, y1, x2, y2) in pixels of the network's input.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_loss
from torchvision.ops import (
    clip_boxes_to_image,
    generalized_box_iou_loss,
    remove_small_boxes,
)

from spanetv2.tasks.detection.options import CascadeStage
from spanetv2.tasks.detection.parts import CountingSampler

__all__ = ["SMALLEST_BOX", "CascadeRoIHeads", "stage_heads"]

SMALLEST_BOX = 1e-2  # pixels; torchvision's limit for detections
_SMOOTH_L1_BETA = 1 / 9


class CascadeRoIHeads(nn.Module):
    """A cascade of box heads, with a mask head in each stage.

    Training: every stage matches its boxes with the objects at its own overlap, samples some,
    learns class, box and mask from them, and hands the sampled boxes, moved by its own prediction
    (of the object's class; of the best class for background), to the next stage. Objects' boxes are
    added to the candidates of every stage and are not handed on.

    Test: every stage moves all boxes by the deltas of its best class; class scores are averaged
    over the stages, boxes are those of the last. Masks are the mean of what all stages' mask heads
    predict for the final boxes.

    Args:
        stages: torchvision RoI heads with box head and predictor, mask head and predictor (or
            neither), and the stage's matcher, box coder and sampler. They share their pooling.
        loss_weights: weight of each stage's losses.
        box_loss: "giou" (of decoded boxes) or "smooth_l1" (of deltas), summed over the objects'
            boxes and divided by the number of all sampled boxes.
        box_loss_weight: its weight.
        score_average: "logits" or "probabilities".

    Source: the published configurations of Cascade Mask R-CNN; see docs/detection.md.
    """

    def __init__(
        self,
        stages: Sequence[RoIHeads],
        *,
        loss_weights: Sequence[float],
        box_loss: str = "giou",
        box_loss_weight: float = 10.0,
        score_average: str = "logits",
    ):
        super().__init__()
        assert len(stages) == len(loss_weights) >= 1
        self.stages = nn.ModuleList(stages)
        self.loss_weights = list(loss_weights)
        self.box_loss = box_loss
        self.box_loss_weight = box_loss_weight
        self.score_average = score_average

    def _stages(self) -> list[RoIHeads]:
        return [cast(RoIHeads, stage) for stage in self.stages]

    def has_mask(self) -> bool:
        """Whether there are mask heads."""
        return self._stages()[0].has_mask()

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """torchvision's interface of RoI heads.

        Args:
            features: the pyramid's maps.
            proposals: boxes of each image.
            image_shapes: height and width of each image, without its padding.
            targets: in training, boxes, labels (from 1) and masks of each image.

        Returns:
            Detections of each image (boxes, labels, scores, masks as (N, 1, M, M) probabilities),
            and the losses: ``stage0_classifier``, ``stage0_box``, ``stage0_mask``, ...
        """
        if self.training:
            assert targets is not None
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._detect(features, proposals, image_shapes), {}

    # training ------------------------------------------------------------------------------------

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for i, (stage, weight) in enumerate(zip(self._stages(), self.loss_weights, strict=True)):
            samples = _Samples(stage, proposals, targets)
            logits, deltas = _boxes(stage, features, samples.boxes, image_shapes)
            losses[f"stage{i}_classifier"] = weight * F.cross_entropy(
                logits, torch.cat(samples.labels)
            )
            losses[f"stage{i}_box"] = weight * self._box_loss(stage, deltas, samples)
            if stage.has_mask():
                losses[f"stage{i}_mask"] = weight * _mask_loss(
                    stage,
                    features,
                    samples.boxes,
                    samples.labels,
                    samples.matched,
                    image_shapes,
                    targets,
                )
            if i + 1 < len(self.stages):
                proposals = samples.refined(logits, deltas, image_shapes)
        return losses

    def _box_loss(self, stage: RoIHeads, deltas: Tensor, samples: "_Samples") -> Tensor:
        labels = torch.cat(samples.labels)
        objects = torch.where(labels > 0)[0]
        deltas_N4 = deltas.reshape(len(labels), -1, 4)[objects, labels[objects]]
        boxes_N4 = torch.cat(samples.boxes)[objects]
        true_N4 = torch.cat(samples.matched_boxes)[objects]
        if self.box_loss == "giou":
            decoded_N4 = stage.box_coder.decode_single(deltas_N4, boxes_N4)
            total = generalized_box_iou_loss(decoded_N4, true_N4, reduction="sum")
        else:
            wanted_N4 = stage.box_coder.encode_single(true_N4, boxes_N4)
            total = F.smooth_l1_loss(deltas_N4, wanted_N4, beta=_SMOOTH_L1_BETA, reduction="sum")
        return self.box_loss_weight * total / len(labels)

    # test ----------------------------------------------------------------------------------------

    def _detect(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        stages = self._stages()
        scores: list[Tensor] = []
        deltas = torch.empty(0)
        for i, stage in enumerate(stages):
            logits, deltas = _boxes(stage, features, proposals, image_shapes)
            scores.append(logits if self.score_average == "logits" else logits.softmax(-1))
            if i + 1 < len(stages):
                proposals = _moved(stage, proposals, deltas, _best(logits), image_shapes)
        mean = torch.stack(scores).mean(0)
        # torchvision takes the softmax of what it is given; that of log probabilities is themselves
        logits = mean if self.score_average == "logits" else mean.log()
        boxes, confidences, labels = stages[-1].postprocess_detections(
            logits, deltas, proposals, image_shapes
        )
        results = [
            {"boxes": b, "labels": k, "scores": s}
            for b, k, s in zip(boxes, labels, confidences, strict=True)
        ]
        if self.has_mask():
            masks_N1MM = self._masks(features, boxes, torch.cat(labels), image_shapes)
            for result, masks in zip(
                results, masks_N1MM.split([len(b) for b in boxes]), strict=True
            ):
                result["masks"] = masks
        return results

    def _masks(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        labels_N: Tensor,
        image_shapes: list[tuple[int, int]],
    ) -> Tensor:
        own = torch.arange(len(labels_N), device=labels_N.device)
        masks = []
        for stage in self._stages():
            pooled = _module(stage.mask_roi_pool)(features, boxes, image_shapes)
            logits = _module(stage.mask_predictor)(_module(stage.mask_head)(pooled))
            masks.append(logits[own, labels_N].sigmoid())
        return torch.stack(masks).mean(0)[:, None]


def stage_heads(
    config: CascadeStage,
    *,
    pools: tuple[nn.Module, nn.Module | None],
    box: tuple[nn.Module, nn.Module],
    mask: tuple[nn.Module, nn.Module] | None,
    samples: int,
    positive: float,
    score_threshold: float,
    nms: float,
    detections: int,
) -> RoIHeads:
    """torchvision RoI heads with one stage's overlap and box coding.

    Args:
        config: the stage.
        pools: pooling for boxes and for masks.
        box: head and predictor.
        mask: head and predictor, None without masks.
        samples: boxes per image to learn from.
        positive: largest share of objects among them.
        score_threshold: boxes below are dropped in test.
        nms: overlap at which the weaker of two boxes of a class is dropped.
        detections: boxes per image at most.
    """
    dx, dy, dw, dh = config.stds
    heads = ObjectHeads(
        pools[0],
        *box,
        fg_iou_thresh=config.iou,
        bg_iou_thresh=config.iou,
        batch_size_per_image=samples,
        positive_fraction=positive,
        bbox_reg_weights=(1 / dx, 1 / dy, 1 / dw, 1 / dh),
        score_thresh=score_threshold,
        nms_thresh=nms,
        detections_per_img=detections,
        mask_roi_pool=pools[1] if mask else None,
        mask_head=mask[0] if mask else None,
        mask_predictor=mask[1] if mask else None,
    )
    heads.fg_bg_sampler = CountingSampler(samples, positive)
    return heads


class ObjectHeads(RoIHeads):
    """torchvision's RoI heads; objects without a mask teach them class and box alone.

    Attributes:
        masks_learned: of how many objects the last mask loss is the mean; None where it is those of
            the sampler.
    """

    masks_learned: Tensor | None = None

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        self.masks_learned = None
        mixed = targets is not None and any("has_mask" in target for target in targets)
        if not (self.training and self.has_mask() and mixed):
            return super().forward(features, proposals, image_shapes, targets)
        assert targets is not None
        boxes, matched, labels, deltas = self.select_training_samples(proposals, targets)
        class_loss, box_loss = fastrcnn_loss(
            *_boxes(self, features, boxes, image_shapes), labels, deltas
        )
        mask_loss = _mask_loss(self, features, boxes, labels, matched, image_shapes, targets)
        losses = {"loss_classifier": class_loss, "loss_box_reg": box_loss, "loss_mask": mask_loss}
        return [], losses


class _Samples:
    """Boxes that a stage learns from, with what they should become; one entry per image.

    Args:
        stage: whose matcher and sampler to use.
        proposals: candidates; the objects' own boxes are added.
        targets: the objects.
    """

    def __init__(self, stage: RoIHeads, proposals: list[Tensor], targets: list[dict[str, Tensor]]):
        dtype = proposals[0].dtype
        true = [target["boxes"].to(dtype) for target in targets]
        candidates = stage.add_gt_proposals(proposals, true)
        matched, labels = stage.assign_targets_to_proposals(
            candidates, true, [target["labels"] for target in targets]
        )
        chosen = stage.subsample(labels)
        self.stage = stage
        self.boxes = [b[i] for b, i in zip(candidates, chosen, strict=True)]
        self.labels = [label[i] for label, i in zip(labels, chosen, strict=True)]
        self.matched = [m[i] for m, i in zip(matched, chosen, strict=True)]
        self.matched_boxes = [
            # An image without objects has nothing to match; all its labels are background.
            (t if len(t) else t.new_zeros((1, 4)))[m]
            for t, m in zip(true, self.matched, strict=True)
        ]
        self.added = [i >= len(p) for i, p in zip(chosen, proposals, strict=True)]

    @torch.no_grad()
    def refined(
        self, logits: Tensor, deltas: Tensor, image_shapes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """Where the stage moves them: the candidates of the next one, without the added ones."""
        labels = torch.cat(self.labels)
        labels = torch.where(labels > 0, labels, _best(logits))
        moved = _moved(self.stage, self.boxes, deltas, labels, image_shapes)
        kept = [b[~a] for b, a in zip(moved, self.added, strict=True)]
        return [b[remove_small_boxes(b, SMALLEST_BOX)] for b in kept]


def _module(part: Any) -> nn.Module:
    assert isinstance(part, nn.Module)
    return part


def _boxes(
    stage: RoIHeads,
    features: dict[str, Tensor],
    boxes: list[Tensor],
    image_shapes: list[tuple[int, int]],
) -> tuple[Tensor, Tensor]:
    """Class logits (N, K + 1) and deltas (N, 4K + 4) of a stage."""
    pooled = _module(stage.box_roi_pool)(features, boxes, image_shapes)
    return _module(stage.box_predictor)(_module(stage.box_head)(pooled))


def _best(logits: Tensor) -> Tensor:
    """The best class of each box that is not the background."""
    return logits[:, 1:].argmax(dim=1) + 1


def _moved(
    stage: RoIHeads,
    boxes: list[Tensor],
    deltas: Tensor,
    labels_N: Tensor,
    image_shapes: list[tuple[int, int]],
) -> list[Tensor]:
    """Boxes moved by the deltas of the given classes, inside their images, without a gradient."""
    own = torch.arange(len(labels_N), device=labels_N.device)
    chosen_N4 = deltas.detach().reshape(len(labels_N), -1, 4)[own, labels_N]
    moved_N4 = stage.box_coder.decode_single(chosen_N4, torch.cat(boxes))
    return [
        clip_boxes_to_image(part, shape)
        for part, shape in zip(moved_N4.split([len(b) for b in boxes]), image_shapes, strict=True)
    ]


def _mask_loss(
    stage: RoIHeads,
    features: dict[str, Tensor],
    sampled: list[Tensor],
    labels: list[Tensor],
    sampled_matched: list[Tensor],
    image_shapes: list[tuple[int, int]],
    targets: list[dict[str, Tensor]],
) -> Tensor:
    """Of the sampled boxes that are objects with a mask."""
    objects = [torch.where(k > 0)[0] for k in labels]
    objects = [
        i[target["has_mask"][m[i]]] if "has_mask" in target else i
        for i, m, target in zip(objects, sampled_matched, targets, strict=True)
    ]
    if isinstance(stage, ObjectHeads):
        stage.masks_learned = torch.tensor(sum(map(len, objects)), device=labels[0].device)
    boxes = [b[i] for b, i in zip(sampled, objects, strict=True)]
    matched = [m[i] for m, i in zip(sampled_matched, objects, strict=True)]
    pooled = _module(stage.mask_roi_pool)(features, boxes, image_shapes)
    logits = _module(stage.mask_predictor)(_module(stage.mask_head)(pooled))
    return maskrcnn_loss(
        logits,
        boxes,
        [target["masks"] for target in targets],
        [target["labels"] for target in targets],
        matched,
    )
