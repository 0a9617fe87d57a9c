"""``spanetv2 quickstart``: train on handwritten digits, then show everything on one page."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spanetv2.training.run import RunResult

__all__ = ["quickstart"]

RECIPE = "digits"
DEFAULT_FOLDER = Path("runs/quickstart")


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for weights, metrics and pictures.")] = (
        DEFAULT_FOLDER
    ),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train this long instead of the recipe's length.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run that is already in the folder.")
    ] = False,
) -> None:
    """Train a small SPANetV2 on scikit-learn's handwritten digits, and show what it learned.

    1,797 real images that ship with scikit-learn; a fixed fifth of them is held out. Takes a few
    minutes on two cores. What the default folder already holds is replaced.
    """
    import spanetv2
    from spanetv2.page import promise_page
    from spanetv2.training.recipes import find_recipe, recipe_task

    if out != DEFAULT_FOLDER:
        promise_page(out)
    overrides: dict[str, Any] = {}
    if epochs is not None:
        # The recipe's warm-up would be all of a very short run.
        overrides = {"trainer.max_epochs": epochs, "schedule.warmup_epochs": min(3, epochs // 4)}
    task = recipe_task(find_recipe(RECIPE))
    assert task is not None
    start = time.perf_counter()
    try:
        result = spanetv2.train(
            task,
            RECIPE,
            out=out,
            overwrite=overwrite or out == DEFAULT_FOLDER,
            overrides=overrides,
        )
    except spanetv2.Interrupted as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(stopped.status) from None
    files = show(result)
    _tell(result, files, seconds=time.perf_counter() - start)


def show(result: "RunResult") -> dict[str, Path]:
    """Draw the pictures of a finished run on the digits, and write its page.

    Returns:
        What was written, name for people -> file.
    """
    from spanetv2.models.weights.read import read_checkpoint
    from spanetv2.tasks import find_task

    folder = result.folder
    return find_task(read_checkpoint(result.weights).task).write_page(
        folder,
        title="SPANetV2 quick start: handwritten digits",
        facts={"data": "handwritten digits, a fifth held out", **_training_facts(result.metrics)},
        commands=[
            (
                "Classify images of your own (light strokes on a dark ground, like these digits):",
                f"spanetv2 predict {folder} IMAGE_OR_FOLDER",
            ),
            (
                "Paint over the frequencies of an image, and watch this network answer:",
                f"spanetv2 explore {folder} --out {folder / 'lab.html'}",
            ),
            (
                "Train on your own folder of images, with train/ and val/ in it and in each one "
                "folder per class:",
                "spanetv2 train classification --config finetune --data /path/to/images "
                "--weights CHECKPOINT --out runs/mine",
            ),
            ("See all recipes, and the published models:", "spanetv2 recipes; spanetv2 models"),
            (
                "Use the trained model in Python:",
                "import spanetv2\n"
                f'model, checkpoint = spanetv2.load_model("{folder / "weights.safetensors"}")',
            ),
        ],
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )


def _training_facts(metrics: dict[str, Any]) -> dict[str, str]:
    training = metrics.get("training", {})
    facts = {}
    if "epochs" in training:
        facts["epochs"] = str(training["epochs"])
    if "seconds" in training:
        facts["training time"] = f"{training['seconds']:.0f} s"
    return facts


def _tell(result: "RunResult", files: dict[str, Path], *, seconds: float) -> None:
    metrics, folder = result.metrics, result.folder
    training = metrics.get("training", {}).get("seconds")
    spent = f"{seconds:.0f} s" + ("" if training is None else f", {training:.0f} s of it training")
    typer.echo(f"\ntop-1 on held-out images: {100 * metrics['top1']:.2f} %  ({spent})")
    written = {"weights": result.weights, "metrics": folder / "metrics.json", **files}
    for what, path in written.items():
        typer.echo(f"  {what:<17} {path}")
    typer.echo(f"open {list(written.values())[-1].resolve().as_uri()}")
