"""Where exported networks spend their time: per kind of operator, in ONNX Runtime and OpenVINO.

    python -m benchmarks.profile_exported

Each network is exported for 8 images of 224 x 224 pixels and run with as many threads as there are
cores, with ONNX Runtime's profiler and OpenVINO's counters. Writes
benchmarks/results/profile/cpu_exported.json: milliseconds a run by kind of operator.
"""

import argparse
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import onnxruntime
import openvino
import torch
from torch import Tensor

from spanetv2.benchmark.networks import exported_network, make_images
from spanetv2.benchmark.settings import Cell
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.table import Table

NETWORKS = ("spanetv2_s18_pure", "convformer_s18")
KINDS = {
    "products": ("MatMul", "Gemm", "FullyConnected", "FusedGemm", "FusedMatMul"),
    "convolutions": ("Conv", "FusedConv", "Convolution", "GroupConvolution"),
    "moving maps": (
        *("Transpose", "ReorderInput", "ReorderOutput", "Reorder", "ShuffleChannels"),
        *("Concat", "Split", "Reshape", "Gather", "Slice", "VariadicSplit"),
    ),
    "norms": (
        *("LayerNormalization", "SkipLayerNormalization", "InstanceNormalization"),
        *("MVN", "RMS", "ReduceMean"),
    ),
}
"""Kinds of both runtimes' operators; all others are element-wise."""


def kind_of(operator: str) -> str:
    """Which of ``KINDS`` an operator belongs to."""
    return next((kind for kind, names in KINDS.items() if operator in names), "element-wise")


def in_onnxruntime(path: Path, images: Tensor, runs: int) -> dict[str, float]:
    """Milliseconds a run by operator, the first run left out."""
    options = cast(Any, onnxruntime.SessionOptions())
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_profiling = True
    options.profile_file_prefix = str(path.with_suffix(""))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    for _ in range(runs + 1):
        session.run(None, {name: images.numpy()})
    spent: dict[str, list[tuple[str, float]]] = {}
    for event in json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            row = (event["args"]["op_name"], event["dur"] / 1000)
            spent.setdefault(event["name"], []).append(row)
    total: dict[str, float] = defaultdict(float)
    for rows in spent.values():
        for operator, duration in rows[1:]:
            total[operator] += duration / runs
    return total


def in_openvino(path: Path, images: Tensor, runs: int) -> dict[str, float]:
    """Milliseconds a run by operator, the first run left out."""
    options = {
        "PERF_COUNT": "YES",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    request = openvino.compile_model(str(path), "CPU", options).create_infer_request()
    total: dict[str, float] = defaultdict(float)
    for run in range(runs + 1):
        request.infer([images.numpy()])
        for node in request.get_profiling_info() if run else ():
            # chains of element-wise operators are compiled into one
            total[node.node_type] += 1000 * node.real_time.total_seconds() / runs
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile exported networks.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/profile/cpu_exported.json")
    )
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    rows = []
    for name in NETWORKS:
        cell = Cell(model=name, mode="eager", work="inference", dtype="float32", batch=8, size=224)
        images = make_images(cell, device="cpu", dtype=torch.float32, channels_last=False)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            path.write_bytes(exported_network(name, cell.batch, cell.size))
            for runtime, measure in (("onnxruntime", in_onnxruntime), ("openvino", in_openvino)):
                spent = measure(path, images, arguments.runs)
                kinds: dict[str, float] = defaultdict(float)
                for operator, duration in spent.items():
                    kinds[kind_of(operator)] += duration
                rows.append(
                    {"network": name, "runtime": runtime, "kinds_ms": kinds}
                    | {"operators_ms": {k: v for k, v in spent.items() if v >= 0.05}}
                )
    command = "python -m benchmarks.profile_exported"
    write_json(arguments.out, {**describe_environment(), "command": command, "rows": rows})
    names = [*KINDS, "element-wise"]
    body = [
        [row["network"], row["runtime"], *(f"{row['kinds_ms'].get(k, 0):.1f}" for k in names)]
        for row in rows
    ]
    print(Table("milliseconds a run", ["network", "runtime", *names], body).text())


if __name__ == "__main__":
    main()
