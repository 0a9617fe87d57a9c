"""The experiments, fixed before they run: skeleton, recipe, rows and seeds of every plan."""

import copy
from dataclasses import dataclass, replace
from typing import Any

from spanetv2.errors import UserError
from studies.mixers.matching import Skeleton, cost_of, match_widths
from studies.mixers.rows import ROWS, Row, find_row

__all__ = ["PLANS", "Plan", "Run", "find_plan", "run_config", "settings"]

CENTRAL = ("spam", "spam_no_srf", "spam_3", "sepconv", "attention")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An experiment.

    Args:
        name: as on the command line.
        title: one line.
        task: classification or segmentation.
        skeleton: what all rows share.
        rows: names of the rows that are trained.
        seeds: of every row; a seed is also the order of the images, so that rows pair up.
        recipe: configuration of a training run, one for all rows.
        jobs: runs side by side.
        threads: CPU threads of each.
        filtered_images: test images that are shown filtered, the first ones.
        probe_images: test images at which the mixers' frequency responses are taken.
    """

    name: str
    title: str
    task: str = "classification"
    skeleton: Skeleton
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    recipe: dict[str, Any]
    jobs: int
    threads: int = 1
    filtered_images: int = 5000
    probe_images: int = 16

    def runs(self) -> list["Run"]:
        """All runs: every row of the first seed, then of the second, and so on."""
        return [Run(plan=self, row=find_row(row), seed=s) for s in self.seeds for row in self.rows]

    def chosen(
        self, rows: list[str] | None = None, seeds: list[int] | None = None, jobs: int | None = None
    ) -> "Plan":
        """The plan with other rows, seeds or runs side by side.

        Raises:
            UserError: an unknown row, a negative seed, or no runs.
        """
        changes: dict[str, Any] = {}
        if rows is not None:
            changes["rows"] = tuple(dict.fromkeys(find_row(name).name for name in rows))
        if seeds is not None:
            if any(seed < 0 for seed in seeds):
                raise UserError(f"got seeds {seeds}, expected numbers from 0 up")
            changes["seeds"] = tuple(dict.fromkeys(seeds))
        if jobs is not None:
            if jobs < 1:
                raise UserError(f"got {jobs} jobs, expected at least 1")
            changes["jobs"] = jobs
        found = replace(self, **changes)
        if not found.runs():
            raise UserError("got no rows or no seeds, expected at least one of each")
        return found


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of one row."""

    plan: Plan
    row: Row
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.row.name}-seed{self.seed}"

    @property
    def dims(self) -> tuple[int, int, int, int]:
        """Channels per stage."""
        return match_widths(self.row, self.plan.skeleton)

    def facts(self) -> dict[str, Any]:
        """What the run is, as JSON values."""
        cost = cost_of(self.row, self.plan.skeleton, self.dims)
        return {
            "plan": self.plan.name,
            "row": self.row.name,
            "seed": self.seed,
            "depths": list(self.plan.skeleton.depths),
            "dims": list(self.dims),
            "mixers": list(self.row.mixers),
            "head_order": self.row.head_order,
            "gate": self.row.gate,
            "parameters": cost.parameters,
            "multiply_adds": cost.multiply_adds,
        }


def run_config(run: Run, *, out: str, data: str | None, device: str) -> dict[str, Any]:
    """The configuration of a training run, as a recipe would hold it.

    Args:
        run: which.
        out: the run folder.
        data: folder of the data set; None where the reader looks by itself.
        device: cpu or cuda.
    """
    config = copy.deepcopy(run.plan.recipe)
    skeleton = run.plan.skeleton
    config |= {"out": out, "seed": run.seed}
    config["model"] = {
        **config.get("model", {}),
        "name": "spanetv2_pico_pure",  # the skeleton's layers; what differs follows
        "stem_stride": skeleton.stem_stride,
        "head_order": run.row.head_order,
        "gate": run.row.gate,
        "kwargs": {
            "depths": list(skeleton.depths),
            "dims": list(run.dims),
            "mixers": list(run.row.mixers),
        },
    }
    if data is not None:
        config["data"]["root"] = data
    config["trainer"] |= {
        "accelerator": "gpu" if device == "cuda" else "cpu",
        "devices": 1,
        "enable_progress_bar": False,
    }
    return config


