"""``spanetv2 analyze model``: how trained models treat frequencies, as a report."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spanetv2.cli.naming import find_checkpoint, short_titles
from spanetv2.errors import UserError

__all__ = ["model"]


def model(
    name: Annotated[
        str,
        typer.Argument(
            help="A checkpoint (.safetensors, a run folder, the authors' .pth), a name of weights "
            "in the package (see `spanetv2 models`), or a timm model."
        ),
    ],
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder of images: one sub-folder per class, or no classes and fewer answers. "
            "Digits and an installed Fashion-MNIST need none."
        ),
    ] = None,
    dataset: Annotated[str, typer.Option(help="folder, digits or fashion_mnist.")] = "folder",
    split: Annotated[str, typer.Option(help="Part of the data.")] = "val",
    compare: Annotated[
        list[str] | None, typer.Option(help="Another model; may be given several times.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("model_analysis"),
    pretrained: Annotated[
        bool, typer.Option(help="Fetch timm's weights for models given by name.")
    ] = True,
    max_images: Annotated[int, typer.Option(min=1, help="Images, evenly over the data.")] = 64,
    cue_conflict: Annotated[
        Path | None,
        typer.Option(help="Folder of cue-conflict images, cat/cat7-elephant1.png and so on."),
    ] = None,
    heat_map: Annotated[bool, typer.Option(help="Make the Fourier heat map (slow).")] = False,
    heat_map_size: Annotated[int, typer.Option(help="Frequencies per axis of it, odd.")] = 15,
    cam: Annotated[
        str, typer.Option(help="Class activation maps: grad_cam or score_cam (slow).")
    ] = "grad_cam",
    sheet_images: Annotated[int, typer.Option(min=1, help="Images with such maps.")] = 8,
    probe_images: Annotated[int, typer.Option(min=1, help="Images for the Jacobian.")] = 8,
    channels: Annotated[int, typer.Option(min=1, help="Channels per image for it.")] = 4,
    rows: Annotated[int, typer.Option(min=2, help="Rows of it per channel.")] = 16,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
) -> None:
    """Report how models treat frequencies: curves, pictures and one HTML page.

    Works for SPANetV2 and for any timm model. What a model or the images do not allow is a marked
    gap in the report. Images that cannot be read are reported on standard error and left out; the
    exit status is then 1.
    """
    from spanetv2.analysis.activation_maps import METHODS
    from spanetv2.analysis.cue_conflict import find_cue_images
    from spanetv2.analysis.model_report import LAB, write_report
    from spanetv2.analysis.model_study import NETWORK, StudyOptions, analyze_model
    from spanetv2.device import choose_device
    from spanetv2.models.weights.record import DEFAULT_TASK
    from spanetv2.tasks import find_task

    # What can be wrong is looked at before anything that takes long.
    if cam not in METHODS:
        raise UserError(f"got --cam {cam!r}, expected {' or '.join(METHODS)}")
    if heat_map_size < 1 or heat_map_size % 2 == 0:
        raise UserError(f"got --heat-map-size {heat_map_size}, expected an odd number")
    names = [name, *(compare or [])]
    if len(set(names)) != len(names):
        raise UserError(f"got models {', '.join(names)}, expected none twice")
    chosen = choose_device(device)
    cues = find_cue_images(cue_conflict) if cue_conflict is not None else []
    usual = find_task(DEFAULT_TASK)
    data = usual.analysis_images(images, dataset=dataset, split=split, limit=max_images)
    titles = short_titles(names)
    options = StudyOptions(
        probe_images=probe_images,
        channels=channels,
        rows=rows,
        heat_map=heat_map,
        heat_map_size=heat_map_size,
        sheet_images=sheet_images,
        cam=cam,
        batch_size=batch_size,
        seed=seed,
    )
    subjects = []
    for title, each in zip(titles, names, strict=True):
        checkpoint = find_checkpoint(each)
        task = usual if checkpoint is None else find_task(checkpoint.task)
        subject = task.analysis_input(
            checkpoint or each, title, data, cues, device=chosen, pretrained=pretrained
        )
        subjects.append(subject)
    analyses = [analyze_model(subject, options, progress=True) for subject in subjects]
    broken = [gap.reason for a in analyses for gap in a.gaps if gap.part == NETWORK]
    if len(broken) == len(analyses):
        raise UserError(f"got {', '.join(names)}, of which nothing can be measured: {broken[0]}")
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
    lab = ["spanetv2", "explore", names[0]]
    lab += [part for each in names[1:3] for part in ("--compare", each)]  # it takes three
    lab += [*([] if pretrained else ["--no-pretrained"]), "--out", str(out / LAB)]
    page = write_report(analyses, out, about=about, explore=shlex.join(lab))
    for analysis in analyses:
        for gap in analysis.gaps:
            missing = "not measured" if gap.part == NETWORK else f"no {gap.part}"
            print(f"{analysis.title}: {missing}: {gap.reason}", file=sys.stderr)
    print(page)
    if data.failed:
        print(f"{data.failed} images could not be read", file=sys.stderr)
        raise typer.Exit(1)


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
