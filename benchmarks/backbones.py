"""Speed and memory of whole backbones, side by side.

All models live in one process and take turns: in every round each model runs once, in an order that
rotates, so that a slower moment of the machine hits all of them alike. What is reported is the
median time, and the median over the rounds of the ratio to one reference model.

    python benchmarks/backbones.py run --out benchmarks/results/cpu.json
    python benchmarks/backbones.py table benchmarks/results/*.json --out docs/benchmarks.md
"""

import argparse
import ctypes
import itertools
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

import spanetv2  # noqa: F401 - registers the models
from spanetv2.files import write_json
from spanetv2.training.record import describe_run

MODELS = (
    "spanetv2_s18_pure",
    "spanetv2_s18_hybrid",
    "convformer_s18",
    "caformer_s18",
    "convnext_tiny",
    "swin_tiny_patch4_window7_224",
)
REFERENCE = "convformer_s18"
MODES = ("eager", "compiled")
PASSES = ("forward", "forward+backward")


def build(name: str, options: argparse.Namespace) -> nn.Module:
    """Make a model with random weights for the wanted input size, on the wanted device."""
    # Swin's windows, and the grid of our filters, are made for one size.
    sized = {"img_size": options.size} if name.startswith(("swin", "spanetv2")) else {}
    torch.manual_seed(0)
    model = timm.create_model(name, **sized).to(options.device)
    return model.to(memory_format=torch.channels_last) if options.channels_last else model


def make_step(model: nn.Module, options: argparse.Namespace, *, what: str) -> Callable[[], None]:
    """Give a function that does one forward pass, or one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, 3, options.size, options.size)
    images = torch.randn(shape, generator=generator).to(options.device)
    if options.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 1000, (options.batch,), generator=generator).to(options.device)

    def forward() -> None:
        with torch.inference_mode():
            model(images)

    def forward_backward() -> None:
        model.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), targets).backward()

    model.train(what != "forward")
    return forward if what == "forward" else forward_backward


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(step: Callable[[], None], device: str) -> float:
    """Seconds of one call."""
    wait(device)
    start = time.perf_counter()
    step()
    wait(device)
    return time.perf_counter() - start


def compare(options: argparse.Namespace, *, mode: str, what: str) -> dict[str, dict[str, Any]]:
    """Time all models in turn, for one mode and one kind of pass."""
    torch._dynamo.reset()
    steps, rows = {}, {}
    for name in options.models:
        model = build(name, options)
        rows[name] = {"parameters": sum(p.numel() for p in model.parameters())}
        if mode == "compiled":
            model.compile()
        steps[name] = make_step(model, options, what=what)
        rows[name]["first_call_s"] = timed(steps[name], options.device)
        print(f"  {name}: first call {rows[name]['first_call_s']:.1f} s", file=sys.stderr)
        if options.device.startswith("cuda"):
            rows[name]["memory_mib"] = cuda_memory(steps[name])
    for step in steps.values():
        for _ in range(options.warmup):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(options.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(timed(steps[name], options.device))
        print(f"\r  round {number + 1} of {options.rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    for name, values in seconds.items():
        quarters = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        rows[name] |= {
            "median_s": statistics.median(values),
            "quartiles_s": [quarters[0], quarters[2]],
            "images_per_second": options.batch / statistics.median(values),
            "seconds": values,
        }
        if options.reference in seconds:
            pairs = zip(values, seconds[options.reference], strict=True)
            rows[name]["ratio"] = statistics.median(own / other for own, other in pairs)
    return rows


def cuda_memory(step: Callable[[], None]) -> float:
    """Peak GPU memory of one step beyond what was allocated before it, MiB."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def cpu_memory(name: str, options: argparse.Namespace, *, mode: str, what: str) -> float:
    """Peak memory of a step beyond model and images, MiB, in a process of its own."""
    command = [sys.executable, __file__, "peak", "--models", name, "--modes", mode]
    command += ["--passes", what, "--batch", str(options.batch), "--size", str(options.size)]
    command += ["--threads", str(options.threads)]
    command += ["--channels-last"] if options.channels_last else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def peak(options: argparse.Namespace) -> None:
    """Print the peak memory of one model's step, MiB; run by :func:`cpu_memory`."""
    torch.set_num_threads(options.threads)
    model = build(options.models[0], options)
    if options.modes[0] == "compiled":
        model.compile()
    step = make_step(model, options, what=options.passes[0])
    step()  # compiles what is to be compiled, and fills the allocator's reserves of one-off things
    model.zero_grad(set_to_none=True)
    # What the allocator keeps in reserve goes back first, and Linux is asked to forget the highest
    # use so far: imports and compilation are in it.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_kib("VmRSS")
    step()
    print((resident_kib("VmHWM") - before) / 2**10)


def resident_kib(kind: str) -> int:
    """Memory of this process as Linux counts it: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def run(options: argparse.Namespace) -> None:
    """Measure everything asked for, and write it to ``--out`` after every condition."""
    torch.set_num_threads(options.threads)
    record = describe_run([])
    record.pop("folder")
    record["command"] = "python " + shlex.join(["benchmarks/backbones.py", *sys.argv[1:]])
    record["hardware"]["threads"] = options.threads
    result: dict[str, Any] = {
        **record,
        "load_before": list(os.getloadavg()),
        "settings": {
            "device": options.device,
            "dtype": "float32",
            "matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
            "channels_last": options.channels_last,
            "batch": options.batch,
            "size": options.size,
            "rounds": options.rounds,
            "warmup": options.warmup,
            "reference": options.reference,
        },
        "conditions": [],
    }
    for mode, what in itertools.product(options.modes, options.passes):
        print(f"{mode}, {what}", file=sys.stderr)
        rows = compare(options, mode=mode, what=what)
        if options.memory and options.device == "cpu":
            for name, row in rows.items():
                row["memory_mib"] = cpu_memory(name, options, mode=mode, what=what)
        result["conditions"].append({"mode": mode, "pass": what, "models": rows})
        write_json(options.out, result)
    print(f"wrote {options.out}", file=sys.stderr)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "peak"):
        sub = commands.add_parser(name)
        sub.add_argument("--models", nargs="+", default=list(MODELS))
        sub.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
        sub.add_argument("--passes", nargs="+", choices=PASSES, default=list(PASSES))
        sub.add_argument("--batch", type=int, default=8)
        sub.add_argument("--size", type=int, default=224, help="height and width in pixels")
        sub.add_argument("--device", default="cpu")
        sub.add_argument("--threads", type=int, default=torch.get_num_threads())
        sub.add_argument("--channels-last", action="store_true")
        sub.add_argument("--rounds", type=int, default=20)
        sub.add_argument("--warmup", type=int, default=2)
        sub.add_argument("--reference", default=REFERENCE)
        sub.add_argument("--memory", action="store_true", help="CPU: peak memory (Linux)")
        sub.add_argument("--out", type=Path, default=Path("benchmarks/results/backbones.json"))
    sub = commands.add_parser("table")
    sub.add_argument("results", nargs="+", type=Path)
    sub.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    return parser.parse_args()


if __name__ == "__main__":
    chosen = parse()
    if chosen.command == "run":
        run(chosen)
    elif chosen.command == "peak":
        peak(chosen)
    else:
        from backbones_table import write_page

        write_page(chosen.results, chosen.out)
