"""A segmentation model: any backbone with features, a head, perhaps an auxiliary one.

Shape suffixes: B batch, C channels, K classes, H and W rows and columns.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.models.features import FeatureBackbone, create_backbone
from spanetv2.models.weights.read import CheckpointSource
from spanetv2.tasks.segmentation.heads import AuxiliaryHead, SemanticFPN, UPerNet
from spanetv2.tasks.segmentation.heads.layers import resize

__all__ = ["HeadOptions", "SegmentationModel", "create_segmenter"]

MAX_CLASSES = 255
"""Labels are bytes, and 255 means: not labelled."""

_MOST_CHANNELS = 65_536
_WIDTHS = {"upernet": 512, "semantic_fpn": 128}


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """The head of a segmentation model.

    Args:
        name: upernet or semantic_fpn.
        width: channels of the head; null is 512 for UPerNet, 128 for Semantic FPN. The authors'
            released UPerNet configurations say 320, their published figures fit 512.
        neck: channels of Semantic FPN's pyramid.
        dropout: probability that a channel is left out before the classifier.
        auxiliary: train with an auxiliary head on the last map but one; null is yes for UPerNet.
        auxiliary_width: channels of the auxiliary head.
    """

    name: Literal["upernet", "semantic_fpn"] = "upernet"
    width: int | None = None
    neck: int = 256
    dropout: float = 0.1
    auxiliary: bool | None = None
    auxiliary_width: int = 256

    def __post_init__(self) -> None:
        if self.name not in _WIDTHS:
            raise UserError(f"got head {self.name!r}, expected {' or '.join(sorted(_WIDTHS))}")
        for name in ("width", "neck", "auxiliary_width"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _MOST_CHANNELS:
                raise UserError(f"got head.{name} {value}, expected 1 to {_MOST_CHANNELS}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"got head.dropout {self.dropout}, expected at least 0 and below 1")

    @property
    def has_auxiliary(self) -> bool:
        """Whether there is an auxiliary head in training."""
        return self.name == "upernet" if self.auxiliary is None else self.auxiliary

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored beside the weights."""
        return asdict(self)


class SegmentationModel(nn.Module):
    """Scores of K classes for every pixel.

    Args:
        backbone: images (B, C, H, W) to maps.
        head: the maps to scores (B, K, H', W').
        auxiliary: the same for training alone; None trains without.
        num_classes: classes K.
        options: what the heads were made by, to be kept with weights.

    Example:
        >>> import torch
        >>> model = create_segmenter("pico_pure", 3, HeadOptions(width=16))
        >>> tuple(model(torch.zeros(2, 3, 40, 33)).shape)
        (2, 3, 40, 33)
    """

    def __init__(
        self,
        backbone: FeatureBackbone,
        head: nn.Module,
        auxiliary: nn.Module | None = None,
        *,
        num_classes: int,
        options: HeadOptions,
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.auxiliary = auxiliary
        self.num_classes = num_classes
        self.options = options

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) to scores (B, K, H, W) before the softmax."""
        return self._resized(self.head(self.backbone(images_BCHW)), images_BCHW)

    def forward_train(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same, and the auxiliary head's scores if there is one."""
        maps = self.backbone(images_BCHW)
        scores = self._resized(self.head(maps), images_BCHW)
        if self.auxiliary is None:
            return scores, None
        return scores, self._resized(self.auxiliary(maps), images_BCHW)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the backbone asks weight decay to leave alone (timm's interface)."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    @staticmethod
    def _resized(scores_BKHW: Tensor, images_BCHW: Tensor) -> Tensor:
        return resize(scores_BKHW, (images_BCHW.shape[-2], images_BCHW.shape[-1]))


def create_segmenter(
    backbone: str,
    num_classes: int,
    options: HeadOptions | None = None,
    *,
    checkpoint: CheckpointSource | None = None,
    **backbone_options: Any,
) -> SegmentationModel:
    """Build a segmentation model by the name of its backbone.

    Args:
        backbone: one of our variants ("s18_pure") or a timm model that gives features.
        num_classes: classes K.
        options: kind and sizes of the head; UPerNet by default.
        checkpoint: weights of the backbone, such as a classifier's.
        **backbone_options: for ``create_backbone``: in_chans, img_size, stem_stride,
            drop_path_rate, pretrained, ...

    Returns:
        The model, in training mode.

    Raises:
        UserError: no such backbone, one without several maps, or weights that do not fit.
    """
    if not 1 <= num_classes <= MAX_CLASSES:
        raise UserError(f"got {num_classes} classes, expected 1 to {MAX_CLASSES}")
    options = options or HeadOptions()
    network = create_backbone(backbone, checkpoint, **backbone_options)
    channels = network.channels
    width = options.width or _WIDTHS[options.name]
    common: dict[str, Any] = {"width": width, "dropout": options.dropout}
    if options.name == "upernet":
        head: nn.Module = UPerNet(channels, num_classes, **common)
    else:
        head = SemanticFPN(channels, network.strides, num_classes, neck=options.neck, **common)
    auxiliary = None
    if options.has_auxiliary:
        auxiliary = AuxiliaryHead(
            channels, num_classes, width=options.auxiliary_width, dropout=options.dropout
        )
    return SegmentationModel(network, head, auxiliary, num_classes=num_classes, options=options)
