"""Probing the Jacobian of a token mixer at real images.

``J = d mixer(x)_c / d x_c`` is the N x N matrix by which a small change of channel c at one token
reaches the same channel at another. For a linear mixer it is the mixer; for attention and SPAM it
includes how the change moves the attention map or the query. Rows of J come from backward passes,
one row per image and pass. Where a mixer gives another number of channels, channel c of C' outputs
is held against channel floor(c C / C') of C inputs, which lies in the same group.

Shape suffixes: B images, C channels, H and W the grid in tokens, G groups (image and channel),
P rows, K channels per image.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.response import MixerResponse, response_of_rows
from spanetv2.errors import UserError

__all__ = ["jacobian_response", "jacobian_rows"]


@torch.inference_mode(False)  # tensors of that mode take no part in backward passes
def jacobian_rows(
    function: Callable[[Tensor], Tensor],
    x_BCHW: Tensor,
    *,
    channels: int = 4,
    rows: int = 16,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the Jacobian of a mixer for channels and tokens drawn at random.

    Args:
        function: maps (B, C, H, W) to (B, C', H, W), each image on its own.
        x_BCHW: where the Jacobian is taken.
        channels: output channels K per image; all of them if there are no more.
        rows: tokens P per channel; all of them (exact figures) if the grid has no more.
        seed: of the draw.

    Returns:
        The rows (G, P, H, W), the flat position of each row's token (G, P), and the channel of
        each group (G,), with G = B * K.

    Raises:
        UserError: not one channel or fewer than two rows asked for.
    """
    if channels < 1 or rows < 2:
        raise UserError(f"got {channels} channels and {rows} rows, expected at least 1 and 2")
    batch, width, height, columns = x_BCHW.shape
    tokens = height * columns
    with torch.enable_grad():
        x = x_BCHW.detach().clone().requires_grad_(True)
        y_BCN = function(x).flatten(2)
        outputs = y_BCN.shape[1]
        channels, rows = min(channels, outputs), min(rows, tokens)
        generator = torch.Generator().manual_seed(seed)
        channel_BK = torch.stack(
            [torch.randperm(outputs, generator=generator)[:channels] for _ in range(batch)]
        )
        place_BKP = torch.stack(
            [torch.randperm(tokens, generator=generator)[:rows] for _ in range(batch * channels)]
        ).reshape(batch, channels, rows)
        found = torch.empty(batch, channels, rows, height, columns)
        images = torch.arange(batch)
        last = channels * rows - 1
        for step in range(channels * rows):
            k, p = divmod(step, rows)
            picked = y_BCN[images, channel_BK[:, k], place_BKP[:, k, p]].sum()
            (grad,) = torch.autograd.grad(picked, x, retain_graph=step < last)
            # the same channel, or the one of as high a place among fewer or more
            source_B = channel_BK[:, k] * width // outputs
            found[:, k, p] = grad[images, source_B].float().cpu()
    return found.flatten(0, 1), place_BKP.flatten(0, 1), channel_BK.flatten()


def jacobian_response(
    call: MixerCall, *, images: int = 8, channels: int = 4, rows: int = 16, seed: int = 0
) -> MixerResponse:
    """Frequency response of a token mixer by Jacobian probing, averaged over images and channels.

    Args:
        call: the mixer at its input, from ``record_calls``.
        images: how many of the call's images to probe at.
        channels: see ``jacobian_rows``.
        rows: see ``jacobian_rows``.
        seed: of the draw.

    Returns:
        The response.

    Raises:
        UserError: no images, or a Jacobian that is not finite.
    """
    if images < 1:
        raise UserError(f"got {images} images to probe at, expected at least 1")
    found, places, _ = jacobian_rows(call, call.x[:images], channels=channels, rows=rows, seed=seed)
    mixer = call.mixer
    return response_of_rows(
        found, places, name=mixer.name, kind=mixer.kind, stage=mixer.stage, block=mixer.block
    )
