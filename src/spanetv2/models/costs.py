"""Parameters and multiply-adds of any network.

Nothing is computed: the network is copied to the meta device, where only shapes exist.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from spanetv2.layers.activation import StarReLU
from spanetv2.mixers import SpectralRescale
from spanetv2.models.implementation import set_implementation

__all__ = ["MultiplyAdds", "count_parameters", "multiply_adds"]


class MultiplyAdds(NamedTuple):
    """The cost of a forward pass, in multiply-adds."""

    products: float
    """Convolutions and matrix products of any kind, attention's included; no biases. Pooling,
    normalisation, interpolation and element-wise steps are not counted."""
    transforms: float
    """Fourier transforms, and what the spectrum is multiplied by: see ``multiply_adds``."""
    layers: float
    """As papers on segmentation and detection count: convolutions (also transposed) and linear
    layers with their biases, one per element of a ReLU, two per element of batch norm. The matrix
    products *inside* attention, which grow with the square of the image, are not counted."""

    @property
    def total(self) -> float:
        """Products and transforms."""
        return self.products + self.transforms


def count_parameters(network: nn.Module) -> int:
    """Numbers that a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(
    network: nn.Module,
    shape: Sequence[int],
    call: Callable[[Any, Tensor], object] = lambda network, x: network(x),
) -> MultiplyAdds:
    """Count the multiply-adds of a forward pass.

    The spectral filters are counted by their definition, with FFTs, whatever computes them: a real
    FFT of n points takes 1.25 n log2 n, and the way back n more for the product with the gain. So
    a filter of C channels on n tokens takes C (2.5 n log2 n + n).

    Args:
        network: any; it is left as it is.
        shape: of its input, for example (1, 3, 224, 224).
        call: runs a copy of the network on the input, where a plain call is not what counts.

    Returns:
        Multiply-adds by several rules.

    Example:
        >>> cost = multiply_adds(nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 10))
        >>> cost.products, cost.transforms, cost.layers
        (21600.0, 0.0, 22400.0)
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    if any(isinstance(module, SpectralRescale) for module in shadow.modules()):
        set_implementation(shadow, "reference")
    layers: list[float] = []
    for module in shadow.modules():
        if isinstance(module, _LAYERS):
            module.register_forward_hook(lambda m, x, y: layers.append(_of_layer(m, x[0], y)))
    counter = FlopCounterMode(display=False, custom_mapping=_TRANSFORMS)
    # One backend, so that attention is made of products that the counter sees.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        call(shadow, torch.empty(*shape, device="meta"))
    operations = counter.get_flop_counts().get("Global", {})
    transforms = sum(operations.pop(operator, 0) for operator in _TRANSFORMS)
    return MultiplyAdds(sum(operations.values()) / 2, transforms / 2, sum(layers))


# Formulas as the counter wants them: from the shapes of an operator's arguments and result, in
# operations, two for a multiply-add.


def _forth(shape: Sequence[int], dims: Sequence[int], *_: Any, out_shape: Sequence[int]) -> float:
    return 2 * _real_transform(shape, dims)


def _back(shape: Sequence[int], dims: Sequence[int], *_: Any, out_shape: Sequence[int]) -> float:
    return 2 * (_real_transform(out_shape, dims) + math.prod(out_shape))


def _complex(shape: Sequence[int], dims: Sequence[int], *_: Any, out_shape: Sequence[int]) -> float:
    return 4 * _real_transform(shape, dims)


def _real_transform(shape: Sequence[int], dims: Sequence[int]) -> float:
    return 1.25 * math.prod(shape) * math.log2(math.prod(shape[dim] for dim in dims))


_TRANSFORMS = {
    torch.ops.aten._fft_r2c: _forth,
    torch.ops.aten._fft_c2r: _back,
    torch.ops.aten._fft_c2c: _complex,
}
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.ReLU, StarReLU, nn.BatchNorm2d)


def _of_layer(layer: nn.Module, x: Tensor, y: Tensor) -> float:
    if isinstance(layer, nn.Conv2d):
        weights = layer.weight[0].numel() + (layer.bias is not None)
        return float(y.numel() * weights)
    if isinstance(layer, nn.ConvTranspose2d):
        biases = 0 if layer.bias is None else y.numel()
        return float(x.numel() * layer.weight[0].numel() + biases)
    if isinstance(layer, nn.Linear):
        return float(y.numel() * (layer.in_features + (layer.bias is not None)))
    return float(y.numel()) * (2 if isinstance(layer, nn.BatchNorm2d) else 1)
