"""SPAM's bank of filters: what the kernels and the spectral gates of each head let through.

The response of a kernel h is ``K(w) = sum_d h[d] exp(i w d)``, as it acts away from the borders;
the gate's gain g(w) in (0, 1) is the one that really acts (on the self-conjugate columns the mean
of rows p and -p); the composed response of a channel is |K(w)| g(w).

Shape suffixes: C channels, H and W the grid in tokens, R rows and columns of a kernel.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.arrays import NamedArray
from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.network import measuring, single_precision
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM
from spanetv2.theory.response import radial_profile

__all__ = ["SpamBank", "bank_of", "gate_gain", "kernel_gain", "spam_bank"]

QUANTITIES = ("kernel", "gate", "gate_low", "gate_high", "composed")


@dataclass(frozen=True, kw_only=True)
class SpamBank:
    """The filters of one SPAM mixer."""

    name: str
    """Its place in the network."""
    stage: int
    """From 1."""
    grid: tuple[int, int]
    """(H, W) in tokens."""
    curves: NamedArray
    """Over head, quantity and radius (radians per token). kernel: root mean square of |K| over the
    head's channels; gate: mean of g, gate_low and gate_high: its 10 % and 90 % quantiles over the
    channels; composed: root mean square of |K| g."""


def kernel_gain(weight_CRR: Tensor, grid: tuple[int, int]) -> Tensor:
    """|K(w)| of depthwise kernels at the frequencies of a grid: (C, H, W), frequency 0 first.

    Args:
        weight_CRR: kernels, of odd size; they may be larger than the grid.
        grid: (H, W) in tokens.

    Raises:
        UserError: kernels that are not (channels, odd, odd).

    Example:
        >>> box = torch.full((1, 3, 3), 1 / 9)
        >>> kernel_gain(box, (4, 4))[0, 0].round(decimals=3).tolist()
        [1.0, 0.333, 0.333, 0.333]
    """
    if weight_CRR.ndim != 3 or any(side % 2 == 0 for side in weight_CRR.shape[1:]):
        raise UserError(
            f"got kernels of shape {tuple(weight_CRR.shape)}, expected (channels, odd, odd)"
        )
    waves = []
    for side, tokens in zip(weight_CRR.shape[1:], grid, strict=True):
        offset = torch.arange(side, dtype=torch.float64) - side // 2
        w = 2 * torch.pi * torch.fft.fftfreq(tokens, dtype=torch.float64)
        angle = w[:, None] * offset
        waves.append(torch.polar(torch.ones_like(angle), angle))
    kernels = weight_CRR.detach().cpu().double().to(torch.complex128)
    return torch.einsum("hr,crs,ws->chw", waves[0], kernels, waves[1]).abs()


def gate_gain(spectral: nn.Module, channels: int, grid: tuple[int, int]) -> Tensor:
    """The gain that a spectral filter really has: (C, H, W), frequency 0 first.

    Read off the module's answer to an impulse, so it is what the module does, self-conjugate
    columns included. Half precision filters are asked in float32.
    """
    values = next(iter([*spectral.parameters(), *spectral.buffers()]))
    if single_precision(values) is not values:
        spectral = copy.deepcopy(spectral).float()
    dtype = torch.promote_types(values.dtype, torch.float32)
    impulse = torch.zeros(1, channels, *grid, device=values.device, dtype=dtype)
    impulse[..., 0, 0] = 1
    with torch.no_grad(), measuring(spectral):
        answer = spectral(impulse)[0]
    return torch.fft.fft2(answer.cpu().double()).real


def spam_bank(calls: Iterable[MixerCall]) -> list[SpamBank]:
    """The banks of all SPAM mixers among the calls, on the grids that they were called with.

    Args:
        calls: from ``record_calls``.

    Returns:
        One bank per SPAM mixer; none for other networks.

    Raises:
        UserError: see ``bank_of``.

    Source: SPANetV2, spectral-adaptive modulation.
    """
    return [bank_of(call) for call in calls if isinstance(call.mixer.module, SPAM)]


def bank_of(call: MixerCall) -> SpamBank:
    """The bank of one SPAM mixer; see ``spam_bank``.

    Raises:
        UserError: another mixer, or one of an optimised network on a small grid, in which kernels
            and gates are one matrix.
    """
    mixer = call.mixer.module
    if not isinstance(mixer, SPAM):
        raise UserError(f"got {call.mixer.name} ({call.mixer.kind}), expected a SPAM mixer")
    mixing = mixer.token_mixing
    if mixing is None:
        raise UserError(
            f"got {call.mixer.name} of an optimised network, in which kernels and gates are "
            "one matrix; expected the network that it was made from"
        )
    channels, heads_of = call.x.shape[1], mixer.num_heads
    if not isinstance(mixing.spectral, nn.Identity):
        gate_CHW = gate_gain(mixing.spectral, channels, call.grid)
    else:
        gate_CHW = torch.ones(channels, *call.grid, dtype=torch.float64)
    gates = gate_CHW.chunk(heads_of)
    heads, names, radius = [], [], np.zeros(0)
    for conv, gate in zip(mixing.local_convs, gates, strict=True):
        assert isinstance(conv, nn.Conv2d)
        kernel = kernel_gain(conv.weight[:, 0], call.grid)
        low, high = torch.quantile(gate, torch.tensor([0.1, 0.9], dtype=gate.dtype), dim=0)
        maps = (
            kernel.square().mean(0),
            gate.mean(0),
            low,
            high,
            (kernel * gate).square().mean(0),
        )
        profiles = [radial_profile(values.numpy()) for values in maps]
        radius = profiles[0][0]
        curve = np.stack([mean for _, mean, _ in profiles])
        curve[[0, -1]] = np.sqrt(curve[[0, -1]])  # squares were averaged
        heads.append(curve)
        names.append(f"{conv.kernel_size[0]}x{conv.kernel_size[1]}")
    if len(set(names)) < heads_of:
        names = [f"{name}, head {i}" for i, name in enumerate(names, 1)]
    coords = {"head": names, "quantity": list(QUANTITIES), "radius": radius.tolist()}
    return SpamBank(
        name=call.mixer.name,
        stage=call.mixer.stage,
        grid=call.grid,
        curves=NamedArray(np.stack(heads), ("head", "quantity", "radius"), coords),
    )
