"""Where compiled networks spend time and memory on this processor.

    python -m benchmarks.profile_compiled [NETWORK ...] [--batch 1] [--dtype bfloat16]
        [--mode frozen] [--work training] [--runs 10]

Each network is compiled for images of 224 x 224 pixels with the compiler's loops as events of their
own, and run under PyTorch's profiler. Writes benchmarks/results/profile/cpu_*.json: milliseconds a
run by kind, and of every loop that takes a hundredth of it, the profiler's own cost in them; and
what is held at the moment when most is, by size.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch._C._profiler import _EventType
from torch._inductor import config
from torch.profiler import ProfilerActivity, profile

from spanetv2.benchmark.networks import network_step
from spanetv2.benchmark.settings import Cell, full_label
from spanetv2.benchmark.timing import Step
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.table import Table

NETWORKS = ("s18_pure", "convformer_s18")
RESULTS = Path(__file__).with_name("results") / "profile"
KINDS = {
    "convolutions": ("convolution",),
    "products": ("::mm", "::bmm", "::addmm", "::baddbmm", "mkl_linear", "linear_pointwise"),
    "loops": ("cpp_fused",),
}
"""What names of events hold; all others are the rest."""
LEAST_SHARE = 0.01
MIB = 2**20


def kind_of(event: str) -> str:
    """Which of ``KINDS`` an event belongs to."""
    found = (kind for kind, parts in KINDS.items() if any(part in event for part in parts))
    return next(found, "rest")


def profiled(cell: Cell, runs: int) -> dict[str, Any]:
    """Milliseconds a run, with and without the profiler, by kind and by loop; and memory."""
    with config.patch({"cpp.enable_kernel_profile": True}):
        step = network_step(cell, device="cpu", channels_last=False)
        for _ in range(3):
            _run(step)
        start = time.perf_counter()
        for _ in range(runs):
            _run(step)
        whole = 1000 * (time.perf_counter() - start) / runs
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
            for _ in range(runs):
                _run(step)
        held = held_at_peak(step)
    kinds: dict[str, float] = defaultdict(float)
    events: dict[str, tuple[float, float]] = {}
    for event in profiler.key_averages():
        spent = event.self_cpu_time_total / 1000 / runs
        kinds[kind_of(event.key)] += spent
        if spent >= LEAST_SHARE * whole:
            events[event.key] = (round(spent, 2), round(event.count / runs))
    return {
        "network": cell.model,
        "whole_ms": round(whole, 1),
        "kinds_ms": {kind: round(kinds[kind], 1) for kind in (*KINDS, "rest")},
        "events_ms_and_calls": dict(sorted(events.items(), key=lambda item: -item[1][0])),
        "by_grid_ms": by_grid(profiler, runs),
        "peak_mib": round(sum(held) / MIB, 1),
        "held_at_peak": [
            {"mib": round(size / MIB, 2), "blocks": count}
            for size, count in sorted(Counter(held).items(), key=lambda item: -item[0] * item[1])
            if size * count >= LEAST_SHARE * sum(held)
        ],
    }


def by_grid(profiler: profile, runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds of convolutions by the height of their input, of products by their rows."""
    found: dict[str, dict[str, float]] = {"convolutions": {}, "products": {}}
    for event in profiler.key_averages(group_by_input_shape=True):
        kind, shapes = kind_of(event.key), event.input_shapes
        if kind not in found or not shapes or len(shapes[0]) < 2:
            continue
        size = str(shapes[0][-2])
        spent = event.self_cpu_time_total / 1000 / runs
        found[kind][size] = round(found[kind].get(size, 0) + spent, 2)
    return found


def held_at_peak(step: Step) -> list[int]:
    """Bytes of each block that one run holds when it holds most, beyond what was there before."""
    step.tidy()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step.run()
    kineto = profiler.profiler
    assert kineto is not None
    assert kineto.kineto_results is not None
    tree = kineto.kineto_results.experimental_event_tree()
    blocks = sorted(_allocations(tree), key=lambda event: event.start_time_ns)
    held: dict[int, int] = {}
    now, most = 0, (0, [])
    for block in blocks:
        size, where = block.extra_fields.alloc_size, block.extra_fields.ptr
        if size > 0:
            held[where] = size
            now += size
        elif where in held:
            now -= held.pop(where)
        if now > most[0]:
            most = (now, list(held.values()))
    return most[1]


def _allocations(events: Iterable[Any]) -> Iterator[Any]:
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event
        yield from _allocations(event.children)


def _run(step: Step) -> None:
    step.tidy()
    step.run()


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile compiled networks.")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--mode", choices=["eager", "compiled", "frozen"], default="compiled")
    parser.add_argument("--work", choices=["inference", "training"], default="inference")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    environment = describe_environment()
    setting = {name: getattr(arguments, name) for name in ("mode", "work", "dtype", "batch")}
    rows = [
        profiled(Cell(model=full_label(name), size=224, **setting), arguments.runs)
        for name in arguments.networks
    ]
    name = "cpu_" + "_".join(map(str, setting.values()))
    command = " ".join(
        [
            "python -m benchmarks.profile_compiled",
            *arguments.networks,
            *(f"--{name} {value}" for name, value in setting.items()),
        ]
    )
    out = arguments.out or RESULTS / f"{name}.json"
    write_json(out, {**environment, "command": command, "setting": setting, "rows": rows})
    for row in rows:
        print(json.dumps(row["events_ms_and_calls"], indent=1))
        print(json.dumps([row["by_grid_ms"], row["held_at_peak"]]))
    names = [*KINDS, "rest"]
    body = [
        [
            row["network"],
            f"{row['whole_ms']:.0f}",
            *(f"{row['kinds_ms'][k]:.0f}" for k in names),
            f"{row['peak_mib']:.0f}",
        ]
        for row in rows
    ]
    title = "milliseconds a run, and memory at its peak (MiB)"
    print(Table(title, ["network", "whole", *names, "memory"], body).text())


if __name__ == "__main__":
    main()
