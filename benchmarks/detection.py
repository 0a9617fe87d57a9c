"""Cost of detectors: parameters and multiply-adds, and time and memory of a training step.

    python benchmarks/detection.py --complexity
    python benchmarks/detection.py --device cuda --dtype bfloat16 --size 800 1280 --batch 2

The step is timed beside that of torchvision's own Mask R-CNN on timm's convformer_s18, in turns:
the same heads and numbers of samples, the same images (noise with rectangles as objects). Prints a
table; ``--out`` writes it as JSON, too.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

from spanetv2.benchmark.memory import cuda_peak, run_and_watch
from spanetv2.benchmark.timing import Step, interleave, speed_ratio, summary
from spanetv2.environment import describe_environment
from spanetv2.models.costs import count_parameters
from spanetv2.table import Table
from spanetv2.tasks.detection.complexity import multiply_adds
from spanetv2.tasks.detection.model import Detector, create_detector
from spanetv2.tasks.detection.options import SYSTEMS, DetectorOptions

REFERENCE = "torchvision mask_rcnn convformer_s18"
OBJECTS = 8


def complexity() -> list[dict[str, Any]]:
    """Every published system at 800 x 1280, and the reference."""
    rows = []
    for system in SYSTEMS:
        for backbone in ("s18_pure", "s18_hybrid", "s36_pure", "s36_hybrid", "convformer_s18"):
            with torch.device("meta"):
                detector = create_detector(backbone, 80, DetectorOptions(system=system))
            cost = multiply_adds(detector)
            rows.append(
                {
                    "system": f"{system} {backbone}",
                    "parameters_m": count_parameters(detector) / 1e6,
                    "gmacs_as_papers_count": cost.layers / 1e9,
                    "gmacs_all_products": cost.products / 1e9,
                }
            )
    return rows


def reference(detector: Detector) -> MaskRCNN:
    """torchvision's model on a detector's pyramid, with its numbers of samples."""
    return MaskRCNN(
        copy.deepcopy(detector.pyramid),
        num_classes=detector.num_classes + 1,
        rpn_post_nms_top_n_train=detector.options.proposals_train,
        _skip_resize=True,
    )


def scenes(
    batch: int, size: tuple[int, int], device: str
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images of noise with rectangles, and what they are."""
    generator = torch.Generator().manual_seed(0)
    images, targets = [], []
    limits = torch.tensor([size[1], size[0]])
    for _ in range(batch):
        corners = torch.rand(OBJECTS, 2, generator=generator) * limits * 0.6
        sides = (0.1 + 0.3 * torch.rand(OBJECTS, 2, generator=generator)) * limits
        boxes = torch.cat([corners, corners + sides], 1)
        masks = torch.zeros(OBJECTS, *size, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        images.append(torch.rand(3, *size, generator=generator).to(device))
        labels = torch.randint(1, 81, (OBJECTS,), generator=generator)
        target = {"boxes": boxes, "labels": labels, "masks": masks}
        targets.append({name: value.to(device) for name, value in target.items()})
    return images, targets


def training_step(model: nn.Module, data: Any, device: str, dtype: torch.dtype) -> Step:
    """Forward, backward and an update of AdamW."""
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    images, targets = data

    def run() -> None:
        torch.manual_seed(0)
        enabled = dtype != torch.float32
        with torch.autocast(device.split(":")[0], dtype=dtype, enabled=enabled):
            losses = model(images, targets)
        optimizer.zero_grad()
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        optimizer.step()

    return Step(run, lambda: optimizer.zero_grad(), count_parameters(model))


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and memory of a training step of each system, and of the reference."""
    size, device = tuple(arguments.size), arguments.device
    data = scenes(arguments.batch, size, device)
    dtype = getattr(torch, arguments.dtype)
    torch.manual_seed(0)
    models: dict[str, nn.Module] = {
        REFERENCE: reference(create_detector("convformer_s18", 80, DetectorOptions()))
    }
    for system in SYSTEMS:
        for backbone in arguments.backbones:
            name = f"{system} {backbone}"
            models[name] = create_detector(backbone, 80, DetectorOptions(system=system))
    steps = {n: training_step(model, data, device, dtype) for n, model in models.items()}
    seconds = interleave(steps, rounds=arguments.rounds, warmup=arguments.warmup, device=device)
    rows = []
    for name, step in steps.items():
        cuda = device.startswith("cuda")
        memory = cuda_peak(step, device) if cuda else run_and_watch(step)
        rows.append(
            {
                "system": name,
                **summary(seconds[name]),
                "memory_mib": memory,
                "speed_ratio": speed_ratio(seconds[name], seconds[REFERENCE]),
            }
        )
    return rows


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Cost of detectors.")
    parser.add_argument("--complexity", action="store_true", help="count instead of timing")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--size", type=int, nargs=2, default=[800, 1280], help="rows, columns")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--backbones", nargs="+", default=["s18_pure", "s18_hybrid"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = complexity() if arguments.complexity else measure(arguments)
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
