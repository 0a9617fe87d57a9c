"""The kinds of inputs, each a module with recipes, a way to build them, and its own oracle."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import (
    checkpoints,
    classes,
    coco,
    commands,
    configurations,
    hubs,
    layouts,
    masks,
    predictions,
    tools,
    trainings,
)
from tests.fuzz.worker import Outcome

__all__ = ["KINDS", "Kind", "recipes"]

Recipe = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input.

    Args:
        recipes: what may be built; plain JSON values.
        build: writes a recipe's files into a folder and gives the command's arguments.
        judge: faults that only knowledge of the command finds, above all silent ones.
        share: how often it is drawn, against the others.
    """

    recipes: st.SearchStrategy[Recipe]
    build: Callable[[Recipe, Path], list[str]]
    judge: Callable[[Recipe, Path, Outcome], list[str]]
    share: int


_MODULES = (
    *(predictions, masks, coco, classes, layouts, trainings),
    *(checkpoints, hubs, configurations, commands, tools),
)
KINDS = {
    module.__name__.rpartition(".")[2]: Kind(
        recipes=module.recipes(), build=module.build, judge=module.judge, share=module.SHARE
    )
    for module in _MODULES
}


def recipes() -> st.SearchStrategy[Recipe]:
    """Any input: ``{"kind": name, "recipe": recipe}``."""
    drawn = [name for name, kind in KINDS.items() for _ in range(kind.share)]

    def of_kind(name: str) -> st.SearchStrategy[Recipe]:
        return KINDS[name].recipes.map(lambda recipe: {"kind": name, "recipe": recipe})

    return st.sampled_from(drawn).flatmap(of_kind)
