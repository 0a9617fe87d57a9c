"""Classifiers for the page that runs them in a browser."""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from spanetv2.data.classes import class_titles, model_classes
from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.explore.shipped import fashion_samples
from spanetv2.explore.subject import ExploreSubject, Sample
from spanetv2.models.other_libraries import is_folder, is_other
from spanetv2.models.weights.read import Checkpoint
from spanetv2.models.weights.shipped import shipped_weights
from spanetv2.plain_yaml import read_yaml
from spanetv2.tasks.classification.analysis import AnalysisImages, load_network
from spanetv2.tasks.classification.data.arrays import FASHION_MNIST_CLASSES
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset
from spanetv2.tasks.classification.weights import gives_several

__all__ = ["explore_subject"]

_SAMPLES = 10
_SEED = 0


def explore_subject(
    model: str | Checkpoint,
    title: str,
    images: AnalysisImages | None,
    *,
    pretrained: bool,
) -> ExploreSubject:
    """Load a classifier for the page, with images of its own.

    Args:
        model: a classifier's checkpoint, or the name of one of our models or of timm's.
        title: its name on the page.
        images: to offer; None takes those of the run's validation data, or shipped ones of the
            same classes.
        pretrained: fetch timm's weights for a model given by name; else its weights are random,
            from a fixed seed.

    Raises:
        UserError: no such model, weights that cannot be fetched, or no classifier.
    """
    if isinstance(model, Checkpoint) and gives_several(model):
        raise UserError(
            f"got {title}, which says yes or no to each class; expected a classifier that gives an "
            "image one class"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        loaded = load_network(model, device=torch.device("cpu"), pretrained=pretrained)
    names = loaded.classes
    if loaded.outputs < 1:
        raise UserError(f"got {title}, which has no classifier; expected a classification model")
    samples = _of_images(images) if images is not None else _own(model, names)
    return ExploreSubject(
        title=title,
        model=loaded.model,
        classes=class_titles(model_classes(names, loaded.outputs)),
        preprocessing=loaded.preprocessing,
        python=_python(model, pretrained),
        samples=samples,
        untrained=isinstance(model, str) and not pretrained and not is_folder(model),
    )


def _python(model: str | Checkpoint, pretrained: bool) -> str:
    """Lines that define ``model`` and ``preprocessing``."""
    if isinstance(model, Checkpoint):
        shipped = {weights.path: name for name, weights in shipped_weights().items()}
        name = shipped.get(Path(model.path), str(model.path))
        return (
            "from spanetv2.models import load_model\n"
            "from spanetv2.models.weights.images import image_preprocessing\n\n"
            f"model, checkpoint = load_model({name!r})\n"
            "preprocessing = image_preprocessing(model, checkpoint)"
        )
    seed = "" if pretrained else f"torch.manual_seed({_SEED})  # the weights are random\n"
    if is_other(model):
        return (
            "from spanetv2.models.other_libraries import load_other\n\n"
            f"{'' if is_folder(model) else seed}"
            f"loaded = load_other({model!r}, pretrained={pretrained})\n"
            "model, preprocessing = loaded.model, loaded.preprocessing"
        )
    return (
        "from spanetv2.data.preprocessing import Preprocessing\n"
        "from spanetv2.models import create_model\n\n"
        f"{seed}model = create_model({model!r}, pretrained={pretrained}).eval()\n"
        "preprocessing = Preprocessing.of_model(model)"
    )


def _own(model: str | Checkpoint, names: Sequence[str] | None) -> list[Sample]:
    """Images of a run's data; else shipped ones that the network knows."""
    if not isinstance(model, Checkpoint):
        return []
    # Data that are no longer there only mean that there are no images of them.
    with contextlib.suppress(UserError, ImageError, OSError, KeyError, TypeError):
        folder = Path(model.path) if Path(model.path).is_dir() else Path(model.path).parent
        config = read_yaml(folder / "config.yaml", expected="the configuration of a run")
        return _of_run(config["data"])
    if list(names or ()) == list(FASHION_MNIST_CLASSES):
        return fashion_samples(FASHION_MNIST_CLASSES)
    if list(names or ()) == [str(digit) for digit in range(10)]:
        return _of_run({"dataset": "digits", "root": None, "val_split": "val"})
    return []


def _of_run(data: dict[str, Any]) -> list[Sample]:
    """Images of a run's validation data, evenly over them."""
    spec = DatasetSpec(name=data["dataset"], root=data["root"], split=data["val_split"])
    source = open_dataset(spec)
    if not isinstance(source, ImageSource) or source.multi_label:
        return []
    step = max(1, len(source) // _SAMPLES)
    read = (source.sample(index) for index in range(0, len(source), step))
    found = [(image, int(label)) for image, label in itertools.islice(read, _SAMPLES)]
    return _named(found, source.classes)


def _of_images(images: AnalysisImages) -> list[Sample]:
    if images.labels is None:
        return [Sample(name=f"image {i}", image=image) for i, image in enumerate(images.images, 1)]
    return _named(list(zip(images.images, images.labels, strict=True)), images.classes)


def _named(images: Sequence[tuple[Image.Image, int]], classes: Sequence[str]) -> list[Sample]:
    titles = class_titles(classes)
    counts: dict[str, int] = {}
    samples = []
    for image, label in images:
        title = titles[label]
        counts[title] = counts.get(title, 0) + 1
        name = title if counts[title] == 1 else f"{title} {counts[title]}"
        samples.append(Sample(name=name, image=image, label=title))
    return samples
