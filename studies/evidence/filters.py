"""SPAM's spectral filter as the gate study changes it, and what its gates are while it learns.

Shape suffixes: S seeds, C channels, H and W the grid in tokens, K = W // 2 + 1.
"""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from spanetv2.mixers import SPAM, SpectralRescale
from spanetv2.models import set_implementation
from spanetv2.theory.grid import torus_eigenvalues
from studies.evidence.stack import Stack
from studies.evidence.store import Record

__all__ = ["EDITS", "flattened", "gate_rows", "signal_rows"]

_SLOPE = 2.0  # of the first gates: sigmoid(+-2) is 0.88 or 0.12
_OPEN = 4.0  # sigmoid(4) = 0.982


def _filters(network: nn.Module) -> list[SpectralRescale]:
    return [one for one in network.modules() if isinstance(one, SpectralRescale)]


def _eigenvalues(theta_CHK: Tensor, grid: tuple[int, int]) -> Tensor:
    """lambda from 0 (constant) to 2 (checkerboard) at the half spectrum's frequencies, (H, K)."""
    return torch.from_numpy(torus_eigenvalues(*grid))[:, : theta_CHK.shape[2]].to(theta_CHK)


def _start(network: nn.Module, value: Callable[[Tensor], Tensor | float]) -> None:
    """Add a function of lambda to the filters' initial parameters."""
    with torch.no_grad():
        for one in _filters(network):
            one.theta.add_(value(_eigenvalues(one.theta, one.grid)))


def low_pass(network: nn.Module) -> None:
    """Gates of 0.88 at the constant, 0.12 at the checkerboard."""
    _start(network, lambda lambda_HK: _SLOPE * (1 - lambda_HK))


def high_pass(network: nn.Module) -> None:
    """Gates of 0.12 at the constant, 0.88 at the checkerboard."""
    _start(network, lambda lambda_HK: -_SLOPE * (1 - lambda_HK))


def opened(network: nn.Module) -> None:
    """Gates of 0.98: the filter lets everything pass."""
    _start(network, lambda _: _OPEN)


def half_open(network: nn.Module) -> None:
    """Gates of exactly 0.5, for a filter that does not learn."""
    with torch.no_grad():
        for one in _filters(network):
            one.theta.zero_()


def without_norm(network: nn.Module) -> None:
    """Take out the norm behind the filter."""
    for mixer in network.modules():
        if isinstance(mixer, SPAM):
            mixer.proj.norm = nn.Identity()
    set_implementation(network, "reference")  # fast forms of the projection have the norm in them


def norm_first(network: nn.Module) -> None:
    """Put the norm in front of the filter."""
    for mixer in network.modules():
        if isinstance(mixer, SPAM) and mixer.spectral_filter is not None:
            channels = mixer.spectral_filter.theta.shape[0]
            mixer.spectral = nn.Sequential(nn.GroupNorm(1, channels), mixer.spectral_filter)
            mixer.fusible = False
    without_norm(network)


def small_weights(network: nn.Module) -> None:
    """The published networks' initial weights: 0.02 times a standard normal draw, everywhere."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and not name.endswith("theta"):
                nn.init.trunc_normal_(weight, std=0.02)


EDITS: Mapping[str, Callable[[nn.Module], None]] = {
    "low-pass start": low_pass,
    "high-pass start": high_pass,
    "identity start": opened,
    "frozen at 0.5": half_open,
    "frozen low-pass": low_pass,
    "no norm behind": without_norm,
    "norm in front": norm_first,
    "initial std 0.02": small_weights,
}
"""How a variant's networks differ from SPAM's before they learn."""


@torch.no_grad()
def flattened(network: nn.Module) -> None:
    """Give every gate the mean of its channel's gates: what the filter does to a spectrum's shape
    is gone, and its scale stays."""
    for one in _filters(network):
        gate_CHK = one.gain(*one.grid)
        mean_C = gate_CHK.mean((1, 2)).clamp(1e-6, 1 - 1e-6)
        slope = 1.0 if one.alpha is None else float(one.alpha)
        one.theta.copy_((mean_C.logit() / slope)[:, None, None].expand_as(one.theta))
        one._kept = {}


@torch.no_grad()
def gate_rows(stack: Stack, update: int) -> list[Record]:
    """Mean, deviation and contrast of the gates, per seed, stage, block and head.

    The contrast is the mean gate of the upper half of the spectrum (lambda > 1) over that of the
    lower half, in decibels: above 0 for a high-pass filter.
    """
    rows: list[Record] = []
    for name, one in stack.frame.named_modules():
        if not isinstance(one, SpectralRescale) or min(one.grid) < 2:
            continue  # one token has nothing to filter
        stage, block = (int(word) for word in name.split(".")[1:4:2])
        theta_SCHK = stack.weights[f"{name}.theta"].detach()
        alpha_S = stack.weights[f"{name}.alpha"][:, 0] if one.alpha is not None else None
        slope = 1.0 if alpha_S is None else alpha_S.detach()[:, None, None, None]
        gate_SCHK = (slope * theta_SCHK).sigmoid()
        lambda_HK = _eigenvalues(theta_SCHK[0], one.grid)
        high, low = lambda_HK > 1 + 1e-6, lambda_HK < 1 - 1e-6
        for seed, gate_CHK in zip(stack.seeds, gate_SCHK, strict=True):
            for head, part in enumerate(gate_CHK.chunk(4), 1):
                ratio = part[:, high].mean() / part[:, low].mean()
                rows.append(
                    {
                        "seed": seed,
                        "update": update,
                        "stage": stage + 1,
                        "block": block + 1,
                        "head": head,
                        "mean": float(part.mean()),
                        "spread": float(part.std()),
                        "contrast": 20 * float(ratio.log10()),
                    }
                )
    return rows


@torch.no_grad()
def signal_rows(stack: Stack, optimizers: list[Optimizer], update: int) -> list[Record]:
    """How steady AdamW's gradients are: mean of |m| / sqrt(v), of the filters and of other weights.

    m and v are its running means of the gradient and its square, corrected for their start. Pure
    noise gives about 0.18 (momentum 0.9), a gradient that never changes 1.
    """
    named = {id(weight): name for name, weight in stack.weights.items()}
    sums: dict[str, list[Tensor]] = {}
    for optimizer in optimizers:
        for weight, state in optimizer.state.items():
            if "exp_avg_sq" not in state:
                continue
            group = next(
                one for one in optimizer.param_groups if any(p is weight for p in one["params"])
            )
            (b1, b2), step = group["betas"], float(state["step"])
            m = cast(Tensor, state["exp_avg"]) / (1 - b1**step)
            v = cast(Tensor, state["exp_avg_sq"]) / (1 - b2**step)
            steady_S = (m.abs() / (v.sqrt() + 1e-12)).reshape(len(m), -1).mean(1)
            kind = "filter" if named[id(weight)].endswith(".theta") else "other"
            if kind == "filter" or weight.ndim > 2:
                sums.setdefault(kind, []).append(steady_S)
    rows: list[Record] = []
    for kind, values in sums.items():
        mean_S = torch.stack(values).mean(0).tolist()
        rows += [
            {"seed": seed, "update": update, "weights": kind, "steadiness": value}
            for seed, value in zip(stack.seeds, mean_S, strict=True)
        ]
    return rows
