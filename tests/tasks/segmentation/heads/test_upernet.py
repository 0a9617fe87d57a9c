import pytest
import torch
from torch import nn

from spanetv2.tasks.segmentation.heads import AuxiliaryHead, UPerNet

CHANNELS = (8, 16, 24, 32)


def maps(*, rows=40, columns=52, batch=2):
    torch.manual_seed(1)
    result = []
    for i, channels in enumerate(CHANNELS):
        size = (-(-rows // 2**i), -(-columns // 2**i))
        result.append(torch.randn(batch, channels, *size, requires_grad=True))
    return result


def randomised(module: nn.Module) -> nn.Module:
    """Random weights and statistics everywhere, so that nothing is 0 or 1 by accident."""
    torch.manual_seed(0)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            shift = 0.5 if name.endswith("running_var") else -0.5
            value.copy_(torch.rand(value.shape) + shift if value.ndim == 1 else value)
            if value.ndim > 1:
                nn.init.normal_(value, std=value[0].numel() ** -0.5)
    return module


def copy_in_order(source: nn.Module, target: nn.Module, order: list[tuple[str, str]]) -> None:
    state, used = target.state_dict(), set()
    theirs = source.state_dict()
    for ours, other in order:
        for name in state:
            if name.startswith(ours):
                rest = name.removeprefix(ours)
                rest = rest.replace("0.", "conv.", 1) if rest.startswith("0.") else rest
                rest = rest.replace("1.", "batch_norm.", 1) if rest.startswith("1.") else rest
                state[name] = theirs[other + rest]
                used.add(other + rest)
    assert used == set(theirs)
    target.load_state_dict(state)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rows", [40, 37])
def test_upernet_equals_hugging_faces(rows, training):
    transformers = pytest.importorskip("transformers")
    from transformers.models.upernet.modeling_upernet import UperNetHead

    config = transformers.UperNetConfig(hidden_size=12, num_labels=5)
    other = randomised(UperNetHead(config, CHANNELS))
    ours = UPerNet(CHANNELS, 5, width=12, dropout=0.0)
    order = [(f"pools.{i}.1.", f"psp_modules.{i}.1.") for i in range(4)]
    order += [(f"laterals.{i}.", f"lateral_convs.{i}.") for i in range(3)]
    order += [(f"outputs.{i}.", f"fpn_convs.{i}.") for i in range(3)]
    order += [("bottleneck.", "bottleneck."), ("fusion.", "fpn_bottleneck.")]
    order += [("classifier.1.", "classifier.")]
    copy_in_order(other, ours, order)
    ours.train(training)
    other.train(training)
    mine, theirs = maps(rows=rows), maps(rows=rows)
    got, expected = ours(mine), other(theirs)
    assert expected.std() > 0.01
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    weights = torch.randn_like(got)
    (got * weights).sum().backward()
    (expected * weights).sum().backward()
    for x, y in zip(mine, theirs, strict=True):
        assert y.grad.abs().max() > 0
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-3, atol=1e-4 * y.grad.abs().max().item())


def test_auxiliary_head_equals_hugging_faces():
    transformers = pytest.importorskip("transformers")
    from transformers.models.upernet.modeling_upernet import UperNetFCNHead

    config = transformers.UperNetConfig(auxiliary_channels=6, num_labels=5)
    other = randomised(UperNetFCNHead(config, CHANNELS)).eval()
    ours = AuxiliaryHead(CHANNELS, 5, width=6).eval()
    copy_in_order(other, ours, [("conv.", "convs.0."), ("classifier.1.", "classifier.")])
    expected = other(maps())
    assert expected.std() > 0.01
    torch.testing.assert_close(ours(maps()), expected, rtol=1e-5, atol=1e-6)


def test_upernet_scores_have_the_finest_maps_size_and_use_every_map():
    head = UPerNet(CHANNELS, 3, width=8).eval()
    given = maps(rows=33, columns=18, batch=1)
    scores = head(given)
    assert scores.shape == (1, 3, 33, 18)
    scores.square().sum().backward()
    assert all(x.grad.abs().max() > 0 for x in given)
