"""``spanetv2 analyze model``: how trained models treat frequencies, as a report."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spanetv2.cli.naming import MODEL_HELP, find_checkpoint, short_titles
from spanetv2.errors import UserError

if TYPE_CHECKING:
    from spanetv2.models.weights.read import Checkpoint

__all__ = ["model"]


def model(
    name: Annotated[
        str,
        typer.Argument(help=MODEL_HELP),
    ],
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder of images: one sub-folder per class, or no classes and fewer answers; for "
            "segmenters and detectors their data. Digits and an installed Fashion-MNIST need none."
        ),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="folder, digits or fashion_mnist; segmenters: ade20k.")
    ] = "folder",
    split: Annotated[str, typer.Option(help="Part of the data.")] = "val",
    compare: Annotated[
        list[str] | None, typer.Option(help="Another model; may be given several times.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("model_analysis"),
    pretrained: Annotated[
        bool, typer.Option(help="Fetch timm's or torchvision's weights for names.")
    ] = True,
    max_images: Annotated[int, typer.Option(min=1, help="Images, evenly over the data.")] = 64,
    cue_conflict: Annotated[
        Path | None,
        typer.Option(help="Folder of cue-conflict images, cat/cat7-elephant1.png and so on."),
    ] = None,
    heat_map: Annotated[bool, typer.Option(help="Make the Fourier heat map (slow).")] = False,
    heat_map_size: Annotated[int, typer.Option(help="Frequencies per axis of it, odd.")] = 15,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions",
            help="Measure under 15 corruptions at 5 strengths (slow); with --heat-map, also lay a "
            "network's sensitivity over where they live.",
        ),
    ] = False,
    cam: Annotated[
        str, typer.Option(help="Class activation maps: grad_cam or score_cam (slow).")
    ] = "grad_cam",
    sheet_images: Annotated[int, typer.Option(min=1, help="Images with such maps.")] = 8,
    probe_images: Annotated[int, typer.Option(min=1, help="Images for the Jacobian.")] = 8,
    channels: Annotated[int, typer.Option(min=1, help="Channels per image for it.")] = 4,
    rows: Annotated[int, typer.Option(min=2, help="Rows of it per channel.")] = 16,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 0,
) -> None:
    """Report how models treat frequencies: curves, pictures and one HTML page.

    Works for SPANetV2 (classifiers, and the backbones of segmenters and detectors) and for networks
    of timm, torchvision and transformers. All models are
    loaded before the first is measured. A model that cannot be had, and what a model or the images
    do not allow, is a marked gap in the report, which is written after each model. Images that
    cannot be read are reported on standard error and left out; the exit status is then 1.
    """
    from spanetv2.analysis.activation_maps import METHODS
    from spanetv2.analysis.cue_conflict import find_cue_images
    from spanetv2.analysis.model_report import LAB, write_report
    from spanetv2.analysis.model_study import (
        NETWORK,
        ModelAnalysis,
        ModelInput,
        StudyOptions,
        analyze_model,
    )
    from spanetv2.device import choose_device
    from spanetv2.models.weights.record import DEFAULT_TASK
    from spanetv2.page import promise_page
    from spanetv2.tasks import find_task

    # What can be wrong is looked at before anything that takes long.
    promise_page(out)
    if cam not in METHODS:
        raise UserError(f"got --cam {cam!r}, expected {' or '.join(METHODS)}")
    if heat_map_size < 1 or heat_map_size % 2 == 0:
        raise UserError(f"got --heat-map-size {heat_map_size}, expected an odd number")
    names = [name, *(compare or [])]
    if len(set(names)) != len(names):
        raise UserError(f"got models {', '.join(names)}, expected none twice")
    if out.exists() and not out.is_dir():
        raise UserError(f"got --out {out}, which is a file; expected a folder for the report")
    chosen = choose_device(device)
    cues = find_cue_images(cue_conflict) if cue_conflict is not None else []
    titles = short_titles(names)
    analyses: dict[str, ModelAnalysis] = {}
    checkpoints: dict[str, Checkpoint | None] = {}
    for title, each in zip(titles, names, strict=True):
        try:
            checkpoints[title] = find_checkpoint(each)
        except UserError as error:
            analyses[title] = ModelAnalysis.missing(title, str(error))
    tasks = {
        title: find_task(DEFAULT_TASK if checkpoint is None else checkpoint.task)
        for title, checkpoint in checkpoints.items()
    }
    if not tasks:
        raise UserError("; ".join(a.gaps[0].reason for a in analyses.values()))
    first = next(iter(tasks.values()))
    data = first.analysis_images(images, dataset=dataset, split=split, limit=max_images)
    options = StudyOptions(
        probe_images=probe_images,
        channels=channels,
        rows=rows,
        heat_map=heat_map,
        heat_map_size=heat_map_size,
        corruptions=corruptions,
        sheet_images=sheet_images,
        cam=cam,
        batch_size=batch_size,
        seed=seed,
    )
    # Everything is built and fetched before anything is measured.
    subjects: dict[str, ModelInput] = {}
    for title, each in zip(titles, names, strict=True):
        if title in analyses:
            continue
        try:
            if tasks[title] is not first:
                raise UserError(
                    f"got {each}, which is for {tasks[title].name}, beside a model for "
                    f"{first.name}; expected models of one task, as their data differ"
                )
            subjects[title] = first.analysis_input(
                checkpoints[title] or each, title, data, cues, device=chosen, pretrained=pretrained
            )
        except UserError as error:
            if len(names) == 1:
                raise
            analyses[title] = ModelAnalysis.missing(title, str(error))
    if not subjects:
        raise UserError("; ".join(a.gaps[0].reason for a in analyses.values()))
    about = {
        "models": ", ".join(names),
        "images": images or dataset,
        "split": split,
        "pretrained": pretrained,
        "max_images": max_images,
        "cue_conflict": str(cue_conflict) if cue_conflict else None,
        "probe_images": probe_images,
        "channels": channels,
        "rows": rows,
        "seed": seed,
        **_machine(str(chosen)),
    }
    # only classifiers run in the browser
    lab = ""
    if first.name == DEFAULT_TASK:
        lab = shlex.join(_lab(names, out / LAB, pretrained=pretrained))
    page = None
    for title, subject in subjects.items():
        analyses[title] = analyze_model(subject, options, progress=True)
        # What is done is written before the next one can fail.
        done = [analyses[title] for title in titles if title in analyses]
        if any(analysis.measured for analysis in done):
            page = write_report(done, out, about=about, explore=lab)
    if page is None:
        reason = next(gap.reason for a in analyses.values() for gap in a.gaps)
        raise UserError(f"got {', '.join(names)}, of which nothing can be measured: {reason}")
    for title in titles:
        for gap in analyses[title].gaps:
            missing = "not measured" if gap.part == NETWORK else f"no {gap.part}"
            print(f"{title}: {missing}: {gap.reason}", file=sys.stderr)
    print(page)
    if data.failed:
        print(f"{data.failed} images could not be read", file=sys.stderr)
        raise typer.Exit(1)


def _lab(names: list[str], path: Path, *, pretrained: bool) -> list[str]:
    """The command that makes the page of the same models."""
    compared = [part for each in names[1:3] for part in ("--compare", each)]  # it takes three
    plain = [] if pretrained else ["--no-pretrained"]
    return ["spanetv2", "explore", names[0], *compared, *plain, "--out", str(path)]


def _machine(device: str) -> dict[str, Any]:
    import platform

    import timm
    import torch

    import spanetv2

    hardware = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return {
        "device": f"{device} ({hardware})",
        "torch": str(torch.__version__),
        "timm": timm.__version__,
        "spanetv2": spanetv2.__version__,
    }
