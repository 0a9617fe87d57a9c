import pytest
import torch
from torch.nn import functional as F

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.heads import SemanticFPN

CHANNELS, STRIDES = (8, 16, 24, 32), (4, 8, 16, 32)


def maps(sizes):
    torch.manual_seed(1)
    return [
        torch.randn(2, channels, *size, requires_grad=True)
        for channels, size in zip(CHANNELS, sizes, strict=True)
    ]


def definition(head, given):
    """The head written out: pyramid by hand, levels doubled until they have the finest size."""
    pyramid = head.pyramid
    inner = [block[0](x) for block, x in zip(pyramid.inner_blocks, given, strict=True)]
    for i in (2, 1, 0):
        inner[i] = inner[i] + F.interpolate(inner[i + 1], size=inner[i].shape[-2:])
    outer = [block[0](x) for block, x in zip(pyramid.layer_blocks, inner, strict=True)]
    size, total = given[0].shape[-2:], 0
    for i, x in enumerate(outer):
        blocks = [m for m in head.levels[i] if not isinstance(m, torch.nn.Upsample)]
        assert len(blocks) == max(1, i)
        for conv, norm, _ in blocks:
            assert conv.bias is None
            y = F.conv2d(x, conv.weight, padding=1)
            y = (y - norm.running_mean[:, None, None]) / (
                norm.running_var[:, None, None] + norm.eps
            ).sqrt()
            x = (y * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
            if i:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        total = total + x
    conv = head.classifier[1]
    return F.conv2d(total, conv.weight, conv.bias)


@pytest.mark.parametrize(
    "sizes",
    [[(16, 24), (8, 12), (4, 6), (2, 3)], [(15, 21), (8, 11), (4, 6), (2, 3)]],
    ids=["even", "odd"],
)
def test_semantic_fpn_equals_its_definition(sizes):
    torch.manual_seed(0)
    head = SemanticFPN(CHANNELS, STRIDES, 5, width=6, neck=8).eval()
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    given = maps(sizes)
    got, expected = head(given), definition(head, given)
    assert got.shape == (2, 5, *sizes[0])
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    got.square().sum().backward()
    assert all(x.grad.abs().max() > 0 for x in given)


def test_semantic_fpn_of_one_stride_has_one_convolution_per_level():
    head = SemanticFPN(CHANNELS, (16,) * 4, 5, width=6, neck=8).eval()
    assert [len(level) for level in head.levels] == [1] * 4
    assert head(maps([(9, 9)] * 4)).shape == (2, 5, 9, 9)


def test_semantic_fpn_refuses_strides_that_are_not_doubled():
    with pytest.raises(UserError, match="got maps of strides 4, 12, expected each"):
        SemanticFPN((8, 8), (4, 12), 5)
