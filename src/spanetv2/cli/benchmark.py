"""``spanetv2 benchmark``: speed and memory, side by side."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spanetv2.benchmark import Settings

__all__ = ["benchmark"]


def benchmark(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks: NAME (ours or timm's), HEAD:NAME (semantic_fpn, upernet, mask_rcnn, "
            "faster_rcnn, cascade_mask_rcnn, cascade_rcnn), a run folder, checkpoint or hf-hub: "
            "name of any task, torchvision:NAME, smp:ARCHITECTURE:ENCODER; and how: "
            "NAME@reference, @products, @fused, @tokens, @maps, @optimized, @fused_optimized. With "
            "--operators: operators. With --table: result files."
        ),
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="eager (default), compiled, frozen (weights as constants), graphs (CUDA graphs), "
            "onnxruntime, openvino; several work."
        ),
    ] = None,
    work: Annotated[
        list[str] | None,
        typer.Option("--pass", help="inference, training; both if not given."),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="float32 (default), bfloat16, float16, int8; several work."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(help="Images per pass (default 8; segmenters, detectors 2); several work."),
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(
            help="Side in pixels (default 224; segmenters 512, detectors 800; of a checkpoint its "
            "own); several make a sweep."
        ),
    ] = None,
    keep_pixels: Annotated[
        bool, typer.Option(help="Scale the batch to the pixels of the first size.")
    ] = False,
    rounds: Annotated[int, typer.Option(help="Timings of each.")] = 20,
    warmup: Annotated[int, typer.Option(help="Runs of each before the first round.")] = 2,
    reference: Annotated[
        str | None, typer.Option(help="What the others are compared with; one of those measured.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; by default all cores.")] = None,
    channels_last: Annotated[bool, typer.Option(help="Memory layout of images.")] = False,
    memory: Annotated[
        bool, typer.Option(help="CPU: peak memory, each in a process of its own (Linux).")
    ] = False,
    energy: Annotated[
        bool,
        typer.Option(
            help="Energy per image, where the machine tells: RAPL of Linux's powercap on a CPU, "
            "NVML on an NVIDIA GPU (pip install nvidia-ml-py). Refused where it does not."
        ),
    ] = False,
    operators: Annotated[
        bool, typer.Option(help="Measure token mixers alone, beside the machine's floor.")
    ] = False,
    variant: Annotated[
        str, typer.Option(help="With --operators: whose channels and grids.")
    ] = "spanetv2_s18_pure",
    table: Annotated[
        bool, typer.Option(help="Measure nothing; make a page of result files, in --out.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the result into this PNG.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the tables into this Markdown file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Result file, JSON (default benchmark.json); the page.")
    ] = None,
) -> None:
    """Measure speed and memory of networks side by side: medians, and ratios to a reference.

    All of them take turns in every round, so that a slow moment of the machine hits all alike.
    NAME@tokens and NAME@maps run one form of the linear layers (matrix products, convolutions),
    NAME@reference runs the definitions (FFT), NAME@optimized the network folded for inference. The
    modes onnxruntime and openvino run exported networks (CPU), in int8 with ranges of random
    images; what a mode cannot do is left out.

    Networks by name have random weights, with 1000 classes, 150 (segmenters) or 80 (detectors).
    Detectors take every proposal for an object, so that what they see changes no time.
    """
    from spanetv2.benchmark.document import write_page
    from spanetv2.benchmark.operators import OPERATORS
    from spanetv2.benchmark.settings import MODELS, Settings, full_label, split_label
    from spanetv2.cli.measured import full_name, usual_shape
    from spanetv2.device import choose_device
    from spanetv2.errors import UserError
    from spanetv2.kept import promise
    from spanetv2.models.factory import resolve_name

    if table:
        if not names or out is None:
            raise UserError("got --table without result files or --out, expected both")
        for path in write_page(names, out):
            typer.echo(f"wrote {path}")
        return
    target = out or Path("benchmark.json")
    if target.suffix != ".json":
        raise UserError(f"got --out {target}, expected a name that ends in .json")
    if plot is not None and plot.suffix != ".png":
        raise UserError(f"got --plot {plot}, expected a name that ends in .png")
    promise(target, plot, markdown)
    chosen = choose_device(device)
    usual = [name for name in OPERATORS if chosen.type == "cuda" or "@fused" not in name]
    labels = names or (usual if operators else list(MODELS))
    if operators and memory:
        raise UserError("got --memory with --operators, expected it with networks; leave it out")
    if not operators:
        labels = [full_label(label, full_name) for label in labels]
        if reference is not None:
            reference = full_label(reference, full_name)
        usual_batch, usual_side = usual_shape([split_label(label)[0] for label in labels])
        batch, size = batch or [usual_batch], size or [usual_side]
    options: dict[str, Any] = {
        "modes": mode,
        "passes": work,
        "dtypes": dtype,
        "batches": batch,
        "sizes": size,
    }
    settings = Settings(
        models=tuple(labels),
        reference=reference,
        keep_pixels=keep_pixels,
        rounds=rounds,
        warmup=warmup,
        device=str(chosen),
        threads=threads,
        channels_last=channels_last,
        memory=memory,
        energy=energy,
        **{name: tuple(values) for name, values in options.items() if values},
    )
    record = _run(settings, target, resolve_name(variant) if operators else None)
    _show(record, plot, markdown)
    typer.echo(f"wrote {target}")


def _run(settings: "Settings", target: Path, variant: str | None) -> dict[str, Any]:
    import shlex

    from spanetv2.benchmark import run_networks, run_operators
    from spanetv2.cli.measured import find_network
    from spanetv2.files import write_json

    about: dict[str, Any] = {
        "command": shlex.join(["spanetv2", *sys.argv[1:]]),
        "save": lambda record: write_json(target, record),
        "progress": True,
    }
    if variant is None:
        return run_networks(settings, **about, find=find_network)
    return run_operators(settings, variant, **about)


def _show(record: dict[str, Any], plot: Path | None, markdown: Path | None) -> None:
    from spanetv2.benchmark.plot import draw
    from spanetv2.benchmark.tables import describe_machine, left_out, tables_of
    from spanetv2.files import write_text

    tables = tables_of(record)
    typer.echo(f"\n{describe_machine(record)}\n")
    for made in tables:
        typer.echo(made.text())
    for text in left_out(record):
        typer.echo(f"left out: {text}")
    if plot is not None:
        draw(record, plot)
        typer.echo(f"wrote {plot}")
    if markdown is not None:
        write_text(markdown, "\n".join(made.markdown() for made in tables))
        typer.echo(f"wrote {markdown}")
