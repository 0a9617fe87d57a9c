"""int8 for CPUs: an exported network with its linear layers and convolutions in whole numbers.

Static quantisation by ONNX Runtime: a pair of QuantizeLinear and DequantizeLinear stands before
every quantised layer, with the range of values seen on example images. ONNX Runtime and OpenVINO
both turn the pairs into int8 kernels. Activations are uint8, weights int8 with a scale per output
channel.

Shape suffixes: B batch, C channels of the image, H and W its sides in pixels.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from spanetv2.files import atomic_path

__all__ = ["quantize_onnx"]

_LAYERS = ("Conv", "Gemm", "MatMul")


def quantize_onnx(
    source: str | os.PathLike[str], target: str | os.PathLike[str], images: Iterable[Tensor]
) -> None:
    """Write the int8 form of an exported network; its metadata go with it.

    Args:
        source: a .onnx file in float32.
        target: file to write, perhaps the same; an existing one is replaced at the end.
        images: batches (B, C, H, W) of images like those that it will see, pre-processed.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, atomic_path(target) as partial:
        ready = Path(folder) / "ready.onnx"
        # Shapes alone: its optimiser would fuse layers into others that are not quantised.
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True, skip_optimization=True)
        network = onnx.load(str(ready))
        quantize_static(
            str(ready),
            str(partial),
            _Reader(network.graph.input[0].name, images),  # pyright: ignore[reportArgumentType]
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=_layers(network.graph),
        )
        made = onnx.load(str(partial))
        del made.metadata_props[:]
        made.metadata_props.extend(onnx.load(str(source), load_external_data=False).metadata_props)
        onnx.save(made, str(partial))


def _layers(graph: Any) -> list[str]:
    """Names of the layers with weights.

    Products whose first factor is constant are left out: they are the transforms of the spectral
    filter, whose values span more than 8 bits hold.
    """
    constant = {value.name for value in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in _LAYERS and node.input[1] in constant and node.input[0] not in constant
    ]


class _Reader:
    """Gives batches to ONNX Runtime's calibration."""

    def __init__(self, name: str, images: Iterable[Tensor]) -> None:
        self.name, self.images = name, iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the input's name; None at the end."""
        batch = next(self.images, None)
        return None if batch is None else {self.name: batch.numpy()}

    def __iter__(self) -> "_Reader":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        if (found := self.get_next()) is None:
            raise StopIteration
        return found
