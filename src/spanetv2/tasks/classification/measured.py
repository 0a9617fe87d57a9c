"""Classifiers as the benchmark measures them."""

from spanetv2.benchmark.networks import find_classifier
from spanetv2.benchmark.subject import Subject, classifier
from spanetv2.errors import UserError
from spanetv2.models import SPANetV2, load_model
from spanetv2.models.factory import resolve_name
from spanetv2.models.other_libraries import is_other, load_other
from spanetv2.models.weights.read import Checkpoint

__all__ = ["SHAPE", "classifier_subject", "full_name"]

SHAPE = (8, 224)
"""Images and their side."""


def full_name(name: str) -> str:
    """The full name of a network: ours, timm's, or another library's as it is.

    Raises:
        UserError: no such network.
    """
    return name if is_other(name) else resolve_name(name)


def classifier_subject(source: str | Checkpoint, size: int) -> Subject:
    """A classifier, its filters made for images of the size.

    Args:
        source: a full name, of a network with random weights (but for folders of other
            libraries); or a checkpoint.
        size: height and width in pixels.

    Raises:
        UserError: no such model, a damaged checkpoint, or one without classes.
    """
    if isinstance(source, Checkpoint):
        model, _ = load_model(source)
        if isinstance(model, SPANetV2):
            model.set_input_size(size)
        classes, channels = model.num_classes, getattr(model, "in_chans", 3)
        if not classes:
            raise UserError(f"{source.path}: a backbone without classes, expected a classifier")
        return classifier(model, int(classes), int(channels))  # pyright: ignore[reportArgumentType]
    if is_other(source):
        loaded = load_other(source, pretrained=False)
        return classifier(loaded.model, loaded.outputs)
    return find_classifier(source, size)
