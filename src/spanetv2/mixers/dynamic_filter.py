"""DFFormer's token mixer: a filter in the Fourier domain that depends on the image.

Shape suffixes: B batch, C channels, E expanded channels, N basis filters, H and W the grid in
tokens, K = W // 2 + 1 the columns of the half spectrum.
"""

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.layers import StarReLU
from spanetv2.ops.spectral_rescale import half_spectrum, resize_theta

__all__ = ["DynamicFilter"]

_EXPANSION = 2
_REWEIGHT = 4
"""The MLP that weighs the basis filters has a hidden layer this many times as narrow as C."""


class DynamicFilter(nn.Module):
    """A circular convolution over the whole grid with kernels made for each image.

    ``y = StarReLU(x A)`` has 2C channels. Channel e of it is convolved, as a product of spectra,
    with the filter ``sum_n s[e, n] b[n]``: the N basis filters b are complex spectra that all
    channels share, and the shares s of a channel, which sum to 1, are the softmax of an MLP
    (C -> C/4 -> 2C N, StarReLU) of the mean of x over the grid. A linear layer leads back to C
    channels. No biases. (B, H, W, C) to the same; the spectra are computed in float32.

    The basis filters belong to one grid and are resized bicubically for any other.

    Args:
        dim: channels C.
        grid: (H, W) in tokens that the basis filters are made for.
        filters: basis filters N.
        proj_drop: dropout of the output.

    Raises:
        UserError: ``filters`` is not a positive number, or fewer than 4 channels.

    Source: Tatsunami and Taki, FFT-based Dynamic Token Mixer for Vision (AAAI 2024, arXiv
    2303.03932), from whose description it is written; weights of others do not fit.

    Example:
        >>> mixer = DynamicFilter(16, (7, 7))
        >>> tuple(mixer(torch.zeros(2, 7, 7, 16)).shape)
        (2, 7, 7, 16)
    """

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        filters: int = 4,
        proj_drop: float = 0.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(filters, int) or filters < 1:
            raise UserError(f"got filters={filters!r}, expected a positive number")
        if dim < _REWEIGHT:
            raise UserError(f"got dim={dim}, expected {_REWEIGHT} channels or more")
        expanded = _EXPANSION * dim
        factory = {"device": device, "dtype": dtype}
        self.filters = filters
        self.expand = nn.Linear(dim, expanded, bias=False, **factory)
        self.act = StarReLU(**factory)
        self.reweight = nn.Sequential(
            nn.Linear(dim, dim // _REWEIGHT, bias=False, **factory),
            StarReLU(**factory),
            nn.Linear(dim // _REWEIGHT, filters * expanded, bias=False, **factory),
        )
        self.bases = nn.Parameter(torch.empty(filters, 2, *half_spectrum(grid), **factory))
        """real and imaginary parts, (N, 2, H, K)"""
        self.project = nn.Linear(expanded, dim, bias=False, **factory)
        self.proj_drop = nn.Dropout(proj_drop)
        nn.init.normal_(self.bases, std=0.02)

    def set_grid(self, grid: tuple[int, int]) -> None:
        """Re-base the basis filters on another grid (H, W): resized once and for all."""
        resized = resize_theta(self.bases.detach().flatten(0, 1), *grid).to(self.bases.dtype)
        resized = resized.unflatten(0, (self.filters, 2)).clone()
        self.bases = nn.Parameter(resized, requires_grad=self.bases.requires_grad)

    def spectra(self, x_BHWC: Tensor) -> Tensor:
        """The filters of each image: complex64 (B, E, H, K)."""
        height, width = x_BHWC.shape[1], x_BHWC.shape[2]
        shares = self.reweight(x_BHWC.mean((1, 2))).float()
        shares_BEN = shares.unflatten(1, (-1, self.filters)).softmax(2)
        bases = resize_theta(self.bases.flatten(0, 1), height, width)
        bases_NHK2 = bases.unflatten(0, (self.filters, 2)).permute(0, 2, 3, 1)
        filters_BEP = shares_BEN @ bases_NHK2.flatten(1)
        filters = filters_BEP.unflatten(2, (height, width // 2 + 1, 2))
        return torch.view_as_complex(filters)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        height, width = x_BHWC.shape[1], x_BHWC.shape[2]
        y_BEHW = self.act(self.expand(x_BHWC)).permute(0, 3, 1, 2)
        spectrum = torch.fft.rfft2(y_BEHW.float(), norm="ortho") * self.spectra(x_BHWC)
        z_BEHW = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
        z_BHWE = z_BEHW.permute(0, 2, 3, 1).to(x_BHWC.dtype)
        return self.proj_drop(self.project(z_BHWE))
