"""Attention against its formula."""

import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.mixers import Attention


@pytest.mark.parametrize("convolutional", [False, True])
def test_attention_is_the_definition(convolutional):
    mixer = Attention(64, convolutional=convolutional).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 5, 6, 64, dtype=torch.float64)
    q, k, v = (x.reshape(2, 30, 64) @ mixer.qkv.weight.T).split(64, dim=-1)
    heads = []
    for head in range(2):
        part = slice(32 * head, 32 * head + 32)
        weights = (q[..., part] @ k[..., part].mT / 32**0.5).softmax(-1)
        heads.append(weights @ v[..., part])
    y = torch.cat(heads, -1)
    if convolutional:
        assert mixer.local_conv is not None
        plane = v.mT.reshape(2, 64, 5, 6)
        mixed = torch.nn.functional.conv2d(plane, mixer.local_conv.weight, padding=3, groups=64)
        y = y + mixed.flatten(2).mT
    expected = (y @ mixer.proj.weight.T).reshape(2, 5, 6, 64)
    torch.testing.assert_close(mixer(x), expected)


def test_attention_refuses_other_widths():
    with pytest.raises(UserError, match="got dim=48, expected a multiple of 32"):
        Attention(48)
