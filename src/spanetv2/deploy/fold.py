"""Fold everything that does not depend on the image into the weights, for one input size.

What is folded, exactly up to rounding:

- the weights of every normalisation in a block, into the linear layer behind it;
- StarReLU's scale and bias, into the linear layer behind it;
- the gates of the spectral filters, resized to the grid, and the Fourier matrices, into constants;
- for the kernels of GPUs, the row matrices and gains that they take in place of the parameters;
- on the smallest grids, a channel's convolution, bias and spectral filter into one matrix over the
  grid (both are linear), which costs one product instead of a convolution and four products.

Query and context keep a product each: one product for both would make the two halves of its result
strided, and reading them costs more than the product saves.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1, N = H W.
"""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from spanetv2.deploy.prepared import PreparedLocal
from spanetv2.errors import UserError
from spanetv2.layers import Mlp, SquaredReLU, StarReLU
from spanetv2.mixers import SPAM, Attention, LocalMixing, SpectralRescale
from spanetv2.models.backbone import SPANetV2
from spanetv2.models.block import Block
from spanetv2.ops.kernel_choice import may_use_kernels, use_kernels
from spanetv2.ops.local_mixing import LARGEST_GRID
from spanetv2.ops.spectral_rescale import (
    hartley_gain,
    prefer_hartley,
    spectral_rescale_hartley,
    spectral_rescale_products,
)

__all__ = ["LARGEST_DENSE_GRID", "optimize_for_inference"]

LARGEST_DENSE_GRID = 8
"""Grids of at most this side, in tokens, get one matrix per channel."""
LARGEST_DENSE_GRID_OF_KERNELS = 14
"""The same where the token mixing is by kernels on a GPU, which has the memory's speed for it."""


def optimize_for_inference(
    model: nn.Module, input_size: int | tuple[int, int] | None = None
) -> nn.Module:
    """A faster copy of a network for images of one size; the original stays as it is.

    The copy gives the same outputs up to rounding, in evaluation mode, in the original's dtype and
    on its device. It can be compiled, traced and exported, and moved to another dtype or device.
    It cannot be trained, and its state dict is its own: keep the original's weights.

    Args:
        model: a SPANetV2, or a network around one or several that shows them its images.
        input_size: one side or (height, width) of the images, in pixels; by default what each
            SPANetV2 was made for.

    Returns:
        The copy, in evaluation mode and without gradients.

    Raises:
        UserError: no SPANetV2, or a size without tokens. The copy raises it for images of
            another size.

    Example:
        >>> from spanetv2 import create_model
        >>> model = create_model("pico_pure", num_classes=10, img_size=64).eval()
        >>> x = torch.randn(2, 3, 64, 64)
        >>> fast = optimize_for_inference(model)
        >>> with torch.no_grad():
        ...     bool(torch.allclose(fast(x), model(x), atol=1e-4))
        True
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    inside = [module for module in copied.modules() if isinstance(module, SPANetV2)]
    if not inside:
        raise UserError(f"got a {type(model).__name__}, expected a SPANetV2 to optimise")
    for network in inside:
        network.set_input_size(network.img_size if input_size is None else input_size)
    for module in list(copied.modules()):
        if isinstance(module, Block):
            _fold_block(module)
    return copied


def _fold_block(block: Block) -> None:
    mixer = block.token_mixer
    if isinstance(mixer, SPAM):
        readers = [mixer.context] if mixer.query is None else [mixer.query, mixer.context]
        _absorb_norm(block, "norm1", *readers)
        if mixer.spectral_filter is not None:
            block.token_mixer = FoldedSPAM(mixer)
    elif isinstance(mixer, Attention):
        _absorb_norm(block, "norm1", mixer.qkv)
    _absorb_norm(block, "norm2", block.mlp.fc1)
    block.mlp = cast(Any, FoldedMlp(block.mlp))


def _absorb_norm(block: Block, name: str, *readers: nn.Linear) -> None:
    norm = cast(nn.LayerNorm, getattr(block, name))
    for reader in readers:
        reader.weight.data = reader.weight * norm.weight
    plain = nn.LayerNorm(list(norm.normalized_shape), eps=norm.eps, elementwise_affine=False)
    setattr(block, name, plain.eval())


class FoldedMlp(Mlp):
    """``Mlp`` with StarReLU's two scalars in the second linear layer: only relu(x)^2 is left."""

    def __init__(self, mlp: Mlp) -> None:
        nn.Module.__init__(self)  # the layers are the MLP's
        act = cast(StarReLU, mlp.act)
        self.form, self.drop = mlp.form, nn.Identity()
        self.fc1, self.act = mlp.fc1, cast(Any, SquaredReLU())
        out_features, in_features = mlp.fc2.weight.shape
        self.fc2 = nn.Linear(in_features, out_features, device="meta")
        weight = mlp.fc2.weight
        self.fc2.weight = nn.Parameter(weight * act.scale, requires_grad=False)
        bias = (weight.double().sum(1) * act.bias.double()).to(weight.dtype)
        self.fc2.bias = nn.Parameter(bias, requires_grad=False)


