"""``spanetv2 evaluate``: measure a checkpoint on a data set."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.classification.data.source import ImageSource, StreamSource
    from spanetv2.tasks.classification.data.sources import DatasetSpec
    from spanetv2.tasks.classification.evaluate import EvaluationResult

__all__ = ["evaluate"]

_ROWS = 100
_PAIRS = 10


def evaluate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Weights: .safetensors, a run folder, the authors' .pth, a training .ckpt, or a "
            "name of weights in the package (see `spanetv2 models`)."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of the data, such as ImageNet's with val/n01440764/... inside. Digits and "
            "an installed Fashion-MNIST need none."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Classification: folder, digits, fashion_mnist, tar, torch/NAME, hfds/NAME, "
            "hfids/NAME or wds. Segmentation: ade20k or folder. Detection: coco."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of the data (default: its validation split).")
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write all figures into this file.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw into this PNG: the confusion matrix, or images with what was found."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Segmentation: side of the sliding window; none is whole images."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Segmentation: step of the sliding window.")
    ] = None,
    scales: Annotated[
        list[float] | None,
        typer.Option("--scale", help="Segmentation: scales to average over; repeat the option."),
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip", help="Segmentation: average with the mirror image.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images per forward pass (default: 64 for classification, else 1)."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    class_file: Annotated[
        str | None,
        typer.Option(help="Names of the data's classes, one per line, where it has none (wds)."),
    ] = None,
    num_samples: Annotated[
        int | None, typer.Option(min=1, help="Images in a stream that does not tell (wds, hfids).")
    ] = None,
    download: Annotated[bool, typer.Option(help="Fetch the data if it is missing.")] = False,
) -> None:
    """Measure a checkpoint on a data set, as its task is measured.

    Classification: top-1, top-5, loss, per-class figures and confusions; the data's classes are
    matched with the checkpoint's by name, so they may be a part of them. Segmentation: mIoU, IoU
    per class, pixel accuracy. Detection: COCO's box and mask AP. Images that cannot be read are
    reported on standard error and left out; the exit status is then 1.
    """
    from spanetv2.cli.tasks import only_for, task_commands
    from spanetv2.models.weights.read import read_checkpoint

    record = read_checkpoint(checkpoint)
    given = {"class_file": class_file, "num_samples": num_samples, "download": download or None}
    given |= {"window": window, "stride": stride, "scales": scales or None, "flip": flip}
    options = only_for(
        record.task,
        given,
        {
            "classification": ("class_file", "num_samples", "download"),
            "segmentation": ("window", "stride", "scales", "flip"),
            "detection": (),
        },
    )
    common: dict[str, Any] = {"data": data, "json_out": json_out, "picture": picture}
    common |= {"device": device, "workers": workers}
    if record.task == "classification":
        options |= {"dataset": dataset or "folder", "split": split or "val"}
        _classification(record, **options, batch_size=batch_size or 64, **common)
    else:
        run = task_commands(record.task).evaluate
        run(record, dataset=dataset, split=split, **options, batch_size=batch_size or 1, **common)


def _classification(
    record: "Checkpoint",
    *,
    data: str | None,
    dataset: str,
    split: str,
    json_out: Path | None,
    picture: Path | None,
    batch_size: int,
    device: str,
    workers: int,
    class_file: str | None = None,
    num_samples: int | None = None,
    download: bool = False,
) -> None:
    from spanetv2.data.preprocessing import Preprocessing, eval_transform
    from spanetv2.device import choose_device
    from spanetv2.environment import describe_device
    from spanetv2.files import write_json
    from spanetv2.models import load_model
    from spanetv2.tasks.classification import evaluate as task
    from spanetv2.tasks.classification.data.loader import eval_loader
    from spanetv2.tasks.classification.data.sources import DatasetSpec

    chosen = choose_device(device)
    model, record = load_model(record, device=chosen)
    preprocessing = Preprocessing.of_checkpoint(model, record.preprocessing)
    spec = DatasetSpec(
        name=dataset,
        root=data,
        split=split,
        download=download,
        class_file=class_file,
        num_samples=num_samples,
    )
    source, names, mapping = _open(spec, record.classes, cast(int, model.num_classes))
    source.transform = eval_transform(preprocessing)
    loader = eval_loader(
        source,
        batch_size=batch_size,
        workers=workers,
        on_error="skip",
        pin_memory=chosen.type == "cuda",
    )
    result = task.evaluate(
        model, loader, classes=names, mapping=mapping, device=chosen, progress=True
    )
    skipped = getattr(source, "skipped", 0)
    for failure in result.failures:
        print(f"error: {failure.path}: {failure.reason}", file=sys.stderr)
    _print(result)
    if json_out is not None:
        about = {
            "checkpoint": str(record.path),
            "model": record.model_name,
            "dataset": dataset,
            "data": data,
            "split": split,
            "preprocessing": preprocessing.to_dict(),
            "batch_size": batch_size,
            **describe_device(str(chosen)),
        }
        write_json(json_out, {**about, **result.to_json(), "failed": result.failed + skipped})
    if picture is not None and result.confusion is not None:
        _draw(result, picture)
    if result.failed or skipped:
        print(
            f"{result.images} images evaluated, {result.failed + skipped} could not be read",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _open(
    spec: "DatasetSpec", names: list[str] | None, outputs: int
) -> "tuple[ImageSource | StreamSource, list[str], list[int]]":
    """The data, the names of the model's outputs, and the output that each label means."""
    import dataclasses

    from spanetv2.data.classes import match_classes, model_classes
    from spanetv2.tasks.classification.data.sources import open_dataset

    nameless = spec.name.partition("/")[0] in ("wds", "hfids") and spec.class_file is None
    if nameless:
        # Their labels are taken for the model's outputs.
        spec = dataclasses.replace(spec, classes=model_classes(names, outputs))
    source = open_dataset(spec, on_error="skip")
    return source, *match_classes(source.classes, names, outputs)


