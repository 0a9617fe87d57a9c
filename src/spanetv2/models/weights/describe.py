"""What a state dict says about its model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.convert import grid_to_image

__all__ = ["Description", "describe"]

_STRIDES = {7: (4, 2), 5: (2, 2), 3: (1, 1)}  # stem kernel -> (stride, padding)


@dataclass(frozen=True, kw_only=True)
class Description:
    """A SPANetV2 as its weights show it."""

    depths: tuple[int, ...]
    """blocks per stage"""
    dims: tuple[int, ...]
    """channels per stage"""
    mixers: tuple[str, ...]
    """token mixer per stage"""
    head_order: str
    """"interleaved" or "concatenated" """
    gate: str
    """"sigmoid" or "scaled_sigmoid" """
    in_chans: int
    """channels of the input image"""
    num_classes: int
    """classes; 0 without a classifier"""
    stem_stride: int
    """stride of the stem"""
    img_size: tuple[int, int]
    """(height, width) in pixels that the spectral filters are made for"""
    feature_norms: bool
    """whether every stage's output has a norm of its own"""

    @property
    def variant(self) -> str | None:
        """Name of the variant with this architecture, or None."""
        for variant in VARIANTS.values():
            if (variant.depths, variant.dims, variant.mixers) == (
                self.depths,
                self.dims,
                self.mixers,
            ):
                return variant.name
        return None


def _mixer(parts: Mapping[str, Tensor]) -> str:
    """Name of the token mixer that these are the weights of; head widths do not show."""
    if "context.weight" not in parts:
        if "inner.pwconv1.weight" in parts:
            return "sepconv"
        if "bases" in parts:
            return "dynamic_filter"
        if "qkv.weight" not in parts:
            return "identity"  # or pooling: neither has weights
        return "mixed_attention" if "local_conv.weight" in parts else "attention"
    if "query.weight" not in parts:
        return "spam_no_modulation"
    if "spectral.theta" not in parts:
        return "spam_no_srf"
    kernels = {
        v.shape[-1]
        for k, v in parts.items()
        if re.match(r"local_convs\.\d\.weight", k) and v.ndim == 4
    }
    return f"spam_{kernels.pop()}" if len(kernels) == 1 else "spam"


def _size(name: str, value: Tensor, dimensions: int) -> int:
    """A tensor's first size.

    Raises:
        UserError: it has another number of dimensions.
    """
    if value.ndim != dimensions:
        raise UserError(
            f"got weights with {name} of shape {tuple(value.shape)}, "
            f"expected {dimensions} dimensions; the file is damaged or another network's"
        )
    return value.shape[0]


def describe(state: Mapping[str, Tensor]) -> Description:
    """Read the architecture and its options off a state dict with this package's names.

    Raises:
        UserError: parts are missing or of another kind, so that this is not a whole SPANetV2.
    """
    stem = state.get("stem.conv.weight")
    if stem is None or stem.ndim != 4 or stem.shape[-1] not in _STRIDES:
        raise UserError("got a state dict without SPANetV2's stem (stem.conv.weight)")
    depths: dict[int, int] = {}
    dims: dict[int, int] = {}
    for name, value in state.items():
        if match := re.match(r"stages\.(\d+)\.blocks\.(\d+)\.norm1\.weight$", name):
            stage, block = int(match[1]), int(match[2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
            dims[stage] = _size(name, value, 1)
    if sorted(depths) != list(range(len(depths))) or not depths:
        raise UserError(f"got a state dict with stages {sorted(depths)}, expected 0, 1, 2, ...")

    def mixer(stage: int) -> str:
        base = f"stages.{stage}.blocks.0.token_mixer."
        inside = {k.removeprefix(base): v for k, v in state.items() if k.startswith(base)}
        return _mixer(inside)

    kernel = stem.shape[-1]
    stride, padding = _STRIDES[kernel]
    image = (224, 224)
    halves = {}
    for stage in range(len(depths)):
        base = f"stages.{stage}.blocks.0.token_mixer."
        for part, dimensions in (("spectral.theta", 3), ("bases", 4)):
            spectra = state.get(base + part)
            if spectra is not None and spectra.ndim == dimensions:
                halves[stage] = (spectra.shape[-2], spectra.shape[-1])
    if halves:
        image = grid_to_image(halves, kernel, stride, padding)
    last = "head.fc.fc2.weight"
    stages = range(len(depths))
    return Description(
        depths=tuple(depths[i] for i in stages),
        dims=tuple(dims[i] for i in stages),
        mixers=tuple(mixer(i) for i in stages),
        head_order="concatenated"
        if any(".proj.grouped_concatenated." in name for name in state)
        else "interleaved",
        gate="scaled_sigmoid"
        if any(name.endswith("spectral.alpha") for name in state)
        else "sigmoid",
        in_chans=stem.shape[1],
        num_classes=_size(last, state[last], 2) if last in state else 0,
        stem_stride=stride,
        img_size=image,
        feature_norms=any(name.startswith("feature_norms.") for name in state),
    )
