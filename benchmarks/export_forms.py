"""In which form an exported network is fastest in ONNX Runtime and OpenVINO on this processor.

    python -m benchmarks.export_forms FOLDER [--only FORM ...]

S18 pure (random weights, 8 images of 224 x 224) is written into the folder in every form of
``FORMS``, unless it is there, in float32 and in int8, and then all run in turns. ``tokens`` is the
form that ``spanetv2 export`` writes. Writes benchmarks/results/export/cpu_forms.json; the page
``docs/performance.md`` has its table.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import cast
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spanetv2.benchmark.networks import build
from spanetv2.benchmark.timing import Step, interleave, summary
from spanetv2.deploy import optimize_for_inference
from spanetv2.deploy import quantize as quantizing
from spanetv2.deploy.runtimes import RUNTIMES, open_runtime
from spanetv2.deploy.tokens import TokenSPAM, in_tokens
from spanetv2.deploy.write import write_onnx
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.layers import SquaredReLU
from spanetv2.models import set_implementation
from spanetv2.table import Table

NETWORK, BATCH, SIZE = "spanetv2_s18_pure", 8, 224
OUT = Path(__file__).with_name("results") / "export" / "cpu_forms.json"


def as_computed(network: nn.Module) -> nn.Module:
    """A grouped 1 x 1 convolution, channel shuffle and GroupNorm, on maps."""
    return network


def early_tokens(network: nn.Module) -> nn.Module:
    """Products over tokens in the first two stages alone."""
    for stage in cast(nn.Sequential, network.stages)[:2]:
        in_tokens(stage)
    return network


def layer_norm(network: nn.Module) -> nn.Module:
    """Products over tokens, with a LayerNorm over the whole list in place of GroupNorm."""
    in_tokens(network)

    def forward(self: TokenSPAM, x_BHWC: Tensor) -> Tensor:
        def whole(x: Tensor, groups: int, eps: float) -> Tensor:
            y_BND = x[:, 0].unflatten(1, (x_BHWC.shape[1] * x_BHWC.shape[2], -1))
            return F.layer_norm(y_BND, y_BND.shape[1:], eps=eps).flatten(1)[:, None]

        with patch.object(F, "group_norm", whole):
            return TokenSPAM.forward(self, x_BHWC)

    for module in network.modules():
        if isinstance(module, TokenSPAM):
            module.forward = forward.__get__(module)
    return network


def times_itself(network: nn.Module) -> nn.Module:
    """Products over tokens, with x * x in place of x^2 in the MLPs."""
    in_tokens(network)

    def forward(x: Tensor) -> Tensor:
        y = F.relu(x)
        return y * y

    for module in network.modules():
        if isinstance(module, SquaredReLU):
            module.forward = forward
    return network


FORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as computed": as_computed,
    "tokens": in_tokens,
    "tokens early": early_tokens,
    "layer norm": layer_norm,
    "x * x": times_itself,
}
DEPTHWISE = "depthwise in float32"
"""Of the int8 form of "tokens": convolutions of one channel each are left as they are."""


def write_forms(folder: Path, names: list[str]) -> dict[tuple[str, str], Path]:
    """Files by form and precision."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
    files: dict[tuple[str, str], Path] = {}
    for name in names:
        full = files[name, "float32"] = folder / f"{name}.onnx"
        low = files[name, "int8"] = folder / f"{name} int8.onnx"
        if not full.exists():
            network = set_implementation(build(NETWORK, SIZE).eval(), "products")
            made = FORMS[name](optimize_for_inference(network, SIZE))
            write_onnx(made, (images,), full, inputs=["images"], outputs=["logits"])
        if not low.exists():
            quantizing.quantize_onnx(full, low, [images])
    if "tokens" in names:
        low = files[DEPTHWISE, "int8"] = folder / f"{DEPTHWISE} int8.onnx"
        if not low.exists():
            with patch.object(quantizing, "_layers", layers_but_depthwise):
                quantizing.quantize_onnx(files["tokens", "float32"], low, [images])
    return files


def layers_but_depthwise(graph: object, _layers: Callable = quantizing._layers) -> list[str]:
    """Names of the layers with weights, without convolutions that have groups."""
    grouped = {
        node.name
        for node in graph.node  # pyright: ignore[reportAttributeAccessIssue]
        if any(about.name == "group" and about.i > 1 for about in node.attribute)
    }
    return [name for name in _layers(graph) if name not in grouped]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare forms of an exported network.")
    parser.add_argument("folder", type=Path, help="where the files are, or will be")
    parser.add_argument("--only", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    environment = describe_environment()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    files = write_forms(arguments.folder, arguments.only)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    steps = {}
    for ((form, kind), path), runtime in itertools.product(files.items(), RUNTIMES):
        for dtype in ("int8",) if kind == "int8" else ("float32", "bfloat16"):
            if dtype in RUNTIMES[runtime]:
                call = open_runtime(runtime, path, dtype=dtype, threads=torch.get_num_threads())
                step = Step(run=lambda call=call: call(images), tidy=lambda: None, parameters=0)
                steps[form, runtime, dtype] = step
    seconds = interleave(steps, rounds=arguments.rounds, warmup=1, device="cpu")
    rows = [
        {"form": form, "runtime": runtime, "dtype": dtype, **summary(times)}
        for (form, runtime, dtype), times in seconds.items()
    ]
    sizes = {f"{form}, {kind}": path.stat().st_size for (form, kind), path in files.items()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    command = f"python -m benchmarks.export_forms FOLDER --rounds {arguments.rounds}"
    record = {**environment, "command": command, "network": NETWORK, "batch": BATCH, "size": SIZE}
    write_json(arguments.out, {**record, "bytes": sizes, "rows": rows})
    body = [[r["form"], r["runtime"], r["dtype"], f"{1000 * r['median_s']:.1f}"] for r in rows]
    print(Table("milliseconds a run", ["form", "runtime", "dtype", "ms"], body).text())


if __name__ == "__main__":
    main()
