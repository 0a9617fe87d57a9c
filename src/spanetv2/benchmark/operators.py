"""Token mixers alone, at the shape of each stage, beside the floor that the machine sets.

Names: ``spam`` and ``attention`` are this package's mixers, ``sepconv`` is timm's separable
convolution of ConvFormer, ``dfformer`` the dynamic filter of DFFormer. ``local`` is SPAM's token
mixing alone, multi-scale convolution and spectral filter; ``project`` is its grouped projection.
``@reference`` runs the definitions, ``@fused`` the Triton operators.

Shape suffixes: B batch, C channels, H and W the grid in tokens.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from timm.models.metaformer import SepConv
from torch import Tensor, nn

from spanetv2.benchmark.networks import compiled
from spanetv2.benchmark.settings import DTYPES, Cell
from spanetv2.benchmark.timing import Step, timed
from spanetv2.errors import UserError
from spanetv2.layers import Stem, conv_output_size
from spanetv2.mixers import SPAM, Attention, DynamicFilter, LocalMixing
from spanetv2.models.costs import count_parameters, multiply_adds
from spanetv2.models.implementation import set_implementation
from spanetv2.models.variants import VARIANTS
from spanetv2.ops.grouped_mix import grouped_mix
from spanetv2.ops.local_mixing import (
    LARGEST_GRID,
    local_mixing_reference,
    pack_kernels,
)
from spanetv2.ops.spectral_rescale import spectral_gain

__all__ = ["OPERATORS", "Cost", "cost_of", "operator_step", "stage_shapes"]

OPERATORS = (
    "spam",
    "spam@reference",
    "spam@fused",
    "sepconv",
    "dfformer",
    "attention",
    "local",
    "local@reference",
    "local@fused",
    "project",
    "project@fused",
)
_SHORTEST = 0.02
"""Seconds that a timing should take: shorter runs are repeated, up to ``_MOST`` times."""
_MOST = 1000


class FusedLocalMixing(nn.Module):
    """``LocalMixing`` as one function of maps (B, C, H, W): its reference, or the Triton operator.

    Its parameters are packed as the function takes them.
    """

    def __init__(self, mixer: LocalMixing, function: Callable[..., Tensor]) -> None:
        super().__init__()
        assert mixer.spectral_filter is not None
        convs = [cast(nn.Conv2d, conv) for conv in mixer.local_convs]
        self.kernels = nn.Parameter(pack_kernels([conv.weight.detach() for conv in convs]))
        biases = [cast(Tensor, conv.bias).detach() for conv in convs]
        self.bias = nn.Parameter(torch.cat(biases))
        self.theta = nn.Parameter(mixer.spectral_filter.theta.detach().clone())
        self.function = function

    def forward(self, x_BCHW: Tensor) -> Tensor:
        gain_CHK = spectral_gain(self.theta, x_BCHW.shape[2], x_BCHW.shape[3])
        return self.function(x_BCHW, self.kernels, self.bias, gain_CHK)


class Projection(nn.Module):
    """SPAM's projection as one function of maps (B, C, H, W)."""

    def __init__(self, mixer: SPAM, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.proj = mixer.proj
        self.function = function

    def forward(self, x_BCHW: Tensor) -> Tensor:
        grouped, norm = cast(nn.Conv2d, self.proj[0]), cast(nn.GroupNorm, self.proj.norm)
        mix = cast(nn.Conv2d, self.proj.mix)
        weights = (grouped.weight, norm.weight, norm.bias, mix.weight)
        return self.function(x_BCHW, *weights, True, norm.eps)


def _project(x_BCHW: Tensor, *arguments: Any) -> Tensor:
    return grouped_mix(x_BCHW.permute(0, 2, 3, 1), *arguments).permute(0, 3, 1, 2)


def _project_fused(x_BCHW: Tensor, *arguments: Any) -> Tensor:
    from spanetv2.ops.grouped_mix.operator import grouped_mix_fused

    y_BNC = grouped_mix_fused(x_BCHW, *arguments)
    return y_BNC.transpose(1, 2).unflatten(2, x_BCHW.shape[2:])


class Cost(NamedTuple):
    """What an operator needs at least, whatever its implementation."""

    multiply_adds: float
    bytes: float


def stage_shapes(variant: str, size: int) -> list[tuple[int, int]]:
    """Channels and grid side of every stage of a variant.

    Args:
        variant: name of a SPANetV2 variant.
        size: height and width of the images, in pixels.

    Example:
        >>> stage_shapes("spanetv2_s18_pure", 224)
        [(64, 56), (128, 28), (320, 14), (512, 7)]
    """
    if variant not in VARIANTS:
        raise UserError(f"got variant {variant!r}, expected one of {', '.join(VARIANTS)}")
    side = Stem(3, 4, device=torch.device("meta")).output_grid(size, size)[0]
    shapes = []
    for channels in VARIANTS[variant].dims:
        shapes.append((channels, side))
        side = conv_output_size(side, 3, 2, 1)
    return shapes


def make_operator(name: str, channels: int, side: int) -> tuple[nn.Module, bool]:
    """An operator with random weights, and whether its maps are (B, H, W, C).

    Raises:
        UserError: an unknown name, or channels that the operator cannot have.
    """
    torch.manual_seed(0)
    kind, _, how = name.partition("@")
    if name not in OPERATORS:
        raise UserError(f"got operator {name!r}, expected one of {', '.join(OPERATORS)}")
    if kind == "sepconv":
        return SepConv(channels), False
    if kind == "dfformer":
        return DynamicFilter(channels, (side, side)), True
    if kind == "attention":
        return Attention(channels), True
    if kind == "project":
        mixer = SPAM(channels, (side, side))
        return Projection(mixer, _project_fused if how == "fused" else _project), False
    if how == "fused" and side > LARGEST_GRID:
        raise UserError(f"got {side} tokens a side, expected at most {LARGEST_GRID} for {name}")
    mixer = SPAM(channels, (side, side))
    set_implementation(mixer, how or "auto")
    if kind == "spam":
        return mixer, True
    if how == "fused":
        from spanetv2.ops.local_mixing.operator import local_mixing

        return FusedLocalMixing(mixer, local_mixing), False
    if how == "reference":
        return FusedLocalMixing(mixer, local_mixing_reference), False
    return LocalMixing.of(mixer), True


def cost_of(name: str, channels: int, side: int, *, batch: int, dtype: str, work: str) -> Cost:
    """Multiply-adds and bytes of an operator.

    Every implementation of an operator has the cost of its definition, with the FFT. Bytes: the
    input is read and the output written once, and the weights read; in training the output's
    gradient is read, the input read again, its gradient written, and the weights' gradients
    written. Training takes three times the multiply-adds.

    Args:
        name: of ``OPERATORS``.
        channels: C.
        side: H and W.
        batch: B.
        dtype: of maps and weights.
        work: inference or training.
    """
    module, last = make_operator(name.partition("@")[0], channels, side)
    shape = (1, side, side, channels) if last else (1, channels, side, side)
    computed = batch * multiply_adds(module, shape).total
    width = DTYPES[dtype].itemsize
    maps = batch * channels * side * side * width
    weights = count_parameters(module) * width
    if work == "inference":
        return Cost(computed, 2 * maps + weights)
    return Cost(3 * computed, 5 * maps + 3 * weights)


def operator_step(
    cell: Cell, channels: int, side: int, *, device: str, channels_last: bool
) -> Step:
    """One run of an operator, forward or forward and backward, bundled if it is short.

    On a GPU the run is captured as a graph, so that the time is the kernels' and not that of
    launching them one by one.

    Raises:
        UserError: an operator that does not run at this shape or on this device.
    """
    if cell.model.endswith("@fused") and not device.startswith("cuda"):
        raise UserError(f"got {cell.model} on {device}, expected a GPU")
    module, last = make_operator(cell.model, channels, side)
    training, dtype = cell.work == "training", DTYPES[cell.dtype]
    module = module.to(device, dtype).train(training)
    shape = (cell.batch, side, side, channels) if last else (cell.batch, channels, side, side)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(device, dtype)
    grad = torch.randn(shape, generator=generator).to(device, dtype)
    if channels_last and not last and cell.model == "sepconv":
        module = module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        x = x.contiguous(memory_format=torch.channels_last)
        grad = grad.contiguous(memory_format=torch.channels_last)
    call = compiled(module) if cell.mode == "compiled" else module
    inputs = [x.requires_grad_(training), *(module.parameters() if training else ())]

    def infer() -> Any:
        with torch.inference_mode():
            return call(x)

    def learn() -> Any:
        return torch.autograd.grad(call(x), inputs, grad)

    run = learn if training else infer
    if device.startswith("cuda"):
        run = _captured(run, device)
    step = Step(run=run, tidy=lambda: None, parameters=count_parameters(module))
    timed(step, device)  # compiles
    once = timed(step, device)
    return step._replace(repeats=min(_MOST, max(1, math.ceil(_SHORTEST / once))))


def _captured(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """``run`` as a CUDA graph."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()

    def replay(kept: Callable[[], Any] = run) -> None:
        graph.replay()  # on the memory of the inputs, which live as long as ``kept``

    return replay
