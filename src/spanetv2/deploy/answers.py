"""What a network that gives scores of classes is to answer with: scores, probabilities or labels.

Shape suffixes: B batch, K classes, any sides behind them.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from spanetv2.deploy.subject import Outputs, Results
from spanetv2.errors import UserError

__all__ = ["ANSWERS", "Answering", "answering"]

ANSWERS = ("logits", "probabilities", "labels")

Activation = Literal["softmax", "sigmoid"]


class Answering(nn.Module):
    """A network with what follows it.

    Args:
        model: images to scores (B, K, ...).
        output: "probabilities" or "labels", the number of the class with the largest score.
        activation: "softmax" or "sigmoid", which makes probabilities of scores.
        labels: dtype of labels.

    Example:
        >>> Answering(nn.Identity(), "labels")(torch.tensor([[0.0, 2.0, 1.0]])).tolist()
        [1]
    """

    def __init__(
        self,
        model: nn.Module,
        output: str,
        activation: Activation = "softmax",
        labels: torch.dtype = torch.int64,
    ):
        super().__init__()
        self.model = model
        self.output = output
        self.activation = activation
        self.labels = labels

    def forward(self, images_BCHW: Tensor) -> Tensor:
        scores = self.model(images_BCHW)
        if self.output == "labels":
            return scores.argmax(1).to(self.labels)
        return scores.sigmoid() if self.activation == "sigmoid" else scores.softmax(1)


def answering(
    model: nn.Module,
    output: str | None,
    *,
    sides: Sequence[str],
    activation: Activation = "softmax",
    labels: torch.dtype = torch.int64,
    named_on: str = "images",
) -> tuple[nn.Module, Outputs]:
    """A network that answers as asked, and what its answers are.

    Args:
        model: images to scores (B, K, ...).
        output: one of ``ANSWERS``; None is logits.
        sides: names of the scores' sides behind batch and classes.
        activation: which makes probabilities of the scores.
        labels: dtype of labels.
        named_on: what gets a class: images, or pixels.

    Raises:
        UserError: another output, or labels where an image may have several.
    """
    output = output or "logits"
    if output not in ANSWERS:
        raise UserError(f"got output {output}, expected one of {', '.join(ANSWERS)}")
    if output == "labels" and activation == "sigmoid":
        raise UserError(
            "got output labels of a network that may give several classes or none, expected "
            "logits or probabilities"
        )
    if output == "logits":
        axes = {output: ("batch", "channels", *sides)}
        return model, Outputs(axes=axes, named_on=named_on)
    made = Answering(model, output, activation, labels)
    if output == "probabilities":
        axes = {output: ("batch", "classes", *sides)}
        return made, Outputs(axes=axes, named_on=named_on)
    return made, Outputs(
        axes={output: ("batch", *sides)},
        difference=_other_labels,
        told=f"another label than the network's on {{:.2g}} of the {named_on}",
        most=0.05,  # equal scores, which rounding decides
        classes=lambda results: results[0],
        named_on=named_on,
    )


def _other_labels(got: Results, expected: Results) -> float:
    """Share of labels that differ."""
    if got[0].shape != expected[0].shape:
        return float("inf")
    return float((got[0] != expected[0]).double().mean())