def _print(result: "EvaluationResult") -> None:
    from spanetv2.data.classes import class_titles

    titles = class_titles(result.classes)
    present = [i for i, row in enumerate(result.per_class) if row.images]
    width = min(32, max(len("class"), *(len(titles[i]) for i in present)))
    print(f"{'class':{width}}  images   top-1   top-5  precision")
    for i in present[:_ROWS]:
        row = result.per_class[i]
        cells = [_percent(row.top1), _percent(row.top5), f"   {_percent(row.precision)}"]
        print(f"{titles[i][:width]:{width}}  {row.images:6}  {'  '.join(cells)}")
    if len(present) > _ROWS:
        print(f"... and {len(present) - _ROWS} more classes (all in --json)")
    if confused := result.most_confused(_PAIRS):
        print("\nmost frequent mistakes (true -> predicted)")
        for true, predicted, count in confused:
            print(f"{count:6}  {titles[true]} -> {titles[predicted]}")
    missing = len(result.classes) - len(present)
    note = f" ({missing} of the model's classes have no images here)" if missing else ""
    print(
        f"\n{result.images} images, {len(present)} classes{note}\n"
        f"top-1 {100 * result.top1:.2f} %   top-5 {100 * result.top5:.2f} %   "
        f"loss {result.loss:.4f}   {result.images_per_second:.1f} images/s"
    )


def _percent(value: float | None) -> str:
    return "     -" if value is None else f"{100 * value:6.2f}"


def _draw(result: "EvaluationResult", out: Path) -> None:
    from spanetv2.data.classes import class_titles
    from spanetv2.tasks.classification.picture import confusion_matrix

    assert result.confusion is not None
    titles = class_titles(result.classes)
    # Classes that neither occur nor are predicted would only make the others smaller.
    used = [i for i, row in enumerate(result.per_class) if row.images or row.predicted]
    confusion_matrix(result.confusion[used][:, used].numpy(), [titles[i] for i in used], out)
