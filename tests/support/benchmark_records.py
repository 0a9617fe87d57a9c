"""Records as a benchmark writes them, with times that are known."""

from spanetv2.benchmark.timing import speed_ratio, summary

HARDWARE = {
    "machine": "x86_64",
    "system": "Linux 6",
    "processor": "A Processor",
    "cores": 4,
    "threads": 2,
}


def record(rows, *, kind="networks", device="cpu", started="2026-01-01T00:00:00+00:00", **more):
    return {
        "kind": kind,
        "started": started,
        "command": "spanetv2 benchmark --rounds 3",
        "python": "3.11.0",
        "packages": {"torch": "2.11", "timm": "1.0"},
        "commit": "abc",
        "hardware": HARDWARE | ({"gpus": ["A GPU", "Another GPU"]} if device != "cpu" else {}),
        "settings": {
            "device": device,
            "reference": "convformer_s18",
            "channels_last": False,
            "matmul_precision": "highest",
            "rounds": 3,
            "warmup": 1,
        },
        "cells": rows,
        **more,
    }


def row(model, seconds, *, reference=None, **changes):
    fields = {
        "mode": "compiled",
        "work": "inference",
        "dtype": "float32",
        "batch": 8,
        "size": 224,
        "stage": None,
        **changes,
    }
    made = {"model": model, **fields, "parameters": 2_500_000, **summary(seconds)}
    made["images_per_second"] = fields["batch"] / made["median_s"]
    made["megapixels_per_second"] = made["images_per_second"] * fields["size"] ** 2 / 1e6
    if reference is not None:
        made["speed_ratio"] = speed_ratio(seconds, reference)
    return made


def operator_row(model, seconds, **changes):
    fields = {"channels": 64, "side": 56, "stage": 1, "batch": 128, "mode": "eager", **changes}
    made = row(model, seconds, **fields)
    floors = {"compute_floor_s": 0.25, "memory_floor_s": 0.5}
    return made | floors | {"floor_share": 0.5 / made["median_s"]}
