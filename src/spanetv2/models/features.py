"""Any network as a backbone: a list of feature maps with known channels and strides.

Shape suffixes: B batch, C channels, H and W rows and columns.
"""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.models.factory import create_model, resolve_name
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.compare import classifier_prefixes, compare_states
from spanetv2.models.weights.convert import fit_prefix
from spanetv2.models.weights.read import Checkpoint, CheckpointSource, read_checkpoint
from spanetv2.models.weights.save import model_record
from spanetv2.text import one_line

__all__ = ["FeatureBackbone", "create_backbone", "set_grad_checkpointing"]

_MAPS = 4  # at most, the coarsest
_OF_CLASSIFIERS = ("num_classes", "global_pool", "feature_norms")
_FOR_TRAINING = ("pretrained", "drop_path_rate", "drop_rate", "proj_drop_rate")
_PLAIN = (int, float, str, bool, list, tuple, dict)


class FeatureBackbone(nn.Module):
    """A network that turns images into feature maps, finest first.

    Its parts have the names that they have in the network, with no level of names between
    (``stages`` of our models are ``backbone.model.stages`` in a model that calls this
    ``backbone``): files of weights do not show that there is a class around the network.

    Args:
        network: images to a list of maps, as timm's ``features_only`` networks give them.
        record: ``model_name`` and ``model_kwargs``, what ``create_backbone`` needs to build one
            like it: JSON values, to be kept with weights.

    Attributes:
        channels: of each map.
        strides: pixels per token of each map.

    Example:
        >>> backbone = create_backbone("pico_pure")
        >>> backbone.strides, [tuple(x.shape[2:]) for x in backbone(torch.zeros(1, 3, 64, 96))]
        ([4, 8, 16, 32], [(16, 24), (8, 12), (4, 6), (2, 3)])
    """

    network: nn.Module

    def __init__(self, network: nn.Module, record: Mapping[str, Any]):
        super().__init__()
        # The same dicts, not copies: whatever is moved, replaced or loaded is so in the network,
        # which is kept beside them and not among them.
        self._modules = network._modules
        self._parameters = network._parameters
        self._buffers = network._buffers
        self._non_persistent_buffers_set = network._non_persistent_buffers_set
        self.__dict__["network"] = network
        maps = cast(Any, network).feature_info
        self.channels: list[int] = [int(channels) for channels in maps.channels()]
        self.strides: list[int] = [int(stride) for stride in maps.reduction()]
        self.record = dict(record)
        self._channels_last = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")

    @property
    def name(self) -> str:
        """Name of the network, as timm has it."""
        return self.record["model_name"]

    @property
    def in_chans(self) -> int:
        """Channels of the input image."""
        return int(self.record["model_kwargs"].get("in_chans", 3))

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The maps, (B, C, H, W) each."""
        maps = self.network(images_BCHW)
        if self._channels_last:
            return [x_BHWC.permute(0, 3, 1, 2) for x_BHWC in maps]
        return list(maps)

    def train(self, mode: bool = True) -> "FeatureBackbone":
        super().train(mode)
        self.network.training = mode
        return self

    def no_weight_decay(self) -> set[str]:
        """Parameters that the network asks weight decay to leave alone, by their names here.

        timm's wrappers around networks do not pass on what these say.
        """
        inner = getattr(self.network, "model", None)
        if inner is not None:
            whole, prefix = inner, "model."
        else:
            options = {k: v for k, v in self.record["model_kwargs"].items() if k != "out_indices"}
            with torch.device("meta"):
                whole, prefix = timm.create_model(self.name, **options), ""
        tell = getattr(whole, "no_weight_decay", None)
        # without the network around them, the names of its parts are joined by underscores
        patterns = [] if tell is None else [f"{prefix}{name}".replace(".", "_") for name in tell()]
        return {
            name
            for name, _ in self.named_parameters()
            if any(fnmatch(name.replace(".", "_"), pattern) for pattern in patterns)
        }

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Store only the input of each block in training and compute the rest again backwards.

        Raises:
            UserError: the network cannot.
        """
        # timm's wrapper around a network that computes its own maps passes nothing on
        set_grad_checkpointing(getattr(self.network, "model", self.network), self.name, enable)


