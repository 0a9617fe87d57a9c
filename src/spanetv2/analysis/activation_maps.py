"""Class activation maps from the last stage: which parts of an image speak for a class.

The maps are grad-cam's (Grad-CAM weighs the channels by their mean gradient; Score-CAM by how the
class answers to the image masked with each channel, one forward pass per channel).

Shape suffixes: B images, C channels, H and W the grid in tokens or the image in pixels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.mixers import MixerCall
from spanetv2.errors import UserError

__all__ = ["METHODS", "class_activation_maps", "map_to_explain"]

METHODS = ("grad_cam", "score_cam")


_SMALLEST = 4  # tokens per side; a map of fewer shows no place


def map_to_explain(calls: Sequence[MixerCall]) -> MixerCall:
    """The last mixer on a grid of at least 4 x 4 tokens; on tiny images not that of the last stage.

    Raises:
        UserError: no mixer has such a grid.
    """
    for call in reversed(calls):
        if min(call.grid) >= _SMALLEST:
            return call
    raise UserError(
        f"got no map of at least {_SMALLEST} x {_SMALLEST} tokens to explain; give larger images"
    )


def class_activation_maps(
    model: nn.Module,
    calls: Sequence[MixerCall],
    images_BCHW: Tensor,
    targets_B: Tensor | None = None,
    *,
    method: str = "grad_cam",
    batch_size: int = 8,
    advance: Callable[[int], Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Class activation maps of the block that holds the last of some mixers.

    Sequences of tokens are read before the last mixer: after it, only the class token matters to
    the output of most such networks.

    Args:
        model: a classifier in evaluation mode.
        calls: its mixers, from ``record_calls``; the last one's block is read.
        images_BCHW: normalised images.
        targets_B: the output to explain for each image; by default the highest.
        method: "grad_cam" or "score_cam".
        batch_size: images per pass.
        advance: called with the number of images done.

    Returns:
        Maps (B, H, W) in 0..1, as large as the images, and the outputs explained (B,).

    Raises:
        UserError: grad-cam is not installed, an unknown method, no images, or no map to explain.

    Source: Selvaraju et al. 2017; Wang et al. 2020; SPANetV2, visualisations.
    """
    if method not in METHODS:
        raise UserError(f"got method {method!r}, expected one of {', '.join(METHODS)}")
    if len(images_BCHW) == 0 or not calls:
        raise UserError(f"got {len(images_BCHW)} images and {len(calls)} mixers, expected some")
    try:
        from pytorch_grad_cam import GradCAM, ScoreCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as error:
        raise UserError(
            f"class activation maps need the grad-cam package ({error}); "
            'pip install "spanetv2[analysis]"'
        ) from None
    device = next(model.parameters()).device
    layer, reshape = _last_map(model, calls[-1])
    if targets_B is None:
        with torch.inference_mode():
            batches = images_BCHW.split(batch_size)
            targets_B = torch.cat([model(batch.to(device)).argmax(1).cpu() for batch in batches])
    kind = GradCAM if method == "grad_cam" else ScoreCAM
    found = []
    with kind(model=model, target_layers=[layer], reshape_transform=reshape) as cam:
        setattr(cam, "batch_size", batch_size)  # noqa: B010 - Score-CAM's masked images per pass
        for batch, target in zip(
            images_BCHW.split(batch_size), targets_B.split(batch_size), strict=True
        ):
            with torch.enable_grad():
                classes: Any = [ClassifierOutputTarget(i) for i in target.tolist()]
                found.append(cam(input_tensor=batch.to(device), targets=classes))
            if advance is not None:
                advance(len(batch))
    maps = np.concatenate(found)
    if not np.isfinite(maps).all():
        raise UserError("got class activation maps that are not finite; check the weights")
    return maps, targets_B.numpy()


def _last_map(
    model: nn.Module, call: MixerCall
) -> tuple[nn.Module, Callable[[Tensor], Tensor] | None]:
    """The module to explain, and what turns its output into a map (B, C, H, W)."""
    block = model.get_submodule(call.mixer.block)
    if call.layout == "NSC" and call.prefix is not None:
        norm = getattr(block, "norm1", None)
        if not isinstance(norm, nn.Module):
            raise UserError(f"got {call.mixer.block} without norm1, where tokens could be read")
        block = norm
    extra = 0 if call.prefix is None else call.prefix.shape[1]
    grid, layout = call.grid, call.layout

    def as_map(x: Tensor) -> Tensor:
        if x.ndim == 3:
            return x[:, extra:].transpose(1, 2).unflatten(2, grid)
        if layout == "NHWC" and x.shape[1:3] == grid:
            return x.permute(0, 3, 1, 2)
        return x

    return block, as_map
