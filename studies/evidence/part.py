"""What a question is to the rest: conditions, measurements, claims, tables, pictures."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

from matplotlib.figure import Figure
from torch import nn

from spanetv2.table import Table
from studies.evidence.images import Images, load
from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.evidence.stack import Stack
from studies.evidence.store import Record
from studies.mixers.matching import Skeleton, build, match_widths
from studies.mixers.rows import find_row

__all__ = ["Claim", "Condition", "Context", "Part", "Tables"]

Condition = dict[str, str]
"""What sets a run apart from the others of its part, but for the seed: columns of its tables."""
Tables = Mapping[str, list[Record]]
"""Rows by the name of the table; ``runs`` has one per run."""

_load = cache(load)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement that stands if a difference is above 0.

    Args:
        text: the statement.
        differences: by seed.
        unit: of them.
    """

    text: str
    differences: Mapping[int, float]
    unit: str = "points"


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where and how runs are made.

    Args:
        scale: size of everything.
        device: cpu or cuda.
        vectorised: all seeds by one call.
        compiled: by ``torch.compile``.
        bfloat16: autocast.
        root: folder of Fashion-MNIST, where it is not found.
        chosen: learning rate and weight decay by row, where they were tuned.
        updates: length of the runs; None is the scale's.
    """

    scale: Scale
    device: str = "cpu"
    vectorised: bool = False
    compiled: bool = False
    bfloat16: bool = False
    root: str | None = None
    chosen: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    updates: int | None = None

    def load(self, name: str) -> Images:
        """A data set on the CPU, read once."""
        return _load(name, root=self.root)

    def recipe(self, row: str, **changes: Any) -> Recipe:
        """The recipe of a row: its own rate and decay where they are known, else SPAM's."""
        lr, decay = self.chosen.get(row) or self.chosen.get("spam") or (None, None)
        tuned = {} if lr is None else {"lr": lr, "weight_decay": decay}
        length = {} if self.updates is None else {"updates": self.updates}
        return replace(self.scale.recipe, **{**tuned, **length, **changes})

    def network(
        self, row: str, skeleton: Skeleton, edit: Callable[[nn.Module], object] | None = None
    ) -> Callable[[], nn.Module]:
        """What makes a network of a row, of SPAM's number of parameters; changed if asked."""
        chosen = find_row(row)
        dims = match_widths(chosen, skeleton)

        def make() -> nn.Module:
            network = build(chosen, skeleton, dims, "cpu", init_std=None)
            if edit is not None:
                edit(network)
            return network

        return make

    def stack(self, make: Callable[[], nn.Module], seeds: tuple[int, ...]) -> Stack:
        """The networks of several seeds."""
        return Stack(
            make,
            seeds,
            device=self.device,
            vectorised=self.vectorised,
            compiled=self.compiled,
            bfloat16=self.bfloat16,
        )


class Part(ABC):
    """A question, and the runs that answer it."""

    name: ClassVar[str]
    question: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    """Columns of a condition."""

    @abstractmethod
    def conditions(self, scale: Scale) -> list[Condition]:
        """All conditions, in the order of their worth: a stopped part has the first ones."""

    def seeds(self, scale: Scale) -> tuple[int, ...]:
        """Seeds of every condition."""
        return scale.seeds

    @abstractmethod
    def recipe(self, condition: Condition, context: Context) -> Recipe:
        """How the runs of a condition are trained."""

    @abstractmethod
    def make(self, condition: Condition, context: Context) -> Callable[[], nn.Module]:
        """What makes a network of a condition."""

    @abstractmethod
    def images(self, condition: Condition, context: Context) -> Images:
        """What the networks of a condition learn from, on the CPU."""

    @abstractmethod
    def run(
        self,
        condition: Condition,
        seeds: tuple[int, ...],
        context: Context,
        advance: Callable[[int], object],
    ) -> dict[str, list[Record]]:
        """Train and measure; every row of every table has a column ``seed``, those of ``runs`` the
        figures of one run."""

    @abstractmethod
    def claims(self, tables: Tables) -> list[Claim]:
        """What the part can refute, with the differences seen so far."""

    @abstractmethod
    def tables(self, tables: Tables) -> list[Table]:
        """For people."""

    def draw(self, tables: Tables) -> Figure | None:
        """A picture, where there is something to draw."""
        return None
