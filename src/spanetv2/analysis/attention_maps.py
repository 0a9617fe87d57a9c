"""Attention maps as they are for given images, and their frequency response.

The map is read where the network computes it, whatever the module is called: at the call of
``scaled_dot_product_attention``, or of a softmax over the last of four axes. It is the operator of
one head with the attention frozen; the Jacobian also sees how the attention moves.

Shape suffixes: B images (or windows of images), A heads, Q and S queries and keys, N = H * W.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from spanetv2.analysis.arrangement import window_of
from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.network import single_precision
from spanetv2.analysis.response import MixerResponse, response_of_rows
from spanetv2.errors import UserError

__all__ = ["attention_map_response", "attention_maps", "map_response"]

_ACROSS_CHANNELS = ("XCA", "ChannelAttention", "ChannelAttentionV2")  # their maps join channels
_SOFTMAX = (torch.softmax, Tensor.softmax, F.softmax)


class _Reader(TorchFunctionMode):
    """Keeps the first attention map that is computed inside."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.maps.append(_map_of(*args, **kwargs))
        if func is F.multi_head_attention_forward:
            wanted = {**kwargs, "need_weights": True, "average_attn_weights": False}
            self.maps.append(func(*args, **wanted)[1].detach())
        result = func(*args, **kwargs)
        if func in _SOFTMAX and isinstance(result, Tensor) and result.ndim == 4:
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if dim in (-1, 3):
                self.maps.append(result.detach())
        return result


def _map_of(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    """The map of ``scaled_dot_product_attention``, by its definition."""
    logits = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        above = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(above, float("-inf"))
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        logits = logits.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        logits = logits + attn_mask
    return logits.detach().float().softmax(-1)


def attention_maps(call: MixerCall, *, images: int = 8) -> Tensor:
    """The attention map that a mixer computes, (B, A, Q, S).

    Args:
        call: an attention mixer at its input, from ``record_calls``.
        images: how many of the call's images.

    Returns:
        Row-stochastic maps, class tokens included; for windowed attention one per window.

    Raises:
        UserError: the mixer computes no map that can be seen.
    """
    kind = type(call.mixer.module).__name__
    if kind in _ACROSS_CHANNELS:
        raise UserError(f"got {call.mixer.name} ({kind}), which attends to channels, not tokens")
    with torch.no_grad(), _Reader() as reader:
        call(call.x[:images])
    if not reader.maps:
        raise UserError(f"got {call.mixer.name}, which computes no attention map that can be seen")
    maps = reader.maps[0]
    return maps.flatten(1, -3) if maps.ndim > 4 else maps  # windows on an axis of their own


def map_response(
    maps_BANN: Tensor,
    grid: tuple[int, int],
    *,
    rows: int | None = None,
    seed: int = 0,
    **about: Any,
) -> MixerResponse:
    """Frequency response of attention maps on a grid, averaged over images and heads.

    Args:
        maps_BANN: row-stochastic maps over the N tokens of the grid; with P class tokens before
            them, (B, A, P + N, P + N). Class tokens are left out and the rows scaled to sum 1;
            ``row_sum`` tells how much of the attention stayed on the grid.
        grid: (H, W) in tokens.
        rows: how many rows of each map to use; all by default.
        seed: of the rows' draw.
        **about: name, kind, stage and block of the mixer.

    Returns:
        The response.

    Raises:
        UserError: maps of another size, or not row-stochastic.

    Example:
        >>> mean = torch.full((1, 1, 16, 16), 1 / 16)
        >>> response = map_response(mean, (4, 4))
        >>> round(response.frequency.dc_gain, 6), round(response.m_eff, 6)
        (1.0, 16.0)
    """
    height, width = grid
    tokens = height * width
    if (
        maps_BANN.ndim != 4
        or maps_BANN.shape[2] != maps_BANN.shape[3]
        or (maps_BANN.shape[2] < tokens)
    ):
        raise UserError(
            f"got attention maps of shape {tuple(maps_BANN.shape)}, expected (images, heads, N, N) "
            f"with at least the {tokens} tokens of a {height} x {width} grid"
        )
    # Rows in half precision sum to 1 up to the rounding of their entries.
    allowed = max(1e-3, 4 * torch.finfo(maps_BANN.dtype).eps)
    maps_BANN = single_precision(maps_BANN)
    off = (maps_BANN.sum(-1) - 1).abs().max().item()
    if not off < allowed or maps_BANN.min() < 0:
        raise UserError(
            f"got attention maps whose rows do not sum to 1 (off by up to {off:.3g}) or that have "
            "negative values; expected row-stochastic maps, as a softmax makes them"
        )
    extra = maps_BANN.shape[2] - tokens
    maps = maps_BANN[:, :, extra:, extra:].flatten(0, 1).cpu()
    share = float(maps.sum(-1).mean()) if extra else None
    groups = len(maps)
    count = tokens if rows is None else min(rows, tokens)
    generator = torch.Generator().manual_seed(seed)
    places = torch.stack(
        [torch.randperm(tokens, generator=generator)[:count].sort().values for _ in range(groups)]
    )
    picked = maps[torch.arange(groups)[:, None], places].double()
    picked = picked / picked.sum(-1, keepdim=True).clamp_min(1e-12)
    return response_of_rows(picked.unflatten(2, grid), places, row_sum=share, **about)


def attention_map_response(
    call: MixerCall, *, images: int = 8, rows: int | None = 256, seed: int = 0
) -> MixerResponse:
    """Frequency response of a mixer's frozen attention map.

    The attention of windows is taken on the window's own grid.

    Args:
        call: an attention mixer at its input.
        images: how many of the call's images.
        rows: see ``map_response``.
        seed: of the rows' draw.

    Returns:
        The response.

    Raises:
        UserError: no map can be seen, or it is not one over the tokens of a grid (as where keys are
            pooled).
    """
    maps = attention_maps(call, images=images)
    mixer = call.mixer
    about = {
        "name": mixer.name,
        "kind": "attention map",
        "stage": mixer.stage,
        "block": mixer.block,
    }
    height, width = call.grid
    extra = 0 if call.prefix is None else call.prefix.shape[1]
    if maps.shape[2] == maps.shape[3] == extra + height * width:
        return map_response(maps, call.grid, rows=rows, seed=seed, **about)
    tokens = maps.shape[2]
    if call.order is not None:
        window, windowed = call.order.sides(tokens), True
    else:
        window = window_of(mixer.module, tokens)
        windowed = mixer.function is not mixer.module or maps.shape[0] > len(call.x[:images])
    if windowed and window is not None and maps.shape[2] == maps.shape[3]:
        return map_response(maps, window, rows=rows, seed=seed, **about)
    raise UserError(
        f"got an attention map of {maps.shape[2]} queries and {maps.shape[3]} keys for a "
        f"{height} x {width} grid, expected every token as query and key"
    )
