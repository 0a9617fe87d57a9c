"""The four-stage backbone and classifier, with timm's model interface.

Shape suffixes: B batch, C channels, H and W rows and columns (pixels at the input, tokens inside).
Maps are (B, H, W, C) between blocks and (B, C, H, W) at every public boundary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import get_device_dtype
from timm.models._features import feature_take_indices
from timm.models._input import update_model_input_size
from torch import Tensor, nn

from spanetv2.arguments import check_network
from spanetv2.errors import UserError
from spanetv2.layers import ClassifierHead, Stem, conv_output_size
from spanetv2.mixers import DynamicFilter, SpectralRescale, WrittenMixer, read_mixers
from spanetv2.models.block import Stage

__all__ = ["SPANetV2"]


def _image_size(img_size: int | Sequence[int]) -> tuple[int, int]:
    size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(size) != 2 or min(size) < 1:
        raise UserError(f"got img_size={img_size}, expected one positive number or (height, width)")
    return int(size[0]), int(size[1])


class SPANetV2(nn.Module):
    """SPANetV2: a stem, four stages of blocks, and a classifier.

    Any input size works: the spectral filters are made for ``img_size`` and resized to the grid of
    each input (``set_input_size`` does so once and for all).

    Args:
        depths: blocks per stage.
        dims: channels per stage.
        mixers: token mixer per stage: a name of ``MIXERS``, a name with options such as
            ``{"name": "spam", "spectral": False}``, or a class; see ``read_mixers``.
        residual_scale: per stage, whether the residual branches are scaled.
        in_chans: channels of the input image.
        num_classes: classes; 0 leaves the classifier out.
        global_pool: "avg", "max", "avgmax", or "" (no pooling).
        img_size: image size in pixels that the spectral filters are made for.
        stem_stride: 4 (the paper's), 2 or 1.
        head_order: "interleaved" or "concatenated"; see ``SPAM``.
        gate: "sigmoid" or "scaled_sigmoid"; see ``SpectralRescale``.
        drop_rate: dropout in the classifier.
        proj_drop_rate: dropout after every mixer and MLP.
        drop_path_rate: stochastic depth, linear from 0 at the first block to this at the last.
        feature_norms: give every stage's output a LayerNorm of its own in
            ``forward_intermediates``, as dense predictors use it.
        init_std: standard deviation of the initial weights of every convolution and linear layer;
            None takes 1 / sqrt(inputs) of each layer, for widths far below the paper's: a product
            of several 0.02-sized maps of few channels would start near zero.

    Raises:
        UserError: arguments that do not fit together.

    Source: SPANetV2, architecture.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (64, 128, 320, 512),
        mixers: Sequence[WrittenMixer] = ("spam", "spam", "spam", "spam"),
        residual_scale: Sequence[bool] = (False, False, True, True),
        *,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        img_size: int | Sequence[int] = 224,
        stem_stride: int = 4,
        head_order: str = "interleaved",
        gate: str = "sigmoid",
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        feature_norms: bool = False,
        init_std: float | None = 0.02,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_network(
            {
                "num_classes": num_classes,
                "in_chans": in_chans,
                "drop_rate": drop_rate,
                "proj_drop_rate": proj_drop_rate,
                "drop_path_rate": drop_path_rate,
            }
        )
        if not len(depths) == len(dims) == len(mixers) == len(residual_scale):
            raise UserError(
                f"got {len(depths)} depths, {len(dims)} dims, {len(mixers)} mixers and "
                f"{len(residual_scale)} residual scales, expected one of each per stage"
            )
        chosen = read_mixers(mixers)
        self.architecture = {
            "depths": list(depths),
            "dims": list(dims),
            "mixers": [mixer.record for mixer in chosen],
        }
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = dims[-1]
        self.head_order = head_order
        self.gate = gate
        self.stem_stride = stem_stride
        self.grad_checkpointing = False
        self.stem = Stem(in_chans, dims[0], stride=stem_stride, device=device, dtype=dtype)
        self.img_size = _image_size(img_size)
        grids = self._grids(*self.img_size, stages=len(dims))

        blocks = sum(depths)
        rates = [drop_path_rate * i / max(blocks - 1, 1) for i in range(blocks)]
        stages = []
        for i, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            first = sum(depths[:i])
            stages.append(
                Stage(
                    dims[i - 1] if i else None,
                    dim,
                    grids[i],
                    mixer=chosen[i],
                    head_order=head_order,
                    gate=gate,
                    residual_scale=residual_scale[i],
                    drop_path=rates[first : first + depth],
                    proj_drop=proj_drop_rate,
                    device=device,
                    dtype=dtype,
                )
            )
        self.stages = nn.Sequential(*stages)
        self.feature_info = [
            {"num_chs": dim, "reduction": stem_stride * 2**i, "module": f"stages.{i}"}
            for i, dim in enumerate(dims)
        ]
        self.feature_norms = nn.ModuleList(
            nn.LayerNorm(dim, eps=1e-6, bias=False, device=device, dtype=dtype)
            for dim in (dims if feature_norms else ())
        )
        self.head = ClassifierHead(
            dims[-1], num_classes, pool=global_pool, drop=drop_rate, device=device, dtype=dtype
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                inputs = module.weight.shape[1:].numel()
                std = inputs**-0.5 if init_std is None else init_std
                nn.init.trunc_normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Zero pixels (padding, black) would otherwise give all-zero tokens, whose gradient every
        # norm multiplies by 1 / sqrt(eps): 1e30 in all, and nothing trains. Drawn last, so that a
        # seed gives all other weights as it did before.
        weight = self.stem.conv.weight
        std = weight.shape[1:].numel() ** -0.5 if init_std is None else init_std
        assert self.stem.conv.bias is not None
        nn.init.trunc_normal_(self.stem.conv.bias, std=std)

    def _grids(self, height: int, width: int, *, stages: int) -> list[tuple[int, int]]:
        grid = self.stem.output_grid(height, width)
        if min(grid) < 1:
            smallest = self.stem.kernel - 2 * self.stem.padding
            raise UserError(
                f"got images of {height} x {width} pixels, expected at least "
                f"{smallest} x {smallest} with stem_stride={self.stem.stride}"
            )
        grids = [grid]
        for _ in range(stages - 1):
            last = grids[-1]
            grids.append((conv_output_size(last[0], 3, 2, 1), conv_output_size(last[1], 3, 2, 1)))
        return grids

    def set_input_size(self, img_size: int | Sequence[int] | None = None) -> None:
        """Re-base every spectral filter on images of another size.

        The outputs at that size stay the same (the filter is resized as it would be at run time),
        but nothing is resized at run time any more, and training goes on from the resized filter.

        Args:
            img_size: one side or (height, width), in pixels; None changes nothing.

        Raises:
            UserError: a size without tokens.
        """
        if img_size is None:
            return
        size = _image_size(img_size)
        grids = self._grids(*size, stages=len(self.stages))
        for stage, grid in zip(self.stages, grids, strict=True):
            for module in stage.modules():
                if isinstance(module, SpectralRescale | DynamicFilter):
                    module.set_grid(grid)
        self.img_size = size
        update_model_input_size(self, size)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Store only the input of each block in training and compute the rest again backwards."""
        self.grad_checkpointing = enable
        for stage in self.stages:
            assert isinstance(stage, Stage)
            stage.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that order the parameters by depth (timm's interface for layer-wise decay)."""
        return {
            "stem": r"^stem",
            "blocks": r"^stages\.(\d+)"
            if coarse
            else [
                (r"^stages\.(\d+)\.downsample", (0,)),
                (r"^stages\.(\d+)\.blocks\.(\d+)", None),
            ],
        }

    def no_weight_decay(self) -> set[str]:
        """Parameters besides one-dimensional ones that weight decay should leave alone: none."""
        return set()

    def get_classifier(self) -> nn.Module:
        """What turns the pooled, normalised features into logits."""
        return self.head.fc

    def reset_classifier(
        self,
        num_classes: int,
        global_pool: str | None = None,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make a fresh classifier of the model's device, dtype and mode.

        Args:
            num_classes: classes; 0 removes the classifier.
            global_pool: a new pooling; None keeps it.
            device: device of the new layers; the model's if None.
            dtype: dtype of the new layers; the model's if None.
        """
        if global_pool is not None:
            self.head.set_pool(global_pool)
        place = get_device_dtype(self, device=device, dtype=dtype)
        self.head.set_classes(num_classes, **place)
        self.num_classes = num_classes

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Run the stages and collect their outputs.

        Args:
            x: images, (B, in_chans, H, W).
            indices: stages to take: the last n, a list (negative from the end), or None for all.
            norm: accepted for timm's interface; the maps pass through ``feature_norms`` whenever
                the model has them, and the trunk always goes on from the un-normalised output.
            stop_early: stop after the last stage taken.
            output_fmt: "NCHW" or "NHWC".
            intermediates_only: return the list alone.

        Returns:
            The list of maps, or (output of the last stage run, list).

        Raises:
            UserError: an unknown format.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise UserError(f"got output_fmt={output_fmt!r}, expected 'NCHW' or 'NHWC'")
        take, last = feature_take_indices(len(self.stages), indices)
        maps = []
        x_BHWC = self.stem(x)
        stages = self.stages
        if stop_early and not torch.jit.is_scripting():
            stages = self.stages[: last + 1]
        for i, stage in enumerate(stages):
            x_BHWC = stage(x_BHWC)
            if i in take:
                y_BHWC = self.feature_norms[i](x_BHWC) if len(self.feature_norms) else x_BHWC
                maps.append(y_BHWC if output_fmt == "NHWC" else y_BHWC.permute(0, 3, 1, 2))
        if intermediates_only:
            return maps
        return (x_BHWC if output_fmt == "NHWC" else x_BHWC.permute(0, 3, 1, 2)), maps

    def prune_intermediate_layers(
        self,
        indices: int | list[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Remove what the given stages' outputs do not need; returns their absolute indices."""
        take, last = feature_take_indices(len(self.stages), indices)
        shortened = last < len(self.stages) - 1
        self.stages = self.stages[: last + 1]
        for i in range(len(self.feature_norms)):
            if i not in take:  # indices of the norms stay those of the stages
                self.feature_norms[i] = nn.Identity()
        if shortened:
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_head or shortened:
            head = ClassifierHead(self.num_features, 0, pool="")
            head.norm = nn.Identity()
            self.head = head.train(self.training)
            self.num_classes = 0
        return take

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, in_chans, H, W) to the last stage's map (B, C, H', W')."""
        return self.stages(self.stem(x)).permute(0, 3, 1, 2)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map (B, C, H', W') to logits (B, classes), or to pooled features (B, C)."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))
