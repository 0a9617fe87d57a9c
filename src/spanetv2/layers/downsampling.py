"""The stem and the downsampling between stages.

Shape suffixes: B batch, C channels, H and W rows and columns (pixels or tokens), N = H W. Norms see
lists of tokens; ``Block`` says why.
"""

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.ops.linear import takes_maps

__all__ = ["Downsampling", "Stem", "conv_output_size"]

# (kernel, padding) by stride. Stride 4 is the paper's; 2 and 1 are ours, for small images.
_STEM_KERNELS = {4: (7, 2), 2: (5, 2), 1: (3, 1)}


def conv_output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Output length of a convolution along one side, in tokens.

    Example:
        >>> conv_output_size(224, kernel=7, stride=4, padding=2)
        56
    """
    return (size + 2 * padding - kernel) // stride + 1


class Stem(nn.Module):
    """Strided convolution and LayerNorm (weight only): (B, C, H, W) pixels to (B, H', W', dim).

    Args:
        in_chans: input channels.
        dim: output channels.
        stride: 4 (the paper's 7x7), 2 (5x5) or 1 (3x3); the last two are ours.

    Raises:
        ValueError: another stride.

    Source: SPANetV2, stem.
    """

    def __init__(
        self,
        in_chans: int,
        dim: int,
        *,
        stride: int = 4,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if stride not in _STEM_KERNELS:
            raise UserError(f"got stem_stride={stride}, expected one of 1, 2, 4")
        self.kernel, self.padding = _STEM_KERNELS[stride]
        self.stride = stride
        self.form = "auto"
        self.conv = nn.Conv2d(
            in_chans, dim, self.kernel, stride, self.padding, device=device, dtype=dtype
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6, bias=False, device=device, dtype=dtype)

    def output_grid(self, height: int, width: int) -> tuple[int, int]:
        """Grid in tokens of an image of the given size in pixels."""
        return (
            conv_output_size(height, self.kernel, self.stride, self.padding),
            conv_output_size(width, self.kernel, self.stride, self.padding),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 - scripting wants the bare condition
            if takes_maps(self.form, x_BCHW):
                # A compiler plans by the layouts that it is told of: this one from here on.
                x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        x_BCHW = self.conv(x_BCHW)
        x_BNC = self.norm(x_BCHW.flatten(2).transpose(1, 2))
        return x_BNC.unflatten(1, x_BCHW.shape[2:])


class Downsampling(nn.Module):
    """LayerNorm (weight only), 3x3 convolution of stride 2: (B, H, W, C) to (B, H', W', dim).

    Source: SPANetV2, downsampling before stages 2 to 4.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim, eps=1e-6, bias=False, device=device, dtype=dtype)
        self.conv = nn.Conv2d(in_dim, dim, 3, 2, 1, device=device, dtype=dtype)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BNC = self.norm(x_BHWC.flatten(1, 2))
        x_BCHW = x_BNC.transpose(1, 2).unflatten(2, x_BHWC.shape[1:3])
        return self.conv(x_BCHW).permute(0, 2, 3, 1)
