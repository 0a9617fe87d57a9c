"""Optimisers of stacked weights: what they do to one seed's network does not depend on the others.

Shape suffixes: S seeds, R rows and L columns of a matrix.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from studies.evidence.recipe import Recipe

__all__ = ["build_optimizers", "clip_gradients", "orthogonal"]

_FILTER = ".theta"
"""Ending of the names of spectral filters' parameters."""


def clip_gradients(weights_S: Iterable[Tensor], largest: float) -> Tensor:
    """Scale each seed's gradients to a norm of at most ``largest``; give the norms before, (S,)."""
    grads = [weight.grad for weight in weights_S if weight.grad is not None]
    norm_S = (
        torch.stack([grad.reshape(len(grad), -1).square().sum(1) for grad in grads]).sum(0).sqrt()
    )
    factor_S = (largest / (norm_S + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor_S.view(-1, *[1] * (grad.ndim - 1)))
    return norm_S


def orthogonal(matrix_SRL: Tensor, steps: int = 5) -> Tensor:
    """Bring every singular value near 1 by the quintic Newton-Schulz iteration.

    Source: Jordan et al. 2024, Muon.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    turned = matrix_SRL.shape[1] > matrix_SRL.shape[2]
    x = matrix_SRL.transpose(1, 2) if turned else matrix_SRL
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.transpose(1, 2)
        x = a * x + (b * square + c * square @ square) @ x
    return x.transpose(1, 2) if turned else x


class _Muon(Optimizer):
    """Muon with Nesterov's momentum, for stacked matrices and kernels (flattened to matrices)."""

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float = 0.95) -> None:
        super().__init__(groups, {"momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                mean = state.setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                step = weight.grad.lerp(mean, group["momentum"]).flatten(2)
                scale = max(1.0, step.shape[1] / step.shape[2]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(step).view_as(weight), alpha=-group["lr"] * scale)


def build_optimizers(weights: dict[str, Tensor], recipe: Recipe) -> list[Optimizer]:
    """The optimisers of a recipe, each group with its ``peak`` rate.

    Args:
        weights: stacked, by name; those that need no gradient are left out.
        recipe: kind, rates, decay.
    """
    muon: list[dict[str, Any]] = []
    adamw: list[dict[str, Any]] = []
    for name, weight in weights.items():
        if not weight.requires_grad:
            continue
        is_filter, is_matrix = name.endswith(_FILTER), weight.ndim > 2
        lr = recipe.lr * (recipe.filter_lr if is_filter else 1.0)
        decay = recipe.weight_decay if is_matrix else 0.0
        decay *= recipe.filter_decay if is_filter else 1.0
        group = {"params": [weight], "lr": lr, "peak": lr, "weight_decay": decay, "name": name}
        by_muon = recipe.optimizer == "muon" and is_matrix and not is_filter
        (muon if by_muon else adamw).append(group)
    found: list[Optimizer] = [_Muon(muon)] if muon else []
    if adamw:
        merged = _merged(adamw)
        on_gpu = merged[0]["params"][0].device.type == "cuda"
        found.append(AdamW(merged, fused=on_gpu))
    return found


def _merged(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of the same rate and decay as one."""
    by: dict[tuple[float, float], dict[str, Any]] = {}
    for group in groups:
        key = (group["lr"], group["weight_decay"])
        into = by.setdefault(key, {**group, "params": []})
        into["params"] += group["params"]
        into.pop("name", None)
    return list(by.values())
