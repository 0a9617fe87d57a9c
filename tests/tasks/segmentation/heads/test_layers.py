import pytest
import torch
from torch.nn import functional as F

from spanetv2.tasks.segmentation.heads.layers import BinPool, resize


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 6), (7, 16), (13, 4)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_bins_in_a_graph_are_those_of_adaptive_pooling(size, bins):
    pool = BinPool(bins)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = F.adaptive_avg_pool2d(x, bins)
    assert torch.equal(pool(x), expected)
    traced = torch.jit.trace(pool, (x,))
    assert "adaptive" not in str(traced.graph)
    torch.testing.assert_close(traced(x), expected, rtol=1e-12, atol=1e-12)


class _Head(torch.nn.Module):
    """Resizes one map to the size of another, and that one to its own."""

    def forward(self, x, y):
        size = (y.shape[2], y.shape[3])
        return resize(x, size) + resize(y, size)


def test_resize_leaves_sizes_open():
    dynamic = {2: torch.export.Dim("rows", min=2), 3: torch.export.Dim("columns", min=2)}
    other = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    example = (torch.randn(1, 2, 4, 6), torch.randn(1, 2, 5, 9))
    program = torch.export.export(_Head(), example, dynamic_shapes=(dynamic, other), strict=False)
    targets = [str(node.target) for node in program.graph.nodes]
    assert sum("upsample" in target for target in targets) == 1  # y's own size is known
    for sizes in (((3, 5), (8, 7)), ((6, 6), (6, 6))):
        x, y = (torch.randn(1, 2, *size) for size in sizes)
        expected = F.interpolate(x, sizes[1], mode="bilinear", align_corners=False) + y
        torch.testing.assert_close(program.module()(x, y), expected)
