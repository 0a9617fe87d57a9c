"""The loop of one training, for all seeds of a row at once.

Shape suffixes: S seeds.
"""

import math
from collections.abc import Callable

import torch
from torch.optim import Optimizer

from studies.evidence.images import Batches, Images
from studies.evidence.optimizer import build_optimizers, clip_gradients
from studies.evidence.recipe import Recipe
from studies.evidence.stack import Stack

__all__ = ["Watch", "train"]

Watch = Callable[[int, list[Optimizer]], None]
"""Called with the number of updates done, and the optimisers."""


def train(
    stack: Stack,
    images: Images,
    recipe: Recipe,
    *,
    watch: Watch | None = None,
    every: int = 50,
    advance: Callable[[int], object] = lambda count: None,
) -> list[dict[str, float]]:
    """Train the networks of a stack.

    Args:
        stack: the networks; their weights change.
        images: on the stack's device.
        recipe: how.
        watch: called before the first update, after every ``every`` updates, and at the end.
        every: updates between two points of the curve.
        advance: called with the number of updates done since it was called last.

    Returns:
        The curve: update, seed, mean training loss since the point before, and the largest norm of
        the gradient, before it was clipped.
    """
    batches = Batches(
        images.train_images,
        images.train_labels,
        seeds=stack.seeds,
        batch=recipe.batch,
        shift=recipe.shift,
        flip=recipe.flip,
    )
    optimizers = build_optimizers(stack.weights, recipe)
    weights = [weight for weight in stack.weights.values() if weight.requires_grad]
    curve: list[dict[str, float]] = []
    losses, norms = [], []
    if watch is not None:
        watch(0, optimizers)
    for update in range(recipe.updates):
        for group in (group for one in optimizers for group in one.param_groups):
            group["lr"] = group["peak"] * recipe.rate(update)
        loss_S = stack.losses(*batches[update], recipe.smoothing)
        loss_S.sum().backward()
        norms.append(clip_gradients(weights, recipe.clip))
        losses.append(loss_S.detach().clone())  # graphs use their memory again
        for one in optimizers:
            one.step()
            one.zero_grad(set_to_none=True)
        done = update + 1
        if done % every == 0 or done == recipe.updates:
            mean_S = torch.stack(losses).mean(0).tolist()
            norm_S = torch.stack(norms).amax(0).tolist()
            for seed, loss, norm in zip(stack.seeds, mean_S, norm_S, strict=True):
                curve.append(
                    {"update": done, "seed": seed, "loss": _finite(loss), "norm": _finite(norm)}
                )
            advance(len(losses))
            losses, norms = [], []
            if watch is not None:
                watch(done, optimizers)
    return curve


def _finite(value: float) -> float:
    """A loss that left the numbers, as a table can hold it."""
    return value if math.isfinite(value) else 1e9
