"""``spanetv2 predict``: a trained model's answer for image files."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer

from spanetv2.text import printable

if TYPE_CHECKING:
    from spanetv2.data.images import Failure
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.classification.predict import Prediction

__all__ = ["predict", "printable"]

_SHEET = 48


def predict(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Weights: .safetensors, a run folder, the authors' .pth, a training .ckpt, or a "
            "name of weights in the package (see `spanetv2 models`)."
        ),
    ],
    paths: Annotated[
        list[str], typer.Argument(help="Image files, folders (searched below), or glob patterns.")
    ],
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Classification: classes per image (default 5).")
    ] = None,
    json_out: Annotated[
        str | None,
        typer.Option(
            "--json",
            help="Classification: write JSON here instead of printing a table: an array, or one "
            "object per line for a name ending in .jsonl and for - (standard output).",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help=f"Classification: draw the first {_SHEET} images with their classes into this PNG."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Segmentation, detection: folder for label images, overlays and results "
            "(default: predictions)."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Segmentation: side of the sliding window in pixels."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Segmentation: step of the sliding window.")
    ] = None,
    score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Detection: lowest score to report (default 0.5)."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images per forward pass (default: 32 for classification, else 1)."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
) -> None:
    """Classify, segment, or find objects in image files, as the checkpoint was trained to.

    Classification prints path, class and probability separated by tabs; the others write into a
    folder. An image that cannot be read is reported on a line of its own on standard error and the
    rest goes on; the exit status is then 1.
    """
    from spanetv2.cli.tasks import only_for, task_commands
    from spanetv2.models.weights.read import read_checkpoint

    record = read_checkpoint(checkpoint)
    given = {"top_k": top_k, "json": json_out, "picture": picture}
    given |= {"out": out, "window": window, "stride": stride, "score": score}
    options = only_for(
        record.task,
        given,
        {
            "classification": ("top_k", "json", "picture"),
            "segmentation": ("out", "window", "stride"),
            "detection": ("out", "score"),
        },
    )
    common = {"device": device, "workers": workers}
    if record.task == "classification":
        _classify(record, paths, options, batch_size=batch_size or 32, **common)
    else:
        options["out"] = out or Path("predictions")
        run = task_commands(record.task).predict
        run(record, paths, **options, batch_size=batch_size or 1, **common)


def _classify(
    record: "Checkpoint",
    paths: list[str],
    options: dict[str, Any],
    *,
    batch_size: int,
    device: str,
    workers: int,
) -> None:
    from tqdm import tqdm

    from spanetv2.data.classes import class_titles, model_classes
    from spanetv2.data.images import Failure
    from spanetv2.data.preprocessing import Preprocessing, eval_transform
    from spanetv2.device import choose_device
    from spanetv2.models import load_model
    from spanetv2.tasks.classification import predict as task

    json_out, picture = options.get("json"), options.get("picture")
    chosen = choose_device(device)
    model, record = load_model(record, device=chosen)
    preprocessing = Preprocessing.of_checkpoint(model, record.preprocessing)
    names = model_classes(record.classes, cast(int, model.num_classes))
    titles = class_titles(names)
    results = task.predict(
        model,
        paths,
        transform=eval_transform(preprocessing),
        top_k=options.get("top_k", 5),
        batch_size=batch_size,
        device=chosen,
        workers=workers,
    )
    read = failed = 0
    shown: list[Prediction] = []
    quiet = json_out not in (None, "-")
    with (
        _writer(json_out, names, titles) as write,
        tqdm(unit="image", disable=not quiet, delay=1) as bar,
    ):
        for result in results:
            bar.update()
            if isinstance(result, Failure):
                failed += 1
                message = f"error: {printable(result.path)}: {printable(result.reason)}"
                tqdm.write(message, file=sys.stderr)
            else:
                read += 1
                if picture is not None and len(shown) < _SHEET:
                    shown.append(result)
            write(result)
    if picture is not None and shown:
        _draw(shown, titles, picture)
    if failed:
        print(f"{read} images classified, {failed} problems", file=sys.stderr)
        raise typer.Exit(1)


@contextlib.contextmanager
def _writer(target: str | None, names: list[str], titles: list[str]) -> Iterator[Any]:
    from spanetv2.data.images import Failure
    from spanetv2.files import json_rows

    def facts(result: "Prediction | Failure") -> dict[str, Any]:
        if isinstance(result, Failure):
            return {"path": result.path, "error": result.reason}
        ranked = zip(result.indices, result.probabilities, strict=True)
        classes = [
            {"class": names[i], "title": titles[i], "index": i, "probability": round(p, 6)}
            for i, p in ranked
        ]
        return {"path": result.path, "predictions": classes}

    def print_table(result: "Prediction | Failure") -> None:
        if isinstance(result, Failure):
            return  # on standard error already
        path = printable(result.path)
        for index, probability in zip(result.indices, result.probabilities, strict=True):
            sys.stdout.write(f"{path}\t{printable(titles[index])}\t{probability:.4f}\n")

    if target is None:
        yield print_table
        sys.stdout.flush()
    elif target == "-":
        yield lambda result: _put(sys.stdout, json.dumps(facts(result), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        with json_rows(target, lines=target.endswith(".jsonl")) as write:
            yield lambda result: write(facts(result))


def _put(stream: IO[str], text: str) -> None:
    stream.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _draw(shown: "list[Prediction]", titles: list[str], out: Path) -> None:
    from spanetv2.data.images import read_image
    from spanetv2.tasks.classification.picture import SheetRow, prediction_sheet

    images, rows = [], []
    for result in shown:
        image = read_image(result.path)
        image.thumbnail((256, 256))
        images.append(image)
        rows.append(
            SheetRow(
                predicted=titles[result.indices[0]],
                probability=min(1.0, result.probabilities[0]),
            )
        )
    prediction_sheet(images, rows, out)