def set_grad_checkpointing(network: nn.Module, name: str, enable: bool = True) -> None:
    """Let a timm model store only the input of each block in training.

    Args:
        network: the model.
        name: of the model, for the message.
        enable: or not.

    Raises:
        UserError: the network cannot.
    """
    if not hasattr(network, "set_grad_checkpointing"):
        raise UserError(f"{name} has no activation checkpointing; leave grad_checkpointing off")
    cast(Any, network).set_grad_checkpointing(enable)


def create_backbone(
    name: str, checkpoint: CheckpointSource | None = None, **options: Any
) -> FeatureBackbone:
    """Build a backbone: a network that gives feature maps, at most the four coarsest.

    Args:
        name: one of ours (``s18_pure``; see ``spanetv2 models``), with a norm on every map, or a
            timm model that can give features.
        checkpoint: weights of the network alone, such as a classifier's, whose classifier is left
            out; image size and options of our variants come from it.
        **options: in_chans, img_size, stem_stride, drop_path_rate, pretrained, ... as
            ``spanetv2.create_model`` takes them; those that are None are left out.

    Raises:
        UserError: no such model, one that gives no maps, an option it does not take, weights of
            another model.
    """
    name = resolve_name(name)
    # JSON, in which options are kept with weights, has no tuples; timm wants them.
    options = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in options.items()
        if value is not None
    }
    if checkpoint is not None:
        checkpoint = read_checkpoint(checkpoint)
    try:
        if name in VARIANTS:
            network = create_model(name, checkpoint, features_only=True, **options)
            made_of = model_record(cast(nn.Module, network.model))["model_kwargs"]
            options = {k: v for k, v in made_of.items() if k not in _OF_CLASSIFIERS}
        else:
            options = {"in_chans": 3, **options, "out_indices": _coarsest(name, options)}
            network = _timm_network(name, checkpoint, options)
    except TypeError as error:
        raise UserError(f"model {name}: {error}") from error
    except (RuntimeError, AttributeError, AssertionError, LookupError) as error:
        reason = one_line(error) or type(error).__name__
        raise UserError(
            f"model {name} cannot be a backbone of four maps ({reason}); choose one of ours or a "
            "timm model with features_only"
        ) from error
    kept = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in options.items()
        if isinstance(value, _PLAIN) and key not in _FOR_TRAINING
    }
    return FeatureBackbone(network, {"model_name": name, "model_kwargs": kept})


def _coarsest(name: str, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Indices of a timm model's coarsest maps: some have more than four."""
    probe = timm.create_model(name, features_only=True, **{**options, "pretrained": False})
    indices = tuple(cast(Any, probe).feature_info.out_indices)[-_MAPS:]
    if len(indices) < 2:
        raise UserError(f"model {name} gives {len(indices)} map, expected two or more")
    return indices


def _timm_network(
    name: str, checkpoint: Checkpoint | None, options: Mapping[str, Any]
) -> nn.Module:
    """A timm model's maps, with its weights from a checkpoint."""
    if checkpoint is None:
        return timm.create_model(name, features_only=True, **options)
    with torch.device("meta"):
        whole = timm.create_model(name, in_chans=options["in_chans"])
    # timm only remarks on what is missing
    prefixes = classifier_prefixes(whole)
    needed = {k: v for k, v in whole.state_dict().items() if not k.startswith(prefixes)}
    state = fit_prefix(checkpoint.state_dict, needed)
    difference = compare_states(state, needed)
    difference.unexpected.clear()  # a classifier, which maps do without
    if difference:
        raise UserError(f"{checkpoint.path}: not the weights of {name}; {difference.explain()}")
    weights = {"state_dict": state}  # timm takes parts out of it
    return timm.create_model(
        name,
        features_only=True,
        **{**options, "pretrained": True, "pretrained_cfg_overlay": weights},
    )
