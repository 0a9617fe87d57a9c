import pytest
import torch

from spanetv2 import create_model, optimize_for_inference
from spanetv2.deploy.tokens import TokenSPAM, in_tokens


@pytest.mark.parametrize("head_order", ["interleaved", "concatenated"])
@pytest.mark.parametrize("size", [(64, 96), (224, 224)])
def test_in_tokens_computes_the_same_for_every_order_of_heads(head_order, size):
    torch.manual_seed(0)
    model = create_model("pico_hybrid", num_classes=5, img_size=size, head_order=head_order).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # norms and gates off their starts
        x = torch.randn(2, 3, *size)
        expected = model(x)
        made = in_tokens(optimize_for_inference(model))
        got = made(x)
    assert sum(isinstance(module, TokenSPAM) for module in made.modules()) == 4
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_in_tokens_takes_a_mixer_without_a_query():
    torch.manual_seed(0)
    mixers = [{"name": "spam", "modulation": False}] * 4
    model = create_model("pico_pure", num_classes=5, img_size=64, mixers=mixers).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        got = in_tokens(optimize_for_inference(model))(x)
        torch.testing.assert_close(got, model(x), rtol=1e-3, atol=1e-4)