class FoldedSPAM(SPAM):
    """``SPAM`` on one grid, with its token mixing in a form that holds for no other."""

    def __init__(self, mixer: SPAM) -> None:
        nn.Module.__init__(self)  # the layers are the mixer's, none is made
        assert mixer.grid is not None
        self.query, self.context, self.out = mixer.query, mixer.context, mixer.out
        self.proj, self.proj_drop = mixer.proj, mixer.proj_drop
        self.interleaved, self.form = mixer.interleaved, mixer.form
        self.folded_grid = mixer.grid
        self.folded_implementation = mixer.implementation
        self.local = fold_local(mixer)

    @property
    def grid(self) -> tuple[int, int]:
        """The only grid (H, W) in tokens."""
        return self.folded_grid

    @property
    def spectral_filter(self) -> None:
        """None: its parameters are gone."""

    @property
    def implementation(self) -> str:
        """What the mixer was to be computed by when it was folded."""
        return self.folded_implementation

    @property
    def token_mixing(self) -> LocalMixing | None:
        """The convolutions and the constant filter; None where they are one matrix."""
        local = self.local.otherwise if isinstance(self.local, PreparedLocal) else self.local
        return local if isinstance(local, LocalMixing) else None

    def forward(self, x_BHWC: Tensor) -> Tensor:
        if not torch.jit.is_tracing() and tuple(x_BHWC.shape[1:3]) != self.grid:
            got = f"{x_BHWC.shape[1]} x {x_BHWC.shape[2]}"
            raise UserError(
                f"got a grid of {got} tokens, expected {self.grid[0]} x {self.grid[1]}: this "
                "network was optimised for one input size; call optimize_for_inference with yours"
            )
        return super().forward(x_BHWC)

    def mix_tokens(self, x_BCHW: Tensor) -> Tensor:
        return self.local.mix_tokens(x_BCHW)


def fold_local(mixer: LocalMixing) -> "LocalMixing | DenseLocal | PreparedLocal":
    """A mixer's token mixing for its grid alone; the mixer stays as it is."""
    assert mixer.grid is not None
    kernels = mixer.fusible and may_use_kernels("local_mixing", mixer.implementation)
    side = max(mixer.grid)
    if side <= (LARGEST_DENSE_GRID_OF_KERNELS if kernels else LARGEST_DENSE_GRID):
        return DenseLocal(mixer)
    constant = with_constant_filter(mixer)
    return PreparedLocal(mixer, constant) if kernels and side <= LARGEST_GRID else constant


