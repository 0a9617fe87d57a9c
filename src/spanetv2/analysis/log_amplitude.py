"""Relative log-amplitude: how the features' high frequencies fade or grow from block to block.

Per block, the mean over images and channels of ``log(|FFT2(features)| + 1e-6)`` along the half
diagonal of the spectrum, from frequency 0 to the finest, minus its value at 0. A low-pass block
pulls the curve down, a high-pass block lifts it.

Shape suffixes: B images, C channels, H and W the grid in tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.arrays import Gap, NamedArray
from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.network import feed, measuring, unwrapped
from spanetv2.errors import UserError

__all__ = ["BlockAmplitude", "half_diagonal", "log_amplitude", "relative_log_amplitude"]

FLOOR = 1e-6


@dataclass(frozen=True, kw_only=True)
class BlockAmplitude:
    """The curve of one block."""

    block: str
    """Its place in the network."""
    depth: int
    """Its number, from 0."""
    stage: int
    """From 1."""
    kind: str
    """Kind of its token mixer."""
    curve: NamedArray
    """Over ``frequency`` (radians per token along each axis of the diagonal); starts at 0."""

    @property
    def finest(self) -> float:
        """The curve's last value: log-amplitude of the finest diagonal wave, relative to 0."""
        return float(self.curve.values[-1])


def log_amplitude(features_BCHW: Tensor) -> Tensor:
    """Mean over images and channels of ``log(|FFT2| + 1e-6)``: (H, W), frequency 0 first."""
    return (torch.fft.fft2(features_BCHW.float()).abs() + FLOOR).log().mean(dim=(0, 1))


def half_diagonal(values_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The half diagonal of a spectrum, from frequency 0 up.

    As with a centred square spectrum's diagonal, an even grid's last wave is the one before the
    Nyquist frequency. On grids that are not square the nearest waves to the diagonal are taken.

    Args:
        values_HW: frequency 0 first, as ``fft2`` orders it.

    Returns:
        Frequencies along the shorter axis in radians per token, and the values there.

    Example:
        >>> frequency, values = half_diagonal(np.arange(16.0).reshape(4, 4))
        >>> frequency.round(3).tolist(), values.tolist()
        ([0.0, 1.571], [0.0, 5.0])
    """
    height, width = values_HW.shape
    side = min(height, width)
    steps = np.arange((side + 1) // 2)
    rows = np.minimum(np.rint(steps * height / side).astype(int), (height - 1) // 2)
    columns = np.minimum(np.rint(steps * width / side).astype(int), (width - 1) // 2)
    return 2 * np.pi * steps / side, values_HW[rows, columns]


def relative_log_amplitude(
    model: nn.Module,
    calls: Sequence[MixerCall],
    images_BCHW: Tensor,
    *,
    batch_size: int = 16,
    advance: Callable[[int], Any] | None = None,
) -> tuple[list[BlockAmplitude], list[Gap]]:
    """Relative log-amplitude of the output of every block that holds a token mixer.

    Args:
        model: the network; it is run in evaluation mode and left in its own.
        calls: its mixers, from ``record_calls``.
        images_BCHW: normalised images.
        batch_size: images per forward pass.
        advance: called with the number of images done.

    Returns:
        One curve per block in the order of the network, and a gap for each block without a map.

    Raises:
        UserError: no images, no mixers, or no block with features that are finite.

    Source: Park and Kim 2022; SPANetV2, Fourier analysis of features.
    """
    if len(images_BCHW) == 0 or not calls:
        raise UserError(f"got {len(images_BCHW)} images and {len(calls)} mixers, expected some")
    model = unwrapped(model)
    blocks = {call.mixer.block: call for call in calls}
    sums: dict[str, Tensor] = {}
    reasons: dict[str, str] = {}

    def keep(name: str, output: Any) -> None:
        output = output[0] if isinstance(output, tuple | list) else output
        features = blocks[name].map_of(output)
        if features is None:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            reasons[name] = f"its output {shape} is no map on the mixer's grid"
            return
        total = log_amplitude(features).cpu().double() * len(features)
        sums[name] = sums[name] + total if name in sums else total

    handles = []
    for name in blocks:
        module = unwrapped(model.get_submodule(name))
        handles.append(module.register_forward_hook(lambda _m, _i, out, name=name: keep(name, out)))
    try:
        with torch.inference_mode(), measuring(model):
            for batch in images_BCHW.split(batch_size):
                model(feed(model, batch))
                if advance is not None:
                    advance(len(batch))
    finally:
        for handle in handles:
            handle.remove()
    found, gaps = [], []
    broken = ""
    for depth, (name, call) in enumerate(blocks.items()):
        if name in reasons or name not in sums:
            gaps.append(Gap(name or "network", reasons.get(name, "the block is not called")))
            continue
        if min(call.grid) < 3:
            height, width = call.grid
            gaps.append(
                Gap(name, f"a {height} x {width} map has no diagonal wave but the constant")
            )
            continue
        frequency, values = half_diagonal((sums[name] / len(images_BCHW)).numpy())
        if not np.isfinite(values).all():
            broken = broken or f"got features that are not finite in {name}; check the weights"
            gaps.append(Gap(name or "network", "its features are not finite"))
            continue
        relative = NamedArray(
            values - values[0], ("frequency",), {"frequency": frequency.tolist()}, "log amplitude"
        )
        found.append(
            BlockAmplitude(
                block=name,
                depth=depth,
                stage=call.mixer.stage,
                kind=call.mixer.kind,
                curve=relative,
            )
        )
    if broken and not found:
        raise UserError(broken)
    return found, gaps