def settings(values: Any) -> Any:
    """What a result depends on: not where the run is, nor which device computes it."""
    if not isinstance(values, dict):
        return values
    return {name: settings(value) for name, value in values.items() if name not in _WHERE}


_WHERE = ("out", "root", "device", "accelerator", "devices", "enable_progress_bar")


def _fashion_mnist(epochs: int, *, warmup_updates: int) -> dict[str, Any]:
    """Fashion-MNIST's shipped recipe with another length, all 60,000 images, and no validation:
    the test images are seen once, when the run is over."""
    return {
        "log_every": 25,
        "data": {
            "dataset": "fashion_mnist",
            "total_batch": 128,
            "val_split": None,
            "workers": 0,
        },
        "preprocessing": {"input_size": [1, 28, 28], "mean": [0.286], "std": [0.353]},
        "augmentation": {"crop": "none", "shift": 1, "hflip": 0.5, "interpolation": "bilinear"},
        "mixing": {"label_smoothing": 0.1},
        "optimizer": {"name": "adamw", "lr": 3.0e-3, "weight_decay": 0.05},
        "schedule": {
            "name": "cosine",
            "step": "update",
            "warmup_updates": warmup_updates,
            "min_lr": 1.0e-5,
        },
        "trainer": {"max_epochs": epochs, "gradient_clip_val": 1.0},
    }


def _scenes(updates: int) -> dict[str, Any]:
    """The built-in scenes' shipped recipe with another length. The held-out scenes are seen once,
    when the run is over."""
    return {
        "log_every": 25,
        "class_weights": {"background": 0.07},
        "model": {"img_size": 192, "drop_path": 0.0},
        "head": {
            "name": "semantic_fpn",
            "width": 32,
            "neck": 32,
            "dropout": 0.0,
            "auxiliary": True,
            "auxiliary_width": 32,
        },
        "data": {"dataset": "ade20k", "total_batch": 8, "val_batch_size": 8, "workers": 1},
        "preprocessing": {"size": [192, 192]},
        "augmentation": {
            "scale": [0.9, 1.0],
            "crop": 192,
            "max_share": 1.0,
            "hflip": 0.0,
            "photometric": 0.0,
        },
        "optimizer": {"name": "muon", "lr": 5.0e-3, "weight_decay": 0.05},
        "schedule": {
            "name": "cosine",
            "updates": updates,
            "validate_every": updates,
            "warmup_updates": 50,
            "min_lr": 1.0e-5,
        },
        "checkpoints": {"every_steps": 500},
        "trainer": {"gradient_clip_val": 5.0},
    }


_PICO = Skeleton(
    depths=(2, 2, 4, 1),
    dims=(24, 48, 96, 128),
    stem_stride=2,
    image=(1, 28, 28),
    num_classes=10,
)

PLANS: dict[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan(
            name="cpu",
            title="Fashion-MNIST, five mixers, two epochs, for two CPU cores",
            skeleton=Skeleton(
                depths=(1, 1, 2, 1),
                dims=(16, 32, 64, 96),
                stem_stride=2,
                image=(1, 28, 28),
                num_classes=10,
            ),
            rows=CENTRAL,
            seeds=(0, 1, 2),
            recipe=_fashion_mnist(2, warmup_updates=100),
            jobs=2,
        ),
        Plan(
            name="gpu",
            title="Fashion-MNIST, all mixers, pico, thirty epochs, for one GPU",
            skeleton=_PICO,
            rows=tuple(ROWS),
            seeds=(0, 1, 2, 3, 4),
            recipe=_fashion_mnist(30, warmup_updates=469),
            jobs=12,
            filtered_images=10_000,
        ),
        Plan(
            name="gpu_scenes",
            title="segmentation of the built-in scenes, all mixers, pico, for one GPU",
            task="segmentation",
            skeleton=replace(_PICO, stem_stride=4, image=(3, 192, 192), num_classes=0),
            rows=tuple(ROWS),
            seeds=(0, 1, 2, 3, 4),
            recipe=_scenes(2500),
            jobs=12,
        ),
    )
}


def find_plan(name: str) -> Plan:
    """A plan by name.

    Raises:
        UserError: no such plan.
    """
    if name not in PLANS:
        raise UserError(f"got plan {name!r}, expected one of {', '.join(PLANS)}")
    return PLANS[name]
