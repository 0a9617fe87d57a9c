"""The MLP and the classifier against their formulas."""

import pytest
import torch

from spanetv2.layers import ClassifierHead, Mlp


def test_mlp_is_linear_starrelu_linear():
    torch.manual_seed(0)
    mlp = Mlp(12).double()
    mlp.act.scale.data.fill_(0.7)
    mlp.act.bias.data.fill_(-0.3)
    x = torch.randn(2, 5, 3, 12, dtype=torch.float64)
    hidden = 0.7 * (x @ mlp.fc1.weight.T).clamp(min=0) ** 2 - 0.3
    expected = hidden @ mlp.fc2.weight.T
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(mlp(x), expected)


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax"])
def test_classifier_is_pool_norm_squared_relu_norm_linear(pool):
    torch.manual_seed(0)
    head = ClassifierHead(6, 4, pool=pool).double().eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 6, 2, 5, dtype=torch.float64)
    mean, largest = x.mean((2, 3)), x.flatten(2).max(-1).values
    pooled = {"avg": mean, "max": largest, "avgmax": (mean + largest) / 2}[pool]

    def norm(values, layer, eps):
        centred = values - values.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred / (variance + eps).sqrt() * layer.weight + layer.bias

    features = norm(pooled, head.norm, 1e-6)
    torch.testing.assert_close(head(x, pre_logits=True), features)
    hidden = (features @ head.fc.fc1.weight.T + head.fc.fc1.bias).clamp(min=0) ** 2
    expected = norm(hidden, head.fc.norm, 1e-5) @ head.fc.fc2.weight.T + head.fc.fc2.bias
    torch.testing.assert_close(head(x), expected)
