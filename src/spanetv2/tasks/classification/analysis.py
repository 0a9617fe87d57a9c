"""Classifiers and labelled images for an analysis of how networks treat frequencies."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import nn

from spanetv2.analysis.cue_conflict import CueImage
from spanetv2.analysis.model_study import ModelInput
from spanetv2.data.classes import class_titles, match_classes, model_classes
from spanetv2.data.images import EXTENSIONS, ImageError, read_image
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.data.walk import is_file
from spanetv2.errors import UserError
from spanetv2.kept import keep
from spanetv2.models.factory import resolve_name
from spanetv2.models.other_libraries import LoadedNetwork, is_other, load_other
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset
from spanetv2.tasks.classification.weights import gives_several

__all__ = ["AnalysisImages", "analysis_input", "load_network", "read_images"]

_DATASETS = ("folder", "digits", "fashion_mnist")


@dataclasses.dataclass(kw_only=True)
class AnalysisImages:
    """Images, with labels where there are any.

    Args:
        images: Pillow images.
        labels: class indices; None for images without classes.
        classes: class names by label.
        failed: number of images that could not be read.
    """

    images: list[Image.Image]
    labels: list[int] | None
    classes: list[str]
    failed: int


def read_images(folder: str | None, *, dataset: str, split: str, limit: int) -> AnalysisImages:
    """Read up to ``limit`` images, evenly over the data, so that every class has its share.

    A folder without sub-folders gives images without labels. Images that cannot be read are named
    on standard error and left out.

    Raises:
        UserError: no such data, or none that can be read.
    """
    if dataset not in _DATASETS:
        raise UserError(f"got --dataset {dataset!r}, expected folder, digits or fashion_mnist")
    if dataset == "folder" and folder is None:
        raise UserError("got no images, expected --images FOLDER, or --dataset digits")
    flat: list[str] = []
    if dataset == "folder" and Path(cast(str, folder)).is_dir():
        entries = sorted(Path(cast(str, folder)).iterdir())
        flat = [str(p) for p in entries if is_file(p) and p.suffix.lower() in EXTENSIONS]
    source = None
    if not flat:
        source = open_dataset(DatasetSpec(name=dataset, root=folder, split=split))
        assert isinstance(source, ImageSource)
    total = len(flat) if source is None else len(source)
    keep(flat if source is None else lambda: map(source.location, range(total)))
    result = AnalysisImages(images=[], labels=None, classes=[], failed=0)
    if source is not None:
        result.labels, result.classes = [], source.classes
    for index in np.unique(np.linspace(0, total - 1, min(limit, total)).round().astype(int)):
        try:
            if source is None:
                result.images.append(read_image(flat[index]))
            else:
                image, label = source.sample(int(index))
                result.images.append(image)
                cast(list[int], result.labels).append(cast(int, label))
        except ImageError as error:
            print(f"error: {error}", file=sys.stderr)
            result.failed += 1
    if not result.images:
        raise UserError(f"got {folder or dataset} with no image that can be read")
    return result


def analysis_input(
    model: str | Checkpoint,
    title: str,
    images: AnalysisImages,
    cues: Sequence[CueImage],
    *,
    device: torch.device,
    pretrained: bool,
) -> ModelInput:
    """Load a model and bring the images into its form.

    Args:
        model: a classifier's checkpoint, or the name of one of our models or of timm's.
        title: its name in the report.
        images: from ``read_images``.
        cues: cue-conflict images.
        device: where to compute.
        pretrained: fetch timm's weights for a model given by name.

    Raises:
        UserError: no such model, or weights that cannot be fetched. A network without a classifier
            has spectra and no accuracy.
    """
    loaded = load_network(model, device=device, pretrained=pretrained)
    network, names, outputs = loaded.model, loaded.classes, loaded.outputs
    transform = eval_transform(loaded.preprocessing)
    targets, reason = None, ModelInput.no_labels
    if outputs < 1:
        names, reason = None, "the network has no classifier"
    elif isinstance(model, Checkpoint) and gives_several(model):
        reason = "the network says yes or no to each class, the images have one class each"
    elif images.labels is not None:
        try:
            names, mapping = match_classes(images.classes, names, outputs)
            targets = torch.tensor([mapping[label] for label in images.labels])
        except UserError as error:
            reason = f"the labels do not fit the model: {error}"
    return ModelInput(
        title=title,
        model=network,
        images=torch.stack([transform(image) for image in images.images]),
        mean=loaded.preprocessing.mean,
        std=loaded.preprocessing.std,
        targets=targets,
        no_labels=reason,
        classes=class_titles(model_classes(names, outputs)) if outputs else None,
        cue_images=cues,
        load=lambda path: transform(read_image(path, white=loaded.preprocessing.white)),
        class_names=names,
    )


def load_network(
    model: str | Checkpoint, *, device: torch.device, pretrained: bool
) -> LoadedNetwork:
    """A network in evaluation mode, its class names and how its images are made.

    Args:
        model: a classifier's checkpoint, the name of one of our models or of timm's, or one of
            another library (see ``spanetv2.models.other_libraries``).
        device: where to put it.
        pretrained: fetch timm's or torchvision's weights for a model given by name.

    Raises:
        UserError: no such model, or weights that cannot be fetched.
    """
    from spanetv2.models import create_model, load_model
    from spanetv2.models.weights.images import image_preprocessing

    if isinstance(model, Checkpoint):
        network, record = load_model(model, device=device)
        return _loaded(network, record.classes, image_preprocessing(network, record))
    if is_other(model):
        other = load_other(model, pretrained=pretrained)
        return dataclasses.replace(other, model=other.model.to(device))
    name = resolve_name(model)
    if pretrained:
        from timm.models import get_pretrained_cfg

        cfg: Any = get_pretrained_cfg(name)
        if cfg is None or not cfg.has_weights:
            raise UserError(
                f"got {model}, for which there are no weights to fetch; give a checkpoint, or "
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
            f"cannot fetch the weights of {model} ({first}); give a checkpoint, or "
            "--no-pretrained to look at the untrained network"
        ) from None
    return _loaded(network.to(device).eval(), None, Preprocessing.of_model(network))


def _loaded(
    network: nn.Module, classes: list[str] | None, preprocessing: Preprocessing
) -> LoadedNetwork:
    outputs = getattr(network, "num_classes", 0)
    return LoadedNetwork(
        model=network,
        classes=classes,
        outputs=outputs if isinstance(outputs, int) else 0,
        preprocessing=preprocessing,
    )
