"""Whether a GPU computes what the definitions say: golden values, and logits in bfloat16.

    python benchmarks/gpu_parity.py --out benchmarks/results/gpu_parity.json

Every golden file of the tests (the authors' implementation, float32) is compared with each
implementation on the GPU, and the logits in bfloat16 with those of the reference in float32. The
exit status is 1 if one is further off than it may be.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import spanetv2
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.table import Table

TESTS = Path(__file__).resolve().parents[1] / "tests" / "models"
sys.path.insert(0, str(TESTS))
import golden  # noqa: E402 # pyright: ignore[reportMissingImports]

FLOAT32, BFLOAT16 = 1e-4, 2e-2
"""Largest difference relative to the largest value; relative norm of the difference."""
IMPLEMENTATIONS = ("auto", "reference", "fused", "optimized", "fused_optimized")


def build(path: Path) -> torch.nn.Module:
    """The network of a golden file, with the weights that the formula makes."""
    variant, form, size = golden.parse(path)
    order, _, scaled = form.partition("_")
    gate = "scaled_sigmoid" if scaled else "sigmoid"
    model = spanetv2.create_model(variant, head_order=order, gate=gate, img_size=size)
    spanetv2.load_weights(model, golden.authors_state_dict(f"{variant}/{form}"), gate=gate)
    return model.eval()


def as_named(model: torch.nn.Module, name: str, size: tuple[int, int]) -> torch.nn.Module:
    """The network by an implementation, or folded as well."""
    how = name.removesuffix("optimized").rstrip("_") or "auto"
    spanetv2.set_implementation(model, how)
    return spanetv2.optimize_for_inference(model, size) if name.endswith("optimized") else model


def golden_error(path: Path, name: str, device: str) -> float:
    """Error of one implementation on one golden file, in float32."""
    size = golden.parse(path)[2]
    with torch.inference_mode():
        logits = as_named(build(path).to(device), name, size)(golden.image(*size).to(device))
    return golden.relative_error(logits.cpu(), np.load(path)["logits"])


def half_error(model: str, name: str, device: str, batch: int) -> float:
    """Error of one implementation in bfloat16, with the weights that training starts from."""
    torch.manual_seed(0)
    network = spanetv2.create_model(model).eval().to(device)
    images = torch.randn(batch, 3, 224, 224, device=device)
    with torch.inference_mode():
        reference = spanetv2.set_implementation(network, "reference")(images)
        got = as_named(network, name, (224, 224)).bfloat16()(images.bfloat16()).float()
    return float((got - reference).norm() / reference.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description="Parity of every implementation on a GPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", default="", help="part of the golden files' names")
    chosen = parser.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU, expected one with CUDA or --device cpu")
    bounds = {"float32": FLOAT32, "bfloat16": BFLOAT16}
    rows: list[dict[str, Any]] = []
    record = {
        "kind": "parity",
        **describe_environment(),
        "bounds": bounds,
        "rows": rows,
        "cells": [],
    }
    record["settings"] = {"device": chosen.device}

    def add(what: str, name: str, dtype: str, error: float) -> None:
        rows.append({"what": what, "implementation": name, "dtype": dtype, "error": error})
        errors = {
            kind: [row["error"] for row in rows if row["dtype"] == kind] or [0.0] for kind in bounds
        }
        record["cells"] = [
            {"model": "worst", "work": "", "mode": "", "dtype": kind, "error": max(found)}
            for kind, found in errors.items()
        ]
        if chosen.out is not None:
            write_json(chosen.out, record)

    for name in IMPLEMENTATIONS:
        for path in golden.FILES:
            if chosen.only in path.stem:
                add(path.stem, name, "float32", golden_error(path, name, chosen.device))
        for model in ("s18_pure", "s18_hybrid"):
            error = half_error(model, name, chosen.device, chosen.batch)
            add(f"logits of {model}", name, "bfloat16", error)
    body = [[r["what"], r["implementation"], r["dtype"], f"{r['error']:.1e}"] for r in rows]
    print(Table("Parity", ["what", "implementation", "dtype", "error"], body).text())
    good = [row["error"] <= bounds[row["dtype"]] for row in rows]
    print(f"{sum(good)} of {len(good)} within {FLOAT32} (float32) and {BFLOAT16} (bfloat16)")
    sys.exit(not (good and all(good)))


if __name__ == "__main__":
    main()
