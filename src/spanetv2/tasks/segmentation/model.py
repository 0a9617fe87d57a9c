"""A segmentation model: any backbone with features, a head, perhaps an auxiliary one.

Shape suffixes: B batch, C channels, K classes, H and W rows and columns.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.models.factory import create_model, resolve_name
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.read import Checkpoint, read_checkpoint
from spanetv2.tasks.segmentation.heads import AuxiliaryHead, SemanticFPN, UPerNet
from spanetv2.tasks.segmentation.heads.layers import resize

__all__ = ["HeadOptions", "SegmentationModel", "create_backbone", "create_segmenter"]

MAX_CLASSES = 255
"""Labels are bytes, and 255 means: not labelled."""

_WIDTHS = {"upernet": 512, "semantic_fpn": 128}
_KEPT = ("in_chans", "img_size", "stem_stride", "head_order", "gate")


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
            if value is not None and value < 1:
                raise UserError(f"got head.{name} {value}, expected 1 or more")
        if not 0 <= self.dropout < 1:
            raise UserError(f"got head.dropout {self.dropout}, expected at least 0 and below 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored beside the weights."""
        return asdict(self)


class SegmentationModel(nn.Module):
    """Scores of K classes for every pixel.

    Args:
        backbone: images (B, C, H, W) to a list of maps, finest first, as timm's ``features_only``
            models give them.
        head: the maps to scores (B, K, H', W').
        auxiliary: likewise, for training only.
        backbone_record: name and options of the backbone, kept in checkpoints.
        head_options: what the heads were made by, likewise.

    Example:
        >>> model = create_segmenter("pico_pure", num_classes=3, head=HeadOptions(width=16))
        >>> tuple(model(torch.zeros(2, 3, 40, 33)).shape)
        (2, 3, 40, 33)
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        auxiliary: nn.Module | None = None,
        *,
        num_classes: int,
        backbone_record: Mapping[str, Any] | None = None,
        head_options: HeadOptions | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.auxiliary = auxiliary
        self.num_classes = num_classes
        self.backbone_record = dict(backbone_record or {})
        self.head_options = head_options

    @property
    def strides(self) -> list[int]:
        """Strides of the backbone's maps."""
        return _strides(self.backbone)

    @property
    def in_chans(self) -> int:
        """Channels of the input image."""
        return int(self.backbone_record.get("model_kwargs", {}).get("in_chans", 3))

    def features(self, images_BCHW: Tensor) -> list[Tensor]:
        """The backbone's maps, (B, C, H, W) each, finest first."""
        maps = self.backbone(images_BCHW)
        if str(getattr(self.backbone, "output_fmt", "NCHW")).endswith("NHWC"):
            maps = [x.permute(0, 3, 1, 2).contiguous() for x in maps]
        return list(maps)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) to scores (B, K, H, W) before the softmax."""
        return self._resized(self.head(self.features(images_BCHW)), images_BCHW)

    def forward_train(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same, and the auxiliary head's scores if there is one."""
        maps = self.features(images_BCHW)
        scores = self._resized(self.head(maps), images_BCHW)
        if self.auxiliary is None:
            return scores, None
        return scores, self._resized(self.auxiliary(maps), images_BCHW)

    @staticmethod
    def _resized(scores_BKHW: Tensor, images_BCHW: Tensor) -> Tensor:
        return resize(scores_BKHW, (images_BCHW.shape[-2], images_BCHW.shape[-1]))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Store only the input of each block of the backbone in training.

        Raises:
            UserError: the backbone cannot.
        """
        for module in (self.backbone, getattr(self.backbone, "model", None)):
            if hasattr(module, "set_grad_checkpointing"):
                cast(Any, module).set_grad_checkpointing(enable)
                return
        name = self.backbone_record.get("model_name", "the backbone")
        raise UserError(f"{name} has no activation checkpointing")


def create_segmenter(
    backbone: str,
    *,
    num_classes: int,
    head: HeadOptions | None = None,
    weights: str | os.PathLike[str] | Checkpoint | None = None,
    **options: Any,
) -> SegmentationModel:
    """Build a segmentation model.

    Args:
        backbone: one of ours (``s18_pure``; see ``spanetv2 models``), with a norm on every map, or
            a timm model that can give features.
        num_classes: classes K.
        head: kind and sizes of the head.
        weights: a classification checkpoint for the backbone; its classifier is left out.
        **options: of the backbone; see ``create_backbone``.

    Returns:
        The model, in training mode.

    Raises:
        UserError: no such backbone, one without a pyramid of maps, weights that do not fit.
    """
    if not 1 <= num_classes <= MAX_CLASSES:
        raise UserError(f"got {num_classes} classes, expected 1 to {MAX_CLASSES}")
    head = head or HeadOptions()
    net = create_backbone(backbone, weights, **options)
    channels, strides = _channels(net), _strides(net)
    width = head.width or _WIDTHS[head.name]
    common: dict[str, Any] = {"width": width, "dropout": head.dropout}
    if head.name == "upernet":
        decoder: nn.Module = UPerNet(channels, num_classes, **common)
    else:
        decoder = SemanticFPN(channels, strides, num_classes, neck=head.neck, **common)
    auxiliary = None
    if head.auxiliary or (head.auxiliary is None and head.name == "upernet"):
        auxiliary = AuxiliaryHead(
            channels, num_classes, width=head.auxiliary_width, dropout=head.dropout
        )
    return SegmentationModel(
        net,
        decoder,
        auxiliary,
        num_classes=num_classes,
        backbone_record=_record(net, resolve_name(backbone), options),
        head_options=head,
    )


def create_backbone(
    name: str,
    weights: str | os.PathLike[str] | Checkpoint | None = None,
    **options: Any,
) -> nn.Module:
    """Build a backbone that gives a list of maps; at most the four coarsest.

    Args:
        name: one of ours or a timm model.
        weights: a classification checkpoint; image size and variant options come from it.
        **options: in_chans, img_size, stem_stride, drop_path_rate, pretrained, ... as
            ``spanetv2.create_model`` takes them.

    Raises:
        UserError: no such model, one that gives no features, an option it does not take, weights
            of another model.
    """
    name = resolve_name(name)
    try:
        if name in VARIANTS:
            path = weights.path if isinstance(weights, Checkpoint) else weights
            return create_model(name, path, features_only=True, **options)
        return _foreign(name, weights, options)
    except TypeError as error:
        raise UserError(f"model {name}: {error}") from error
    except (RuntimeError, AttributeError, AssertionError, LookupError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"model {name} cannot be a backbone of four maps ({reason}); choose one of ours or a "
            "timm model with features_only"
        ) from error


def _foreign(
    name: str, weights: str | os.PathLike[str] | Checkpoint | None, options: dict[str, Any]
) -> nn.Module:
    """A timm model of its own making: the four coarsest of its maps."""
    probe = timm.create_model(name, features_only=True, **{**options, "pretrained": False})
    indices = list(cast(Any, probe).feature_info.out_indices)[-4:]
    if len(indices) < 2:
        raise UserError(f"model {name} gives {len(indices)} map, expected two or more")
    options = {**options, "features_only": True, "out_indices": tuple(indices)}
    if weights is not None:
        checkpoint = weights if isinstance(weights, Checkpoint) else read_checkpoint(weights)
        options["pretrained"] = True
        options["pretrained_cfg_overlay"] = {"state_dict": _checked(name, checkpoint, options)}
    return timm.create_model(name, **options)


def _checked(name: str, checkpoint: Checkpoint, options: dict[str, Any]) -> dict[str, Tensor]:
    """The weights, if they are those of the model; timm only remarks on what is missing."""
    with torch.device("meta"):
        whole = timm.create_model(name, in_chans=options.get("in_chans", 3))
    classifier = cast(Any, whole).pretrained_cfg.get("classifier") or ()
    prefixes = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    expected = {k: v.shape for k, v in whole.state_dict().items() if not k.startswith(prefixes)}
    state = checkpoint.state_dict
    wrong = [k for k, shape in expected.items() if k not in state or state[k].shape != shape]
    if wrong:
        raise UserError(
            f"{checkpoint.path}: not the weights of {name} (first differences: "
            f"{', '.join(wrong[:5])})"
        )
    return dict(state)  # timm takes parts out of it


def _channels(backbone: nn.Module) -> list[int]:
    return list(cast(Any, backbone).feature_info.channels())


def _strides(backbone: nn.Module) -> list[int]:
    return list(cast(Any, backbone).feature_info.reduction())


def _record(backbone: nn.Module, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Name and options that make the same backbone again, but for its weights."""
    if name in VARIANTS:
        net = cast(Any, backbone).model
        kwargs = {key: getattr(net, key) for key in _KEPT}
        kwargs["img_size"] = list(kwargs["img_size"])
    else:
        plain = (int, float, str, bool, list, tuple)
        left_out = ("pretrained", "drop_path_rate")
        kwargs = {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in options.items()
            if isinstance(v, plain) and k not in left_out
        }
        kwargs.setdefault("in_chans", 3)
    return {"model_name": name, "model_kwargs": kwargs}
