"""The parts of a detector: torchvision's, in float32 where half precision would lose pixels.

Shape suffixes: B images, C channels, H and W rows and columns, N boxes, K classes without the
background, M side of a mask.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import (
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    TwoMLPHead,
)
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.pyramid import LEVELS

__all__ = [
    "Anchors",
    "BoxPredictor",
    "CountingSampler",
    "MaskPredictor",
    "ProposalHead",
    "RoIPool",
    "box_head",
    "mask_head",
    "proposal_network",
]

_RPN_POSITIVE = 0.5


class Anchors(AnchorGenerator):
    """Anchors on levels of known strides, in float32.

    torchvision's takes the strides from the ratio of image and map, which for the fifth level is
    not the true one (61 in place of 64 pixels at a height of 800), and the maps' dtype, in which
    half precision has no odd pixels beyond 2048 (float16) or 256 (bfloat16).
    """

    def __init__(self, sizes: Sequence[int], ratios: Sequence[float], strides: Sequence[int]):
        super().__init__(
            sizes=tuple((size,) for size in sizes),
            aspect_ratios=tuple(tuple(ratios) for _ in sizes),
        )
        self.strides = list(strides)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)
        grids = [[x.shape[-2], x.shape[-1]] for x in feature_maps]
        steps = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        anchors = torch.cat(self.grid_anchors(grids, steps))
        return [anchors] * len(image_list.image_sizes)


class CountingSampler(BalancedPositiveNegativeSampler):
    """torchvision's sampler, which remembers how many it took last: what losses are divided by."""

    def __init__(self, batch_size_per_image: int, positive_fraction: float):
        super().__init__(batch_size_per_image, positive_fraction)
        self._taken: tuple[list[Tensor], list[Tensor]] = ([], [])

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        self._taken = super().__call__(matched_idxs)
        return self._taken

    def counts(self) -> tuple[Tensor, Tensor]:
        """(objects' samples, all samples) of all images of the last batch."""
        positive, negative = (torch.cat(masks).sum() for masks in self._taken)
        return positive, positive + negative


class ProposalHead(RPNHead):
    """torchvision's proposal head with float32 outputs."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, deltas = super().forward(x)
        return [level.float() for level in logits], [level.float() for level in deltas]


class RoIPool(MultiScaleRoIAlign):
    """RoIAlign on levels of known strides.

    torchvision's guesses the strides from the first images it sees and keeps them: images much
    smaller than their padding would spoil it for good.

    Args:
        strides: pixels per token of the levels.
        resolution: side of the result in tokens.
        roi_scale: side of a box that is pooled from the third level.
    """

    def __init__(self, strides: Sequence[int], resolution: int, roi_scale: int):
        super().__init__(list(LEVELS), resolution, sampling_ratio=2)
        finest = round(math.log2(strides[0]))
        self.scales = [1 / stride for stride in strides]
        self.map_levels = LevelMapper(
            finest, finest + len(strides) - 1, canonical_scale=roi_scale, canonical_level=finest + 2
        )


class BoxPredictor(FastRCNNPredictor):
    """Class logits (N, K + 1) and class-specific deltas (N, 4K + 4), background first; float32."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__(channels, num_classes + 1)
        # Small at first: every class alike, every box where its proposal is.
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = super().forward(x)
        return logits.float(), deltas.float()


class MaskPredictor(MaskRCNNPredictor):
    """Mask logits (N, K + 1, M, M), background first; float32."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__(channels, channels, num_classes + 1)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).float()


def proposal_network(
    options: DetectorOptions, channels: int, strides: Sequence[int]
) -> RegionProposalNetwork:
    """The region proposal network on the five levels of a pyramid."""
    anchors = Anchors(options.anchor_sizes, options.anchor_ratios, [*strides, 2 * max(strides)])
    network = RegionProposalNetwork(
        anchors,
        ProposalHead(channels, len(options.anchor_ratios)),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=options.rpn_samples,
        positive_fraction=_RPN_POSITIVE,
        pre_nms_top_n={
            "training": options.proposals_before_nms_train,
            "testing": options.proposals_before_nms_test,
        },
        post_nms_top_n={"training": options.proposals_train, "testing": options.proposals_test},
        nms_thresh=options.proposal_nms,
    )
    network.fg_bg_sampler = CountingSampler(options.rpn_samples, _RPN_POSITIVE)
    return network


def box_head(options: DetectorOptions, channels: int) -> nn.Module:
    """Pooled features (N, C, side, side) to (N, box_channels): the system's box head."""
    side = options.box_resolution
    if options.system == "mask_rcnn":
        return TwoMLPHead(channels * side**2, options.box_channels)
    return FastRCNNConvFCHead(
        (channels, side, side),
        [options.box_conv_channels] * options.box_convs,
        [options.box_channels],
        norm_layer=nn.BatchNorm2d if options.box_norm == "batch" else _group_norm,
    )


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels), channels)


def mask_head(options: DetectorOptions, channels: int) -> tuple[nn.Module, int]:
    """Pooled features to the mask predictor's input, and that input's channels."""
    layers = [options.mask_channels] * options.mask_convs
    head = cast(nn.Module, MaskRCNNHeads(channels, layers, 1))
    return head, layers[-1] if layers else channels
