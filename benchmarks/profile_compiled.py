"""Where compiled networks spend their time on this processor: products, convolutions, loops.

    python -m benchmarks.profile_compiled [NETWORK ...] [--runs 10]

Each network is compiled for 8 images of 224 x 224 pixels with the compiler's loops as events of
their own, and run under PyTorch's profiler. Writes benchmarks/results/profile/cpu_compiled.json:
milliseconds a run by kind, and of every loop that takes half a millisecond. The profiler's own cost
is in them.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from torch._inductor import config
from torch.profiler import ProfilerActivity, profile

from spanetv2.benchmark.networks import network_step
from spanetv2.benchmark.settings import Cell, full_label
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.table import Table

NETWORKS = ("s18_pure", "convformer_s18")
OUT = Path(__file__).with_name("results") / "profile" / "cpu_compiled.json"
KINDS = {
    "convolutions": ("convolution",),
    "products": ("::mm", "::bmm", "::addmm", "::baddbmm", "mkl_linear", "linear_pointwise"),
    "loops": ("cpp_fused",),
}
"""What names of events hold; all others are the rest."""
LEAST_MS = 0.5


def kind_of(event: str) -> str:
    """Which of ``KINDS`` an event belongs to."""
    found = (kind for kind, parts in KINDS.items() if any(part in event for part in parts))
    return next(found, "rest")


def profiled(name: str, runs: int) -> dict[str, Any]:
    """Milliseconds a run, with and without the profiler, by kind and by loop."""
    cell = Cell(
        model=full_label(name),
        mode="compiled",
        work="inference",
        dtype="float32",
        batch=8,
        size=224,
    )
    with config.patch({"cpp.enable_kernel_profile": True}):
        step = network_step(cell, device="cpu", channels_last=False)
        for _ in range(3):
            step.run()
        start = time.perf_counter()
        for _ in range(runs):
            step.run()
        whole = (time.perf_counter() - start) / runs
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(runs):
                step.run()
    kinds: dict[str, float] = defaultdict(float)
    events: dict[str, float] = {}
    for event in profiler.key_averages():
        spent = event.self_cpu_time_total / 1000 / runs
        kinds[kind_of(event.key)] += spent
        if spent >= LEAST_MS:
            events[event.key] = round(spent, 2)
    return {
        "network": cell.model,
        "whole_ms": round(1000 * whole, 1),
        "kinds_ms": {kind: round(kinds[kind], 1) for kind in (*KINDS, "rest")},
        "events_ms": dict(sorted(events.items(), key=lambda item: -item[1])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile compiled networks.")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    environment = describe_environment()
    rows = [profiled(name, arguments.runs) for name in arguments.networks]
    command = " ".join(["python -m benchmarks.profile_compiled", *arguments.networks])
    write_json(arguments.out, {**environment, "command": command, "rows": rows})
    for row in rows:
        print(json.dumps(row["events_ms"], indent=1))
    names = [*KINDS, "rest"]
    body = [
        [row["network"], f"{row['whole_ms']:.0f}", *(f"{row['kinds_ms'][k]:.0f}" for k in names)]
        for row in rows
    ]
    print(Table("milliseconds a run", ["network", "whole", *names], body).text())


if __name__ == "__main__":
    main()
