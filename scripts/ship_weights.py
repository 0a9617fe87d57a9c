"""Turn a finished run into weights that come with the package, and write their card.

The weights are rounded to half precision, measured as they are then, and written to
``src/spanetv2/weights`` with what was measured:

python scripts/ship_weights.py runs/fashion_mnist spanetv2_pico_pure.fashion_mnist
python scripts/ship_weights.py runs/mask_rcnn spanetv2_pico_pure.scenes_mask_rcnn --data data/scenes
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from spanetv2.api import evaluate
from spanetv2.errors import UserError
from spanetv2.files import write_text
from spanetv2.hub.card import (
    Card,
    describe_file,
    describe_images,
    describe_length,
    figure_rows,
    show_figure,
)
from spanetv2.hub.layout import record_of
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights import Checkpoint, read_checkpoint, save_state_dict
from spanetv2.tasks import find_task

FOLDER = Path(__file__).resolve().parents[1] / "src" / "spanetv2" / "weights"
LARGEST = 6_000_000  # bytes


@dataclass(frozen=True, kw_only=True)
class About:
    """What the files of a run do not tell."""

    recipe: str
    data: str
    dataset: str | None
    """of `spanetv2 evaluate`; None is a folder of scenes"""
    summary: str
    """half a line, with names of figures in braces"""
    example: str
    """an argument for `spanetv2 predict`"""
    limits: str


_SCENES = (
    "`spanetv2 scenes data/scenes` (seed 0): 2,000 training and 200 held-out scenes of 256 x 256 "
    "pixels, made of scikit-learn's handwritten digits and two photographs; the held-out scenes "
    "share neither a digit nor a pixel with the others"
)
_SCENES_LIMITS = (
    "Knows the ten digits as the scenes show them: smooth strokes of one colour, 24 to 96 pixels "
    "high in 256, rotated by up to 30 degrees, on cuttings of two photographs. Other handwriting, "
    "print and photographs are foreign to it. The recipe was chosen with figures on the same 200 "
    "held-out scenes in view. A demonstration and a starting point, not a product."
)
ABOUT = {
    "fashion_mnist": About(
        recipe="fashion_mnist",
        data=(
            "Fashion-MNIST (Zalando SE, MIT licence): 60,000 training and 10,000 test images of "
            "28 x 28 pixels, ten kinds of clothing"
        ),
        dataset="fashion_mnist",
        summary="{top1} top-1 on the {images} test images",
        example="image.png",
        limits=(
            "Knows single pieces of clothing as this data set shows them: light on black, centred, "
            "28 x 28 grey pixels. A photograph, or a picture on a white ground, is foreign to it "
            "and gets a confident wrong answer. The recipe was chosen with the accuracy on the "
            "same test images in view, so that it flatters a little. A demonstration and a "
            "starting point, not a product."
        ),
    ),
    "scenes_semantic_fpn": About(
        recipe="scenes/segmentation",
        data=_SCENES,
        dataset=None,
        summary="mIoU {miou} on {images} held-out scenes",
        example="data/scenes/images/validation",
        limits=_SCENES_LIMITS,
    ),
    "scenes_mask_rcnn": About(
        recipe="scenes/mask_rcnn",
        data=_SCENES,
        dataset=None,
        summary="box AP50 {box_ap50}, mask AP50 {mask_ap50} on {images} held-out scenes",
        example="data/scenes/images/validation",
        limits=_SCENES_LIMITS,
    ),
}


def check_scenes(data: str | None) -> None:
    """The scenes that cards speak of.

    Raises:
        UserError: none, or others.
    """
    if data is None:
        raise UserError("got no --data, expected the folder that `spanetv2 scenes FOLDER` makes")
    made = json.loads((Path(data) / "scenes.json").read_text(encoding="utf-8"))
    figures = [made[key] for key in ("train", "val", "seed")]
    if figures != [2000, 200, 0] or made["settings"]["size"] != 256:
        raise UserError(
            f"got {data} of {figures}, expected 2000 + 200 scenes of seed 0, 256 pixels"
        )


def rounded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights in half precision; counters stay whole numbers.

    Raises:
        UserError: a weight is too large for it.
    """
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    if wrong := [k for k, v in halves.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise UserError(f"got {wrong[0]} beyond half precision, expected weights below 65504")
    return halves


def measure(file: Path, about: About, data: str | None) -> dict[str, Any]:
    """What `spanetv2 evaluate` finds for a file."""
    done = evaluate(file, data, dataset=about.dataset, device="cpu", progress=True)
    print(done.measurement.text())
    return done.measurement.to_json()


def card(
    name: str, checkpoint: Checkpoint, about: About, figures: dict[str, Any], run: Path
) -> Card:
    """What is said about the weights."""
    variant = name.partition(".")[0]
    versions = json.loads((run / "versions.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    before = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    hardware, packages = versions["hardware"], versions["packages"]
    made, task = about.dataset is None, checkpoint.task
    file = describe_file(FOLDER / f"{name}.safetensors", checkpoint)
    override = "" if config["model"]["name"] in recipe_text(about) else f" --model.name {variant}"
    commands = ["spanetv2 scenes data/scenes"] if made else []
    commands.append(f"spanetv2 predict {name} {about.example}")
    options = " --data data/scenes" if made else f" --dataset {about.dataset}"
    commands.append(f"spanetv2 evaluate {name}{options}")
    return Card(
        title=name,
        summary=f"{variant} for {task}: {summary(about, task, figures)}",
        usage=(("sh", "\n".join(commands)), ("python", find_task(task).loading_example(name))),
        facts={
            **file,
            "file": f"{file['file']}, half precision (computed with in float32)",
            "input": describe_images(checkpoint),
            "classes": ", ".join(checkpoint.classes or []),
            "data": about.data,
            "training": f"`spanetv2 train {task} --config {about.recipe}{override}`, seed "
            f"{config['seed']}",
            "length": describe_length(before["training"]),
            "hardware": f"{hardware['processor']}, {hardware['machine']}; threads: "
            f"{hardware['threads']}",
            "versions": f"torch {packages['torch']}, timm {packages['timm']}, Python "
            f"{versions['python']}",
            "commit": versions["commit"],
            "licence": "Apache-2.0",
        },
        measured=f"Measured with `spanetv2 evaluate` on {figures['images']:,} images that it was "
        "not trained on:",
        columns=("this file", "the run, before rounding"),
        figures=figure_rows(task, figures, before),
        limits=(about.limits,),
    )


def summary(about: About, task: str, figures: dict[str, Any]) -> str:
    """The figures in half a line."""
    titles = find_task(task).figure_titles
    shares = {key: show_figure(key, figures[key]) for key in titles if key in figures}
    return about.summary.format(**shares, images=f"{figures['images']:,}")


def recipe_text(about: About) -> str:
    """The recipe's file."""
    from spanetv2.cli.recipes import find_recipe

    return find_recipe(about.recipe).read_text(encoding="utf-8")


def ship(run: Path, name: str, data: str | None) -> None:
    """Write the file and its card.

    Raises:
        UserError: an unknown name, another model than it says, or too large a file.
    """
    variant, _, tag = name.partition(".")
    if variant not in VARIANTS or tag not in ABOUT:
        raise UserError(f"got {name}, expected a variant and one of {', '.join(ABOUT)}")
    about = ABOUT[tag]
    if about.dataset is None:
        check_scenes(data)
    checkpoint = read_checkpoint(run)
    if checkpoint.model_name != variant:
        raise UserError(f"got a run of {checkpoint.model_name}, expected {variant}")
    state = rounded(checkpoint.state_dict)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "weights.safetensors"
        save_state_dict(state, trial, record_of(checkpoint))
        figures = measure(trial, about, data)
    commit = json.loads((run / "versions.json").read_text(encoding="utf-8"))["commit"]
    extra = {
        **checkpoint.extra,
        **{k: figures[k] for k in find_task(checkpoint.task).figure_titles if k in figures},
        "summary": summary(about, checkpoint.task, figures),
        "recipe": about.recipe,
        "commit": commit,
    }
    target = FOLDER / f"{name}.safetensors"
    save_state_dict(state, target, {**record_of(checkpoint), "extra": extra})
    if (size := target.stat().st_size) > LARGEST:
        target.unlink()
        raise UserError(f"got {size:,} bytes, expected at most {LARGEST:,}")
    write_text(target.with_suffix(".md"), card(name, checkpoint, about, figures, run).text())
    print(f"{target}: {size:,} bytes, {extra['summary']}")


def main() -> None:
    """Ship the weights of one run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("name", help="variant and tag")
    parser.add_argument("--data", help="folder of the data, where evaluation needs one")
    given = parser.parse_args()
    try:
        ship(given.run, given.name, given.data)
    except UserError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
