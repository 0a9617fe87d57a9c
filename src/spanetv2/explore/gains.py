"""What the page shows of a network's blocks: their gain over the plane of frequencies, measured.

The same measurement as ``spanetv2 analyze model`` makes, kept as maps instead of curves.

Shape suffixes: C channels, H and W the grid in tokens.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.arrays import Gap
from spanetv2.analysis.jacobian import jacobian_response
from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.mixers import token_mixers
from spanetv2.analysis.spam_bank import gate_gain, kernel_gain
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM

__all__ = ["BlockGain", "HeadGain", "find_calls", "measure_gains"]

_GRIDS = 64
"""Grids of more tokens a side are measured by fewer rows."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HeadGain:
    """A head of a SPAM mixer; maps (H, W) over the plane, frequency 0 first."""

    name: str
    """Size of its kernel, such as 3x3."""
    kernel: np.ndarray
    """Root mean square over the channels of |K(w)|."""
    gate: np.ndarray
    """Mean over the channels of the spectral filter's gain."""
    product: np.ndarray
    """Root mean square of |K| times the gain."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BlockGain:
    """A token mixer of the network."""

    name: str
    kind: str
    stage: int
    grid: tuple[int, int]
    """(H, W) in tokens."""
    gain: np.ndarray | None
    """(H, W), root mean square of g(w) over images and channels; None where it was not measured."""
    scalars: dict[str, float]
    """Figures of the response: see ``MixerResponse.scalars``."""
    heads: list[HeadGain]
    """Of SPAM; else none."""


def find_calls(model: nn.Module, images_BCHW: Tensor) -> tuple[list[MixerCall], list[Gap]]:
    """The network's token mixers at these images, and those that cannot be looked into."""
    try:
        calls, gaps = token_mixers(model, images_BCHW)
    except UserError as error:
        return [], [Gap("token mixers", str(error))]
    small = [call for call in calls if min(call.grid) == 1]
    gaps += [Gap(call.mixer.name, "its grid holds the constant only") for call in small]
    return [call for call in calls if min(call.grid) > 1], gaps


def measure_gains(
    calls: Sequence[MixerCall], *, advance: Callable[[int], object] | None = None, seed: int = 0
) -> list[BlockGain]:
    """Measure token mixers by their Jacobian at the calls' images.

    Args:
        calls: from ``find_calls``.
        advance: called with 1 after each.
        seed: of the draw of rows and channels.
    """
    found = []
    for call in calls:
        gain, scalars = None, {}
        try:
            rows = 16 if max(call.grid) <= _GRIDS else 4
            response = jacobian_response(call, images=4, channels=4, rows=rows, seed=seed)
            gain = response.gain
            wanted = ("dc_gain", "rms_gain", "lambda_c", "m_eff", "leakage")
            values = response.scalars()
            scalars = {name: float(values[name]) for name in wanted if np.isfinite(values[name])}
        except (UserError, RuntimeError):
            pass  # shown as a block without a map
        found.append(
            BlockGain(
                name=call.mixer.name,
                kind=call.mixer.kind,
                stage=call.mixer.stage,
                grid=call.grid,
                gain=gain,
                scalars=scalars,
                heads=_heads(call),
            )
        )
        if advance is not None:
            advance(1)
    return found


def _heads(call: MixerCall) -> list[HeadGain]:
    mixer = call.mixer.module
    if not isinstance(mixer, SPAM):
        return []
    channels = call.x.shape[1]
    gate_CHW = torch.ones(channels, *call.grid, dtype=torch.float64)
    if mixer.spectral_filter is not None:
        gate_CHW = gate_gain(mixer.spectral_filter, channels, call.grid)
    heads = []
    gates = gate_CHW.chunk(mixer.num_heads)
    for conv, gate in zip(mixer.local_convs, gates, strict=True):
        assert isinstance(conv, nn.Conv2d)
        kernel = kernel_gain(conv.weight[:, 0], call.grid)
        heads.append(
            HeadGain(
                name="x".join(map(str, conv.kernel_size)),
                kernel=kernel.square().mean(0).sqrt().numpy(),
                gate=gate.mean(0).numpy(),
                product=(kernel * gate).square().mean(0).sqrt().numpy(),
            )
        )
    return heads
