"""A detector as one graph: one image of a fixed canvas to boxes, scores, labels and masks.

What torchvision's parts compute for one image in test, without lists, branches and sizes that are
numbers of Python, so that exporters can follow it.

Shape suffixes: C channels, H and W the canvas, A anchors, N boxes, K classes without the
background, M side of a mask. Boxes are (x1, y1, x2, y2) in pixels of the canvas.
"""

import itertools
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import nms, roi_align

from spanetv2.tasks.detection.cascade import SMALLEST_BOX, CascadeRoIHeads
from spanetv2.tasks.detection.model import Detector
from spanetv2.tasks.detection.parts import RoIPool

__all__ = ["DetectorGraph"]


class DetectorGraph(nn.Module):
    """A detector in test, for one image on a canvas.

    Args:
        detector: its weights are shared.
        canvas: height and width in pixels.
    """

    def __init__(self, detector: Detector, canvas: tuple[int, int]):
        super().__init__()
        self.pyramid = detector.pyramid
        self.rpn = detector.rpn
        self.roi_heads = detector.roi_heads
        self.options = detector.options
        self.canvas = canvas
        anchors, self.anchor_counts = self._anchors()
        self.register_buffer("anchors", anchors)

    @torch.no_grad()
    def _anchors(self) -> tuple[Tensor, list[int]]:
        """Those of the canvas, and how many each level has."""
        height, width = self.canvas
        like = next(self.pyramid.parameters())
        images_1CHW = like.new_zeros((1, 3, height, width))
        maps = list(self.pyramid.eval()(images_1CHW).values())
        generator = self.rpn.anchor_generator
        (anchors,) = generator(ImageList(images_1CHW, [self.canvas]), maps)
        per_token = generator.num_anchors_per_location()
        counts = [n * x.shape[2] * x.shape[3] for n, x in zip(per_token, maps, strict=True)]
        return anchors, counts

    def forward(self, images_1CHW: Tensor, size_2: Tensor) -> tuple[Tensor, ...]:
        """Find objects.

        Args:
            images_1CHW: an image, normalised, at the top left; zeros to its right and below.
            size_2: its height and width without these zeros, int64.

        Returns:
            Boxes (N, 4), scores (N,), labels (N,) from 1 and, of a detector with masks, masks
            (N, M, M) of probabilities relative to the boxes; best first.
        """
        features = self.pyramid(images_1CHW)
        height, width = size_2.float().unbind()
        corner_4 = torch.stack([width, height, width, height])
        proposals_N4 = self._proposals(list(features.values()), corner_4)
        logits, deltas, proposals_N4 = self._classified(features, proposals_N4, corner_4)
        boxes_N4, scores_N, labels_N = self._detections(logits, deltas, proposals_N4, corner_4)
        if not self.options.masks:
            return boxes_N4, scores_N, labels_N
        return boxes_N4, scores_N, labels_N, self._masks(features, boxes_N4, labels_N)

    def _stages(self) -> list[Any]:
        if isinstance(self.roi_heads, CascadeRoIHeads):
            return list(self.roi_heads.stages)
        return [self.roi_heads]

    def _proposals(self, maps: list[Tensor], corner_4: Tensor) -> Tensor:
        rpn = cast(RegionProposalNetwork, self.rpn)
        logits_A1, deltas_A4 = concat_box_prediction_layers(*rpn.head(maps))
        # The best of each level, whose number is known.
        chosen, levels, first = [], [], 0
        for level, count in enumerate(self.anchor_counts):
            most = min(rpn.pre_nms_top_n(), count)
            best = logits_A1[first : first + count, 0].topk(most).indices
            chosen.append(best + first)
            levels.append(torch.full((most,), level, device=best.device))
            first += count
        index, level_N = torch.cat(chosen), torch.cat(levels)
        boxes_N4 = rpn.box_coder.decode_single(deltas_A4[index], cast(Tensor, self.anchors)[index])
        boxes_N4 = _clipped(boxes_N4, corner_4)
        scores_N = logits_A1[index, 0].sigmoid()
        usable = torch.where(_large(boxes_N4, rpn.min_size))[0]
        boxes_N4, scores_N, level_N = boxes_N4[usable], scores_N[usable], level_N[usable]
        kept = self._suppressed(boxes_N4, scores_N, level_N, rpn.nms_thresh, rpn.post_nms_top_n())
        return boxes_N4[kept]

    def _classified(
        self, features: dict[str, Tensor], boxes_N4: Tensor, corner_4: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, K + 1), the last stage's deltas (N, 4K + 4), and the boxes these move."""
        stages = self._stages()
        logits, deltas = _heads(stages[0], "box", features, boxes_N4)
        if not isinstance(self.roi_heads, CascadeRoIHeads):
            return logits, deltas, boxes_N4
        of_logits = self.roi_heads.score_average == "logits"
        scores = [logits if of_logits else logits.softmax(-1)]
        for before, stage in itertools.pairwise(stages):
            best_N = logits[:, 1:].argmax(1) + 1
            moved_N4 = before.box_coder.decode_single(_of_class(deltas, best_N), boxes_N4)
            boxes_N4 = _clipped(moved_N4, corner_4)
            logits, deltas = _heads(stage, "box", features, boxes_N4)
            scores.append(logits if of_logits else logits.softmax(-1))
        mean = torch.stack(scores).mean(0)
        return mean if of_logits else mean.log(), deltas, boxes_N4

    def _detections(
        self, logits: Tensor, deltas: Tensor, proposals_N4: Tensor, corner_4: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        heads = self._stages()[-1]
        scores_NK = logits.softmax(-1)[:, 1:]
        count = scores_NK.shape[1]
        decoded = heads.box_coder.decode_single(deltas, proposals_N4)
        boxes_NK4 = _clipped(decoded.reshape(-1, count + 1, 4)[:, 1:], corner_4)
        good = (scores_NK > heads.score_thresh) & _large(boxes_NK4, SMALLEST_BOX)
        row, column = torch.where(good)
        boxes_N4, scores_N = boxes_NK4[row, column], scores_NK[row, column]
        kept = self._suppressed(
            boxes_N4, scores_N, column, heads.nms_thresh, heads.detections_per_img
        )
        return boxes_N4[kept], scores_N[kept], column[kept] + 1

    def _suppressed(
        self, boxes_N4: Tensor, scores_N: Tensor, group_N: Tensor, overlap: float, most: int
    ) -> Tensor:
        """Indices of the best boxes, best first, of which none of a group covers another much."""
        # Groups side by side never overlap.
        apart_N4 = boxes_N4 + (group_N * (max(self.canvas) + 1))[:, None].float()
        return nms(apart_N4, scores_N, overlap)[:most]

    def _masks(self, features: dict[str, Tensor], boxes_N4: Tensor, labels_N: Tensor) -> Tensor:
        own = torch.arange(labels_N.shape[0], device=labels_N.device)
        stages = self._stages()
        masks = [_heads(s, "mask", features, boxes_N4)[own, labels_N].sigmoid() for s in stages]
        return masks[0] if len(masks) == 1 else torch.stack(masks).mean(0)


def _heads(heads: Any, kind: str, features: dict[str, Tensor], boxes_N4: Tensor) -> Any:
    """What a box or a mask head predicts for boxes."""
    pool, head, predictor = (
        getattr(heads, f"{kind}_{part}") for part in ("roi_pool", "head", "predictor")
    )
    return predictor(head(_pooled(pool, features, boxes_N4)))


def _pooled(pool: RoIPool, features: dict[str, Tensor], boxes_N4: Tensor) -> Tensor:
    """Features of each box from its level, as ``RoIPool`` makes them: (N, C, side, side)."""
    assert pool.map_levels is not None
    assert pool.scales is not None
    level_N = pool.map_levels([boxes_N4])
    maps = [features[name] for name in pool.featmap_names]
    rois_N5 = torch.cat([torch.zeros_like(boxes_N4[:, :1]), boxes_N4], 1)
    result = maps[0].new_zeros((boxes_N4.shape[0], maps[0].shape[1], *pool.output_size))
    for level, (x, scale) in enumerate(zip(maps, pool.scales, strict=True)):
        own = torch.where(level_N == level)[0]
        part = roi_align(x, rois_N5[own], pool.output_size, scale, pool.sampling_ratio)
        result = result.index_put((own,), part)
    return result


def _of_class(deltas: Tensor, labels_N: Tensor) -> Tensor:
    own = torch.arange(labels_N.shape[0], device=labels_N.device)
    return deltas.reshape(labels_N.shape[0], -1, 4)[own, labels_N]


def _clipped(boxes: Tensor, corner_4: Tensor) -> Tensor:
    return torch.minimum(boxes.clamp(min=0), corner_4)


def _large(boxes: Tensor, least: float) -> Tensor:
    sides = boxes[..., 2:] - boxes[..., :2]
    return (sides >= least).all(-1)
