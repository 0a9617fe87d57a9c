"""The fastest settings of the kernels on this GPU, for the tables ``spanetv2/ops/*/settings.py``.

    python benchmarks/gpu_settings.py --out benchmarks/results/settings/gpu.json

Every kernel's candidates are tried in its operator, forward or forward and backward, at the shapes
of S18 (batch 128, bfloat16), the largest grid first, until ``--seconds`` are over. Prints what to
write into ``MEASURED``.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spanetv2.benchmark.operators import make_operator, stage_shapes
from spanetv2.benchmark.timing import Step, interleave, summary
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.ops.grouped_mix import settings as of_projection
from spanetv2.ops.local_mixing import settings as of_mixing
from spanetv2.ops.local_mixing.matrices import Sizes

BYTES = 2
"""Of a value in bfloat16."""


class Kernel(NamedTuple):
    """A kernel at a grid, and where its setting stands."""

    operator: str
    name: str
    table: dict[str, dict[Any, Any]]
    key: tuple[int, ...]
    usual: Any
    candidates: list[Any]
    backward: bool


def kernels(side: int, generation: int) -> Iterator[Kernel]:
    """All kernels that have a setting, at a square grid."""
    size = Sizes.of(side, side)
    tile = max(size.H, size.W)
    for name in of_mixing.KERNELS:
        yield Kernel(
            "local@fused",
            name,
            of_mixing.MEASURED,
            (generation, tile, BYTES),
            of_mixing.setting(name, tile, BYTES, generation),
            of_mixing.candidates(name, tile, BYTES),
            name != "forward",
        )
    for name in of_projection.KERNELS:
        yield Kernel(
            "project@fused",
            name,
            of_projection.MEASURED,
            (generation, side * side),
            of_projection.setting(name, side * side, generation),
            of_projection.candidates(name, side * side),
            name.startswith("gradient"),
        )


def run_of(
    operator: str, channels: int, side: int, batch: int, backward: bool
) -> Callable[[], Any]:
    """A run of an operator on a GPU."""
    module, _ = make_operator(operator, channels, side)
    module = module.to("cuda", torch.bfloat16)
    x = torch.randn(batch, channels, side, side, device="cuda", dtype=torch.bfloat16)
    if not backward:

        def infer() -> Any:
            with torch.inference_mode():
                return module(x)

        return infer
    inputs = [x.requires_grad_(), *module.parameters()]
    outward = torch.randn_like(x)
    return lambda: torch.autograd.grad(module(x), inputs, outward)


def captured(run: Callable[[], Any]) -> Callable[[], Any]:
    """A run as a CUDA graph, with the settings of now."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return lambda kept=run: graph.replay()


def fastest(kernel: Kernel, run: Callable[[], Any]) -> dict[Any, float]:
    """Seconds of every candidate that the card takes, the fastest first."""
    steps, table = {}, kernel.table.setdefault(kernel.name, {})
    before = table.get(kernel.key)
    for candidate in kernel.candidates:
        table[kernel.key] = candidate
        try:
            steps[candidate] = Step(run=captured(run), tidy=lambda: None, parameters=0, repeats=5)
        except Exception as error:
            print(f"  {candidate}: {str(error).splitlines()[0][:80]}")
    times = interleave(steps, rounds=7, warmup=2, device="cuda")
    medians = {key: summary(seconds)["median_s"] for key, seconds in times.items()}
    best = dict(sorted(medians.items(), key=lambda item: item[1]))
    table[kernel.key] = next(iter(best), before or kernel.usual)  # the next kernels build on it
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the kernels' settings on this GPU.")
    parser.add_argument("--batch", type=int, default=128, help="images (default 128)")
    parser.add_argument("--seconds", type=float, default=240, help="in all (default 240)")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file of all times")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU, expected one with CUDA")
    start, rows = time.monotonic(), []
    generation = torch.cuda.get_device_capability()[0]
    record = {"kind": "settings", **describe_environment(), "rows": rows}
    for channels, side in stage_shapes("spanetv2_s18_pure", 224):
        for kernel in kernels(side, generation):
            if time.monotonic() - start > chosen.seconds:
                print(f"the time is up before {kernel.operator} {kernel.name} at {side} x {side}")
                return
            run = run_of(kernel.operator, channels, side, chosen.batch, kernel.backward)
            found = fastest(kernel, run)
            for setting, seconds in found.items():
                row = {"operator": kernel.operator, "kernel": kernel.name, "side": side}
                rows.append(row | {"setting": list(setting), "seconds": seconds})
            if not found:
                print(f"{kernel.operator} {kernel.name} {side} x {side}: no candidate runs")
                continue
            best, usual = next(iter(found.items())), found.get(kernel.usual)
            gain = "" if usual is None else f", {usual / best[1]:.2f} times as fast as usual"
            print(f"{kernel.operator} {kernel.name} {kernel.key}: {best[0]}{gain}", flush=True)
            if chosen.out is not None:
                write_json(chosen.out, record)


if __name__ == "__main__":
    main()
