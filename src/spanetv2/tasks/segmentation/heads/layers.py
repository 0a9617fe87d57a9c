"""The parts that every segmentation head is made of.

Shape suffixes: B batch, C channels, K classes, H and W rows and columns of a map.
"""

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConvNormReLU", "PixelClassifier", "resize"]


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


def resize(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map to (rows, columns), bilinearly, corners not aligned.

    Example:
        >>> import torch
        >>> tuple(resize(torch.ones(1, 2, 3, 4), (6, 9)).shape)
        (1, 2, 6, 9)
    """
    if tuple(x_BCHW.shape[-2:]) == tuple(size):
        return x_BCHW
    return F.interpolate(x_BCHW, size=size, mode="bilinear", align_corners=False)
