"""Exported networks in runtimes for CPUs: ONNX Runtime and OpenVINO."""

import os
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.extras import need_packages

__all__ = ["NETWORKS", "RUNTIMES", "open_runtime"]

RUNTIMES: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
"""Name of a runtime -> what it computes in; int8 needs a quantised file."""
NETWORKS = "exported networks"
"""What the packages of runtimes are needed for."""


def open_runtime(
    name: str,
    path: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    threads: int | None = None,
    arena: bool = True,
) -> Callable[..., Any]:
    """Load an exported network into a runtime.

    Args:
        name: "onnxruntime" or "openvino".
        path: a .onnx file.
        dtype: what OpenVINO computes in, "float32" or "bfloat16"; "int8" is said by the file.
        threads: to compute with; None leaves it to the runtime.
        arena: let ONNX Runtime keep the memory that it once took.

    Returns:
        A function of images (B, C, H, W), and of what else the file takes, to the network's output,
        both float32 (or what the file says) on the CPU; a tuple of those of a network with several.

    Raises:
        UserError: the runtime is missing.

    Example:
        >>> open_runtime("tensorrt", "network.onnx")
        Traceback (most recent call last):
        spanetv2.errors.UserError: got runtime 'tensorrt', expected one of onnxruntime, openvino
    """
    if name not in RUNTIMES:
        raise UserError(f"got runtime {name!r}, expected one of {', '.join(RUNTIMES)}")
    need_packages(name, use=NETWORKS)
    if name == "openvino":
        return _open_openvino(path, dtype=dtype, threads=threads)
    import onnxruntime

    options = cast(Any, onnxruntime.SessionOptions())
    options.intra_op_num_threads = threads or 0
    options.enable_cpu_mem_arena = arena
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]

    def run(*inputs: Tensor) -> Any:
        given = {name: x.cpu().numpy() for name, x in zip(names, inputs, strict=True)}
        return _answer(session.run(None, given))

    return run


def _open_openvino(
    path: str | os.PathLike[str], *, dtype: str, threads: int | None
) -> Callable[..., Any]:
    import openvino

    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # by itself it takes bfloat16 where the processor has instructions for it
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32",
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    request = openvino.compile_model(os.fspath(path), "CPU", options).create_infer_request()

    def run(*inputs: Tensor) -> Any:
        answer = request.infer([x.cpu().numpy() for x in inputs])
        # copied, as the next run writes over them
        return _answer([np.array(answer[i]) for i in range(len(answer))])

    return run


def _answer(results: Sequence[Any]) -> Any:
    tensors = [torch.from_numpy(result) for result in results]
    return tensors[0] if len(tensors) == 1 else tuple(tensors)
