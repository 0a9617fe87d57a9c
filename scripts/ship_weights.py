"""Turn a finished run into weights that come with the package, and write their card.

The weights are rounded to half precision, measured as they are then, and written to
``src/spanetv2/weights`` with what was measured:

python scripts/ship_weights.py runs/fashion_mnist spanetv2_pico_pure.fashion_mnist
python scripts/ship_weights.py runs/mask_rcnn spanetv2_pico_pure.scenes_mask_rcnn --data data/scenes
"""

import argparse
import hashlib
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
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights import Checkpoint, read_checkpoint, save_state_dict
from spanetv2.models.weights.record import DEFAULT_TASK
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


def record_of(checkpoint: Checkpoint, extra: dict[str, Any]) -> dict[str, Any]:
    """What the file says about itself."""
    record = {
        "model_name": checkpoint.model_name,
        "model_kwargs": checkpoint.model_kwargs,
        "classes": checkpoint.classes,
        "preprocessing": checkpoint.preprocessing,
        "extra": extra,
    }
    return record if checkpoint.task == DEFAULT_TASK else {"task": checkpoint.task, **record}


def measure(file: Path, about: About, data: str | None) -> dict[str, Any]:
    """What `spanetv2 evaluate` finds for a file."""
    done = evaluate(file, data, dataset=about.dataset, device="cpu", progress=True)
    print(done.measurement.text())
    return done.measurement.to_json()


def card(
    name: str, checkpoint: Checkpoint, about: About, figures: dict[str, Any], run: Path
) -> str:
    """The text about the weights, in Markdown."""
    variant = name.partition(".")[0]
    versions = json.loads((run / "versions.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    before = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    training, hardware, packages = before["training"], versions["hardware"], versions["packages"]
    file = FOLDER / f"{name}.safetensors"
    content = file.read_bytes()
    numbers = sum(v.numel() for v in checkpoint.state_dict.values() if v.is_floating_point())
    titles = find_task(checkpoint.task).figure_titles
    rows = "\n".join(
        f"| {title} | {shown(key, figures[key])} | {shown(key, before[key])} |"
        for key, title in titles.items()
        if key in figures
    )
    made = about.dataset is None
    options = " --data data/scenes" if made else f" --dataset {about.dataset}"
    override = "" if config["model"]["name"] in recipe_text(about) else f" --model.name {variant}"
    scenes = "spanetv2 scenes data/scenes\n" if made else ""
    task = checkpoint.task
    length = f"{training['updates']:,} updates, {training['seconds'] / 60:.0f} minutes"
    if "epochs" in training:
        length = f"{training['epochs']} epochs, {length}"
    return f"""# {name}

{variant} for {task}: {summary(about, task, figures)}.

```sh
{scenes}spanetv2 predict {name} {about.example}
spanetv2 evaluate {name}{options}
```

```python
{find_task(task).loading_example(name)}
```

| | |
|---|---|
| file | {len(content):,} bytes, half precision (computed with in float32) |
| SHA-256 | `{hashlib.sha256(content).hexdigest()}` |
| weights | {numbers / 1e6:.2f} M numbers |
| input | {inputs(checkpoint)} |
| classes | {", ".join(checkpoint.classes or [])} |
| data | {about.data} |
| training | `spanetv2 train {task} --config {about.recipe}{override}`, seed {config["seed"]} |
| length | {length} |
| hardware | {hardware["processor"]}, {hardware["machine"]}; threads: {hardware["threads"]} |
| versions | torch {packages["torch"]}, timm {packages["timm"]}, Python {versions["python"]} |
| commit | {versions["commit"]} |
| licence | Apache-2.0 |

Measured with `spanetv2 evaluate` on {figures["images"]:,} images that it was not trained on:

| | this file | the run, before rounding |
|---|---|---|
{rows}

## Limits

{about.limits}
"""


def shown(key: str, value: float) -> str:
    """A figure: a percentage, but for losses."""
    return f"{value:.4f}" if key == "loss" else f"{100 * value:.2f} %"


def summary(about: About, task: str, figures: dict[str, Any]) -> str:
    """The figures in half a line."""
    titles = find_task(task).figure_titles
    shares = {key: shown(key, figures[key]) for key in titles if key in figures}
    return about.summary.format(**shares, images=f"{figures['images']:,}")


def inputs(checkpoint: Checkpoint) -> str:
    """Size and colours of images, and what the network is made for."""
    options = checkpoint.model_kwargs
    size = find_task(checkpoint.task).describe_input(checkpoint)
    colours = {1: "grey", 3: "RGB"}[options["in_chans"]]
    return f"{colours}, {size}; stem of stride {options['stem_stride']}"


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
        save_state_dict(state, trial, record_of(checkpoint, checkpoint.extra))
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
    save_state_dict(state, target, record_of(checkpoint, extra))
    if (size := target.stat().st_size) > LARGEST:
        target.unlink()
        raise UserError(f"got {size:,} bytes, expected at most {LARGEST:,}")
    write_text(target.with_suffix(".md"), card(name, checkpoint, about, figures, run))
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
