"""Keeping a part of a network as it is."""

from collections.abc import Iterable

from timm.models import group_parameters
from torch import nn

from spanetv2.errors import UserError

__all__ = ["freeze", "hold_frozen_in_eval"]


def freeze(model: nn.Module, what: str | int | None) -> list[str]:
    """Turn off the gradients of a part of a timm model.

    Args:
        model: any timm model with ``get_classifier`` and, for a number, ``group_matcher``.
        what: ``"all"`` for everything but the classifier, a number for the stem and so many
            stages after it (0: the stem alone), None for nothing.

    Returns:
        Names of the frozen parameters.

    Raises:
        UserError: the model has no such number of stages, or nothing would be left to train.
    """
    if what is None:
        return []
    names = _all_but_classifier(model) if what == "all" else _first_stages(model, int(what))
    parameters = dict(model.named_parameters())
    if len(names) == len(parameters):
        raise UserError(f"freeze={what} leaves nothing to train; freeze fewer stages")
    for name in names:
        parameters[name].requires_grad_(False)
    return sorted(names)


def _all_but_classifier(model: nn.Module) -> set[str]:
    classifier = model.get_classifier()  # pyright: ignore[reportCallIssue]
    kept = {id(parameter) for parameter in classifier.parameters()}
    if not kept:
        raise UserError("freeze=all needs a model with a classifier, this one has none")
    return {name for name, parameter in model.named_parameters() if id(parameter) not in kept}


def _first_stages(model: nn.Module, stages: int) -> set[str]:
    if not hasattr(model, "group_matcher"):
        raise UserError(f"freeze={stages}: this model does not tell its stages; use --freeze all")
    matcher = model.group_matcher(coarse=True)  # pyright: ignore[reportCallIssue]
    group_of = group_parameters(model, matcher, reverse=True)
    # the last group is what follows the stages: the final norm and the head
    groups = sorted(set(group_of.values()))[:-1]
    if not 0 <= stages < len(groups):
        raise UserError(
            f"freeze={stages}, but the model has a stem and {len(groups) - 1} stages; "
            f"expected 0 to {len(groups) - 1}, or all"
        )
    frozen = set(groups[: stages + 1])
    return {name for name, group in group_of.items() if group in frozen}


def hold_frozen_in_eval(model: nn.Module, frozen: Iterable[str]) -> None:
    """Put every module whose parameters are all frozen into eval mode, and what lies between them.

    A frozen batch norm must not move its statistics, and frozen layers need no dropout or drop
    path, their own or one between two of them (a transformer's dropout after its embedding). What
    comes after the first trained layer or after the last frozen one (dropout before a classifier)
    is left as it is. Called at a run's start and after each ``model.train()``.

    Args:
        model: the network.
        frozen: names of its frozen parameters.
    """
    names = set(frozen)
    if not names:
        return
    between: list[nn.Module] = []  # without parameters, since the last frozen module
    trained = False
    for prefix, module in model.named_modules():
        own = [name for name, _ in module.named_parameters(prefix=prefix)]
        if own and names.issuperset(own):
            module.eval()
            if not trained:
                for earlier in between:
                    earlier.eval()
            between = []
        elif not own:
            between.append(module)
        elif any(name not in names for name, _ in module.named_parameters(prefix, recurse=False)):
            trained = True
