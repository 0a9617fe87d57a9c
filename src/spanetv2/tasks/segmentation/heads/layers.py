"""The parts that every segmentation head is made of.

Shape suffixes: B batch, C channels, K classes, H and W rows and columns of a map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BinPool", "ConvNormReLU", "PixelClassifier", "resize"]


class ConvNormReLU(nn.Sequential):
    """A square convolution without bias that keeps the map's size, batch norm, ReLU.

    Args:
        inputs: channels of the map.
        outputs: channels of the result.
        kernel: side of the kernel, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int):
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class PixelClassifier(nn.Sequential):
    """Dropout of whole channels, then a 1 x 1 convolution to the classes.

    Args:
        inputs: channels of the map.
        num_classes: classes K.
        dropout: probability that a channel is left out.
    """

    def __init__(self, inputs: int, num_classes: int, *, dropout: float):
        conv = nn.Conv2d(inputs, num_classes, 1)
        nn.init.normal_(conv.weight, std=0.01)
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        super().__init__(nn.Dropout2d(dropout), conv)


class BinPool(nn.AdaptiveAvgPool2d):
    """Means over ``bins`` x ``bins`` parts of a map, as even as they can be.

    In a graph that is traced or exported it is two products with averaging matrices: the same
    means for maps of any size, which exporters know for whole multiples of the bins alone.

    Args:
        bins: parts a side.

    Example:
        >>> BinPool(2)(torch.arange(5.0).view(1, 1, 1, 5)).tolist()
        [[[[1.0, 3.0], [1.0, 3.0]]]]
    """

    def __init__(self, bins: int):
        super().__init__(bins)
        self.bins = bins

    def forward(self, input: Tensor) -> Tensor:
        if not (torch.jit.is_tracing() or torch.compiler.is_exporting()):
            return super().forward(input)
        rows, columns = (averaging_matrix(n, self.bins, input) for n in input.shape[-2:])
        return rows @ input @ columns.mT


def averaging_matrix(length: int, bins: int, like: Tensor) -> Tensor:
    """The (bins, length) matrix by which adaptive pooling averages along a side.

    Bin i begins at floor(i length / bins) and ends before ceil((i + 1) length / bins).

    Args:
        length: of the side.
        bins: parts that it is divided into; neighbours may share a place.
        like: for its dtype and device.
    """
    bin_K1 = torch.arange(bins, device=like.device)[:, None]
    place_N = torch.arange(length, device=like.device)
    start_K1 = bin_K1 * length // bins
    end_K1 = ((bin_K1 + 1) * length + bins - 1) // bins
    inside_KN = ((place_N >= start_K1) & (place_N < end_K1)).to(like.dtype)
    return inside_KN / (end_K1 - start_K1).to(like.dtype)


def resize(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map to (rows, columns), bilinearly, corners not aligned.

    Example:
        >>> import torch
        >>> tuple(resize(torch.ones(1, 2, 3, 4), (6, 9)).shape)
        (1, 2, 6, 9)
    """
    if all(_same(a, b) for a, b in zip(x_BCHW.shape[-2:], size, strict=True)):
        return x_BCHW
    return F.interpolate(x_BCHW, size=size, mode="bilinear", align_corners=False)


def _same(one: int | torch.SymInt | Tensor, other: int | torch.SymInt | Tensor) -> bool:
    """Whether two sides are equal, whatever the image: asking more would settle it for a graph."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    if isinstance(one, Tensor) or isinstance(other, Tensor):  # in a trace
        return False
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(one == other)
