"""All seeds by one call give what each network gives by itself."""

import dataclasses

import pytest
import torch
from tiny_scale import SKELETON
from torch import nn
from torch.nn.functional import cross_entropy

from studies.evidence.filters import EDITS
from studies.evidence.images import load
from studies.evidence.optimizer import build_optimizers, clip_gradients, orthogonal
from studies.evidence.part import Context
from studies.evidence.recipe import Recipe
from studies.evidence.scale import SCALES
from studies.evidence.stack import Stack
from studies.evidence.train import train

CONTEXT = Context(scale=SCALES["small"])
CASES = [
    *((row, None) for row in ("spam", "spam_no_srf", "spam_9", "sepconv", "attention", "hybrid")),
    *(("spam", edit) for edit in ("no norm behind", "norm in front")),
]


def _make(row: str, edit: str | None = None):
    return CONTEXT.network(row, SKELETON, None if edit is None else EDITS[edit])


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 6, 1, 8, 8, generator=generator)
    return images, torch.randint(0, 10, (2, 6), generator=generator)


@pytest.mark.parametrize(("row", "edit"), CASES)
def test_vectorised_losses_and_gradients_are_those_of_every_network(row, edit) -> None:
    make = _make(row, edit)
    images, labels = _batch()
    stack = Stack(make, (0, 5), vectorised=True)
    losses = stack.losses(images, labels, 0.1)
    losses.sum().backward()
    for number, seed in enumerate(stack.seeds):
        torch.manual_seed(seed)
        network = make().train()
        loss = cross_entropy(network(images[number]), labels[number], label_smoothing=0.1)
        loss.backward()
        assert losses[number].item() == pytest.approx(loss.item(), rel=1e-5)
        for name, weight in network.named_parameters():
            grad = stack.weights[name].grad
            assert grad is not None
            assert weight.grad is not None
            torch.testing.assert_close(grad[number], weight.grad, rtol=2e-3, atol=2e-6)
    filters = [grad for name, grad in stack.weights.items() if name.endswith("theta")]
    assert bool(filters) == (row in ("spam", "spam_9", "hybrid"))


@pytest.mark.parametrize("vectorised", [False, True])
def test_training_is_that_of_torch(vectorised: bool) -> None:
    """AdamW, decay of matrices alone, clipping per network, warm-up: rewritten for one network."""
    images, recipe = load("digits"), Recipe(updates=3, batch=16, shift=0, weight_decay=0.5)
    make = _make("sepconv")
    stack = Stack(make, (4, 7), vectorised=vectorised)
    train(stack, images, recipe, every=2)

    from studies.evidence.images import Batches

    batches = Batches(images.train_images, images.train_labels, seeds=(7,), batch=16)
    torch.manual_seed(7)
    network = make().train()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.5}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
    for update in range(3):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * recipe.rate(update)
        x, y = batches[update]
        optimizer.zero_grad()
        cross_entropy(network(x[0]), y[0], label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    trained = list(stack.networks())[1]
    for (name, ours), theirs in zip(trained.named_parameters(), network.parameters(), strict=True):
        # AdamW's first steps go by signs, which rounding may turn where a gradient is nearly 0
        assert (ours - theirs).abs().mean() < 1e-5, name
    with torch.no_grad():
        first = make()
    assert (trained.head.fc.fc2.weight - first.head.fc.fc2.weight).abs().mean() > 1e-3


def test_clipping_is_each_networks_own() -> None:
    weights = [torch.zeros(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)]
    weights[0].grad = torch.tensor([[3.0, 0, 0], [0.3, 0, 0]])
    weights[1].grad = torch.tensor([4.0, 0.4])
    norms = clip_gradients(weights, 1.0)
    assert norms.tolist() == pytest.approx([5.0, 0.5])
    assert weights[0].grad[:, 0].tolist() == pytest.approx([0.6, 0.3], rel=1e-5)
    assert weights[1].grad.tolist() == pytest.approx([0.8, 0.4], rel=1e-5)


def test_muon_orthogonalises_every_networks_matrix() -> None:
    matrix = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonal(matrix))
    assert singular.min() > 0.5
    assert singular.max() < 1.3
    torch.testing.assert_close(orthogonal(matrix)[1:], orthogonal(matrix[1:]))


def test_filters_have_a_rate_and_a_decay_of_their_own() -> None:
    stack = Stack(_make("spam"), (0,))
    recipe = Recipe(updates=2, optimizer="muon", filter_lr=10.0, filter_decay=0.0)
    muon, adamw = build_optimizers(stack.weights, recipe)
    counted = sum(len(group["params"]) for one in (muon, adamw) for group in one.param_groups)
    assert counted == len(stack.weights)
    (fast,) = [group for group in adamw.param_groups if group["peak"] == pytest.approx(0.03)]
    assert fast["weight_decay"] == 0
    assert len(fast["params"]) == 4  # one filter a stage
    assert all(group["params"][0].ndim > 2 for group in muon.param_groups)
    curve = train(stack, load("digits"), dataclasses.replace(recipe, batch=8))
    assert 1 < curve[-1]["loss"] < 4