class ConstantFilter(nn.Module):
    """The spectral filter of one grid with its gain as a constant; (B, C, H, W) to the same.

    Args:
        spectral: the filter, whose grid is the one.
        dtype: of the gain.
    """

    def __init__(self, spectral: SpectralRescale, dtype: torch.dtype) -> None:
        super().__init__()
        gain_CHK = spectral.gain(*spectral.grid).to(dtype)
        self.register_buffer("gain_HKC", gain_CHK.permute(1, 2, 0).contiguous())
        self.width = spectral.grid[1]
        self._fit()

    def _fit(self) -> None:
        # No buffer: exported graphs do without it.
        gain_HKC = cast(Tensor, self.gain_HKC)
        self.gain_2HWC = hartley_gain(gain_HKC, self.width) if prefer_hartley(gain_HKC) else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        gain_HKC = cast(Tensor, self.gain_HKC)
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        if self.gain_2HWC is not None and prefer_hartley(x_BHWC):
            return spectral_rescale_hartley(x_BHWC, self.gain_2HWC).permute(0, 3, 1, 2)
        return spectral_rescale_products(x_BHWC, gain_HKC).permute(0, 3, 1, 2)

    def _apply(self, fn: Any, recurse: bool = True) -> "ConstantFilter":
        super()._apply(fn, recurse)
        self._fit()
        return self


def with_constant_filter(mixer: LocalMixing) -> LocalMixing:
    """A mixer's token mixing on its grid, with a ``ConstantFilter``; the mixer stays as it is."""
    assert mixer.spectral_filter is not None
    local = LocalMixing.of(mixer)
    dtype = next(local.local_convs.parameters()).dtype
    local.spectral = ConstantFilter(mixer.spectral_filter, dtype)
    local.fusible = False  # kernels take a filter's parameters
    return local


class DenseLocal(nn.Module):
    """Convolutions and filter as one (N, N) matrix per channel, and what they make of the bias.

    Args:
        mixer: whose token mixing it is, on its grid.
    """

    def __init__(self, mixer: LocalMixing) -> None:
        super().__init__()
        assert mixer.spectral_filter is not None
        weight = next(mixer.local_convs.parameters())
        channels = mixer.spectral_filter.theta.shape[0]
        rows, columns = mixer.spectral_filter.grid
        tokens = rows * columns
        exact = with_constant_filter(copy.deepcopy(LocalMixing.of(mixer)).double())
        # The operator's columns are its answers to single tokens; no token at all gives the bias.
        probes = torch.eye(tokens, dtype=torch.float64, device=weight.device)
        probes = torch.cat([probes, probes.new_zeros(1, tokens)])
        probes = probes.view(tokens + 1, 1, rows, columns).expand(-1, channels, -1, -1)
        answers = exact.mix_tokens(probes).flatten(2)
        bias_CN, matrix = answers[-1], answers[:-1] - answers[-1]
        self.register_buffer("matrix_CNN", matrix.permute(1, 2, 0).to(weight.dtype).contiguous())
        self.register_buffer("bias_CN1", bias_CN[..., None].to(weight.dtype).contiguous())
        self.implementation = mixer.implementation

    def mix_tokens(self, x_BCHW: Tensor) -> Tensor:
        """The same as ``LocalMixing.mix_tokens``."""
        if use_kernels("local_mixing", self.implementation, x_BCHW):
            # Behind kernels the tokens of a channel lie together, and are to lie so again.
            x_CBN = x_BCHW.flatten(2).transpose(0, 1)
            matrix, bias = cast(Tensor, self.matrix_CNN).mT, cast(Tensor, self.bias_CN1).mT
            return torch.baddbmm(bias, x_CBN, matrix).transpose(0, 1).view(x_BCHW.shape)
        x_CNB = x_BCHW.flatten(2).permute(1, 2, 0)
        y_CNB = torch.matmul(cast(Tensor, self.matrix_CNN), x_CNB) + cast(Tensor, self.bias_CN1)
        return y_CNB.permute(2, 0, 1).contiguous().unflatten(2, x_BCHW.shape[2:])
