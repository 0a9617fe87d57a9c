"""Cost of segmentation models: time and memory beside a peer, and memory of a large image.

    python benchmarks/segmentation.py --mode infer --rounds 5
    python benchmarks/segmentation.py --mode train --device cuda --dtype bfloat16 --batch 8
    python benchmarks/segmentation.py --large 6000 8000

Every model is timed in turns with segmentation_models_pytorch's UPerNet on timm's convformer_s18,
of the same width and number of classes, on the same noise. ``--large`` segments one image of that
many rows and columns by sliding window, as ``spanetv2 predict`` does, and tells the most memory
that the process ever had. Prints a table; ``--out`` writes it as JSON, too.
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import nn

import spanetv2  # noqa: F401 - registers our backbones for the peer's library
from spanetv2.benchmark.memory import cuda_peak, run_and_watch
from spanetv2.benchmark.timing import Step, interleave, speed_ratio, summary
from spanetv2.environment import describe_environment
from spanetv2.models.costs import count_parameters
from spanetv2.table import Table
from spanetv2.tasks.segmentation.data.transforms import EvalTransform, Preprocessing
from spanetv2.tasks.segmentation.inference import Inference, segment
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter

CLASSES = 150
REFERENCE = "smp UPerNet convformer_s18"


def candidates(width: int) -> dict[str, nn.Module]:
    """What is measured, the reference first."""
    upernet = HeadOptions(name="upernet", width=width, auxiliary=False)
    fpn = HeadOptions(name="semantic_fpn")

    def peer(encoder: str) -> nn.Module:
        return smp.UPerNet(
            f"tu-{encoder}", encoder_weights=None, decoder_channels=width, classes=CLASSES
        )

    models: dict[str, nn.Module] = {REFERENCE: peer("convformer_s18")}
    models["smp UPerNet spanetv2_s18_pure"] = peer("spanetv2_s18_pure")
    for backbone in ("convformer_s18", "s18_pure", "s18_hybrid"):
        models[f"UPerNet {backbone}"] = create_segmenter(backbone, CLASSES, upernet)
    models["Semantic FPN s18_pure"] = create_segmenter("s18_pure", CLASSES, fpn)
    return models


def step(model: nn.Module, arguments: argparse.Namespace) -> Step:
    """A forward pass, or a forward and a backward pass."""
    device, training = arguments.device, arguments.mode == "train"
    dtype = getattr(torch, arguments.dtype)
    model.to(device).train(training)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, *arguments.size)
    images = torch.randn(shape, generator=generator).to(device)
    labels = torch.randint(0, CLASSES, (shape[0], *shape[2:]), generator=generator).to(device)

    def run() -> None:
        enabled = dtype != torch.float32
        with (
            torch.set_grad_enabled(training),
            torch.autocast(device.split(":")[0], dtype=dtype, enabled=enabled),
        ):
            scores = model(images)
        if training:
            nn.functional.cross_entropy(scores.float(), labels).backward()

    count = count_parameters(model)
    return Step(run, lambda: model.zero_grad(set_to_none=True), count)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and memory of every candidate."""
    torch.manual_seed(0)
    steps = {n: step(m, arguments) for n, m in candidates(arguments.width).items()}
    device = arguments.device
    seconds = interleave(steps, rounds=arguments.rounds, warmup=arguments.warmup, device=device)
    rows = []
    for name, one in steps.items():
        memory = cuda_peak(one, device) if device.startswith("cuda") else run_and_watch(one)
        rows.append(
            {
                "model": name,
                "parameters_m": one.parameters / 1e6,
                **summary(seconds[name]),
                "memory_mib": memory,
                "speed_ratio": speed_ratio(seconds[name], seconds[REFERENCE]),
            }
        )
    return rows


def large(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One large image by sliding window: seconds, and the most memory of the whole process."""
    rows, columns = arguments.large
    head = HeadOptions(name="upernet", width=arguments.width)
    model = create_segmenter(arguments.backbone, CLASSES, head)
    model = model.to(arguments.device).eval()
    preprocessing = Preprocessing(size=None)
    noise = np.random.default_rng(0).integers(0, 256, (rows // 8, columns // 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((columns, rows))
    start = time.perf_counter()
    labels = segment(
        model,
        [view[None] for view in EvalTransform(preprocessing).views(image)],
        size=(rows, columns),
        preprocessing=preprocessing,
        inference=Inference(window=arguments.window),
        device=arguments.device,
    )
    seconds = time.perf_counter() - start
    assert labels.shape == (1, rows, columns)
    return [
        {
            "model": f"UPerNet {arguments.backbone}",
            "rows": rows,
            "columns": columns,
            "window": arguments.window,
            "seconds_all": seconds,
            "peak_process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        }
    ]


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Cost of segmentation models.")
    parser.add_argument("--mode", default="infer", choices=["infer", "train"])
    parser.add_argument("--large", type=int, nargs=2, help="rows, columns of one image")
    parser.add_argument("--backbone", default="s18_pure", help="of --large")
    parser.add_argument("--window", type=int, default=512, help="of --large")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--size", type=int, nargs=2, default=[512, 512], help="rows, columns")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--width", type=int, default=512, help="of UPerNet")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments) if arguments.large is None else large(arguments)
    shown = [key for key in rows[0] if key not in ("seconds", "quartiles_s")]
    cells = [[row[key] for key in shown] for row in rows]
    lines = [[f"{c:.3f}" if isinstance(c, float) else str(c) for c in line] for line in cells]
    print(Table("", shown, lines).text())
    if arguments.out is not None:
        settings = {k: str(v) for k, v in vars(arguments).items() if k != "out"}
        record = {"settings": settings, "environment": describe_environment(), "rows": rows}
        arguments.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
