"""A classifier as it is exported: ours, or another of timm's."""

from spanetv2.data.preprocessing import eval_transform
from spanetv2.deploy.answers import answering
from spanetv2.deploy.subject import ExportSubject
from spanetv2.models import load_model
from spanetv2.models.weights.images import image_preprocessing
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.classification.predict import Reader
from spanetv2.tasks.classification.weights import gives_several

__all__ = ["export_subject"]


def export_subject(
    checkpoint: Checkpoint,
    img_size: tuple[int, int] | None = None,
    *,
    output: str | None = None,
) -> ExportSubject:
    """A classifier to export.

    Args:
        checkpoint: its weights.
        img_size: height and width of images in pixels; None is the record's, or what the network
            was made for.
        output: see ``answering``.

    Raises:
        UserError: damaged weights, an unknown network or output.
    """
    model, checkpoint = load_model(checkpoint)
    images = image_preprocessing(model, checkpoint, size=img_size)
    activation = "sigmoid" if gives_several(checkpoint) else "softmax"
    answers, outputs = answering(model, output, sides=("rows", "columns"), activation=activation)
    return ExportSubject(
        model=answers,
        img_size=images.input_size[1:],
        in_chans=images.input_size[0],
        name=checkpoint.model_name or "spanetv2",
        description={
            "task": "classification",
            "model": checkpoint.model_name,
            "classes": checkpoint.classes,
            "preprocessing": images.to_dict(),
            # what makes probabilities of logits
            "activation": activation,
        },
        outputs=outputs,
        read=Reader(eval_transform(images), images.white),
    )
