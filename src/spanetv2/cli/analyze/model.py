"""``spanetv2 analyze model``: how trained models treat frequencies, as a report."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from spanetv2.errors import UserError

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn

    from spanetv2.analysis.cue_conflict import CueImage
    from spanetv2.analysis.model_study import ModelInput
    from spanetv2.data.preprocessing import Preprocessing

__all__ = ["model"]

_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


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
    from spanetv2.analysis.model_report import write_report
    from spanetv2.analysis.model_study import StudyOptions, analyze_model
    from spanetv2.device import choose_device

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
    data = _open(images, dataset=dataset, split=split, limit=max_images)
    titles = _titles(names)
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
    found = []
    for title, which in zip(titles, names, strict=True):
        subject = _subject(which, title, data, cues, device=chosen, pretrained=pretrained)
        found.append(analyze_model(subject, options, progress=True))
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
    page = write_report(found, out, about=about)
    for analysis in found:
        for gap in analysis.gaps:
            print(f"{analysis.title}: no {gap.part}: {gap.reason}", file=sys.stderr)
    print(page)
    if data.failed:
        print(f"{data.failed} images could not be read", file=sys.stderr)
        raise typer.Exit(1)


@dataclasses.dataclass(kw_only=True)
class _Data:
    """The images, as Pillow images, with their labels where there are any."""

    images: "list[Image.Image]"
    labels: list[int] | None
    classes: list[str]
    failed: int


def _open(folder: str | None, *, dataset: str, split: str, limit: int) -> _Data:
    """Read up to ``limit`` images, evenly over the data, so that every class has its share."""
    import numpy as np

    from spanetv2.data.images import EXTENSIONS, ImageError, read_image
    from spanetv2.tasks.classification.data.source import ImageSource
    from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset

    if dataset not in ("folder", "digits", "fashion_mnist"):
        raise UserError(f"got --dataset {dataset!r}, expected folder, digits or fashion_mnist")
    if dataset == "folder" and folder is None:
        raise UserError("got no images, expected --images FOLDER, or --dataset digits")
    flat: list[str] = []
    if dataset == "folder" and Path(cast(str, folder)).is_dir():
        entries = sorted(Path(cast(str, folder)).iterdir())
        flat = [str(p) for p in entries if p.is_file() and p.suffix.lower() in EXTENSIONS]
    source = None
    if not flat:
        source = open_dataset(DatasetSpec(name=dataset, root=folder, split=split))
        assert isinstance(source, ImageSource)
    total = len(flat) if source is None else len(source)
    data = _Data(images=[], labels=None, classes=[], failed=0)
    if source is not None:
        data.labels, data.classes = [], source.classes
    for index in np.unique(np.linspace(0, total - 1, min(limit, total)).round().astype(int)):
        try:
            if source is None:
                data.images.append(read_image(flat[index]))
            else:
                image, label = source.sample(int(index))
                data.images.append(image)
                cast(list[int], data.labels).append(label)
        except ImageError as error:
            print(f"error: {error}", file=sys.stderr)
            data.failed += 1
    if not data.images:
        raise UserError(f"got {folder or dataset} with no image that can be read")
    return data


def _subject(
    which: str,
    title: str,
    data: _Data,
    cues: "Sequence[CueImage]",
    *,
    device: "torch.device",
    pretrained: bool,
) -> "ModelInput":
    """Load a model and bring the images into its form."""
    import torch

    from spanetv2.analysis.model_study import ModelInput
    from spanetv2.data.classes import class_titles, match_classes, model_classes
    from spanetv2.data.images import read_image
    from spanetv2.data.preprocessing import eval_transform

    network, names, preprocessing = _load(which, device=device, pretrained=pretrained)
    transform = eval_transform(preprocessing)
    outputs = cast(int, getattr(network, "num_classes", 0))
    if outputs < 1:
        raise UserError(f"got {which}, which has no classifier; expected a classification model")
    targets, reason = None, ModelInput.no_labels
    if data.labels is not None:
        try:
            names, mapping = match_classes(data.classes, names, outputs)
            targets = torch.tensor([mapping[label] for label in data.labels])
        except UserError as error:
            reason = f"the labels do not fit the model: {error}"
    return ModelInput(
        title=title,
        model=network,
        images=torch.stack([transform(image) for image in data.images]),
        mean=preprocessing.mean,
        std=preprocessing.std,
        targets=targets,
        no_labels=reason,
        classes=class_titles(model_classes(names, outputs)),
        cue_images=cues,
        load=lambda path: transform(read_image(path)),
        class_names=names,
    )


def _load(
    which: str, *, device: "torch.device", pretrained: bool
) -> "tuple[nn.Module, list[str] | None, Preprocessing]":
    """A checkpoint's or a named model, its class names and preprocessing."""
    from spanetv2.data.preprocessing import Preprocessing
    from spanetv2.models import create_model, load_model
    from spanetv2.models.factory import resolve_name
    from spanetv2.models.weights.shipped import find_shipped

    # timm's names have dots too (convnext_atto.d2_in1k)
    is_file = Path(which).exists() or Path(which).suffix in _WEIGHTS or "/" in which
    if is_file or find_shipped(which) is not None:
        network, record = load_model(which, device=device)
        return network, record.classes, Preprocessing.of_checkpoint(network, record.preprocessing)
    name = resolve_name(which)
    if pretrained:
        from timm.models import get_pretrained_cfg

        known = get_pretrained_cfg(name)
        if known is None or not known.has_weights:
            raise UserError(
                f"got {which}, for which there are no weights to fetch; give a checkpoint, or "
                "--no-pretrained to look at the untrained network"
            )
    try:
        network = create_model(name, pretrained=pretrained)
    except UserError:
        raise
    except Exception as error:  # whatever a failed download raises
        if not pretrained:
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot fetch the weights of {which} ({first}); give a checkpoint, or "
            "--no-pretrained to look at the untrained network"
        ) from None
    return network.to(device).eval(), None, Preprocessing.of_model(network)


def _titles(names: Sequence[str]) -> list[str]:
    """Short names for the report: the last part of a path, as long as that tells them apart."""
    short = [Path(name).name if Path(name).exists() else name for name in names]
    return short if len(set(short)) == len(short) else list(names)


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
