"""Class activation maps from the last stage: which parts of an image speak for a class.

The maps are grad-cam's (Grad-CAM weighs the channels by their mean gradient; Score-CAM by how the
class answers to the image masked with each channel, one forward pass per channel).

Shape suffixes: B images, C channels, H and W the grid in tokens or the image in pixels.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.network import (
    feed,
    frozen,
    logits_of,
    measuring,
    single_precision,
    unwrapped,
)
from spanetv2.errors import UserError
from spanetv2.extras import install

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
        model: a classifier; it is run in evaluation mode, and left in its own and without new
            gradients. Frozen parameters do not matter.
        calls: its mixers, from ``record_calls``; the last one's block is read.
        images_BCHW: normalised images.
        targets_B: the output to explain for each image; by default the highest.
        method: "grad_cam" or "score_cam".
        batch_size: images per pass.
        advance: called with the number of images done.

    Returns:
        Maps (B, H, W) in 0..1, as large as the images, and the outputs explained (B,).

    Raises:
        UserError: grad-cam is not installed, an unknown method, no images, no classifier, outputs
            that it does not have, or no map to explain.

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
            f"{install('pytorch_grad_cam')}"
        ) from None
    model, images_BCHW = unwrapped(model), single_precision(images_BCHW)
    with torch.inference_mode(), measuring(model):
        # a given class needs no answers but their number
        batches = images_BCHW.split(batch_size) if targets_B is None else [images_BCHW[:1]]
        answers = torch.cat([logits_of(model, batch).cpu() for batch in batches])
    if targets_B is None:
        targets_B = answers.argmax(1)
    known = (targets_B >= 0) & (targets_B < answers.shape[1])
    if len(targets_B) != len(images_BCHW) or not known.all():
        raise UserError(
            f"got outputs {targets_B.tolist()} to explain for {len(images_BCHW)} images, expected "
            f"one per image from 0 to {answers.shape[1] - 1}"
        )
    layer, reshape = _last_map(model, calls[-1])
    kind = GradCAM if method == "grad_cam" else ScoreCAM
    found = []
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        measuring(model),
        frozen(model),
        _gradients_from(layer),
        kind(model=_Explained(model), target_layers=[layer], reshape_transform=reshape) as cam,
    ):
        setattr(cam, "batch_size", batch_size)  # noqa: B010 - Score-CAM's masked images per pass
        for batch, target in zip(
            images_BCHW.split(batch_size), targets_B.split(batch_size), strict=True
        ):
            classes: Any = [ClassifierOutputTarget(i) for i in target.tolist()]
            batch = batch.to(feed(model, batch).device)
            found.append(cam(input_tensor=batch, targets=classes))
            if advance is not None:
                advance(len(batch))
    maps = np.concatenate(found)
    if not np.isfinite(maps).all():
        raise UserError("got class activation maps that are not finite; check the weights")
    return maps, targets_B.numpy()


def _last_map(model: nn.Module, call: MixerCall) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """The module to explain, and what turns its output into a map (B, C, H, W)."""
    block = unwrapped(model.get_submodule(call.mixer.block))
    if call.layout == "NSC" and call.prefix is not None:
        norm = getattr(block, "norm1", None)
        if not isinstance(norm, nn.Module):
            raise UserError(f"got {call.mixer.block} without norm1, where tokens could be read")
        block = unwrapped(norm)

    def as_map(x: Any) -> Tensor:
        x_BCHW = call.map_of(x)
        if x_BCHW is None:
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise UserError(
                f"got {shape} from {call.mixer.block or 'the network'}, expected a map on the "
                f"mixer's grid of {call.grid[0]} x {call.grid[1]} tokens"
            )
        return single_precision(x_BCHW)

    return block, as_map


class _Explained(nn.Module):
    """What grad-cam may see of a network: its logits, and nothing that it would change."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return logits_of(self.network, x_BCHW)

    def train(self, mode: bool = True) -> "_Explained":
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """The network's gradients are its owner's."""


@contextlib.contextmanager
def _gradients_from(layer: nn.Module) -> Iterator[None]:
    """Let gradients begin at a layer's output, whatever is frozen before it."""

    def begin(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        # a copy, as what follows may work in place
        return output.detach().requires_grad_(True).clone()

    handle = layer.register_forward_hook(begin)
    try:
        yield
    finally:
        handle.remove()
