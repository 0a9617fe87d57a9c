"""Backbones as detectors use them: the maps of four stages, of images that are not square.

    python benchmarks/gpu_features.py --out benchmarks/results/gpu_features.json

Inference, and forward and backward under autocast, in turns; medians, and ratios to the last model.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.benchmark.memory import cuda_peak
from spanetv2.benchmark.networks import compiled
from spanetv2.benchmark.settings import full_label, split_label
from spanetv2.benchmark.timing import Step, interleave, speed_ratio, summary, timed
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.models import set_implementation
from spanetv2.models.costs import count_parameters
from spanetv2.models.features import create_backbone
from spanetv2.models.variants import VARIANTS
from spanetv2.table import Table

MODELS = ("s18_pure@fused", "s18_pure", "convformer_s18")


def step(
    label: str, work: str, mode: str, images: Tensor, dtype: torch.dtype | None
) -> tuple[Step, nn.Module]:
    """A pass of a backbone over images; with gradients if the work is training."""
    name, how = split_label(full_label(label))
    torch.manual_seed(0)
    # Filters are resized to the images once, not in every pass.
    sized: dict[str, Any] = {"img_size": tuple(images.shape[2:])} if name in VARIANTS else {}
    model: nn.Module = create_backbone(name, **sized)
    if how is not None:
        set_implementation(model, how)
    training = work == "training"
    model = model.to(images.device).train(training)
    if images.device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    call = compiled(model) if mode == "compiled" else model

    def run() -> Any:
        mixed = nullcontext() if dtype is None else torch.autocast(images.device.type, dtype)
        with torch.set_grad_enabled(training), mixed:
            maps = call(images)
        if training:
            torch.stack([one.float().square().mean() for one in maps]).sum().backward()
        return maps

    tidy = lambda: model.zero_grad(set_to_none=True)  # noqa: E731
    return Step(run=run, tidy=tidy, parameters=count_parameters(model)), model


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of backbones on images of any shape.")
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "none"))
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1280), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--mode", nargs="+", default=("eager", "compiled"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=None)
    chosen = parser.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU, expected one with CUDA or --device cpu")
    dtype = None if chosen.dtype == "none" else getattr(torch, chosen.dtype)
    images = torch.randn(chosen.batch, 3, *chosen.size, device=chosen.device)
    images = images.contiguous(memory_format=torch.channels_last)
    rows: list[dict[str, Any]] = []
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(chosen).items()}
    record = {"kind": "features", **describe_environment(), "cells": rows}
    record["settings"] = settings | {"out": None}
    for work in ("inference", "training"):
        for mode in chosen.mode:
            steps: dict[str, Step] = {}
            kept: list[nn.Module] = []
            for label in chosen.models:
                steps[label], model = step(label, work, mode, images, dtype)
                kept.append(model)
                timed(steps[label], chosen.device)
            cuda = chosen.device.startswith("cuda")
            peaks = {n: cuda_peak(s, chosen.device) for n, s in steps.items()} if cuda else {}
            seconds = interleave(steps, rounds=chosen.rounds, warmup=2, device=chosen.device)
            for label, times in seconds.items():
                row = {"model": full_label(label), "work": work, "mode": mode, **summary(times)}
                row |= {"dtype": chosen.dtype, "batch": chosen.batch}
                row["speed_ratio"] = speed_ratio(times, seconds[chosen.models[-1]])
                row["memory_mib"] = peaks.get(label)
                rows.append(row)
            if chosen.out is not None:
                write_json(chosen.out, record)
    body = [
        [r["work"], r["mode"], r["model"], f"{1000 * r['median_s']:.1f}", f"{r['speed_ratio']:.2f}"]
        for r in rows
    ]
    header = ["pass", "mode", "model", "ms", f"speed / {chosen.models[-1]}"]
    print(Table(f"{chosen.size[0]} x {chosen.size[1]}, batch {chosen.batch}", header, body).text())


if __name__ == "__main__":
    main()
