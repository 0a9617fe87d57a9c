"""How many objects of each class a data set has, and what becomes of them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Counts"]

_SHOWN = 5


@dataclass(kw_only=True)
class Counts:
    """Objects and images of a split.

    Args:
        classes: names, in label order.
        training: whether what training makes of them is counted, too.
        images: number of images in the annotation file.
        objects: annotations by class.
        crowds: those of them that mark a crowd.
        masks: those that have a mask and mark no crowd.
        used: those that training learns from.
        left_out: reason -> by class, those it does not, or would not if it were for training.
        empty: images without an annotation.
        images_left_out: reason -> number of images that training goes without.
    """

    classes: list[str]
    training: bool
    images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    crowds: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    images_left_out: Counter[str] = field(default_factory=Counter)
    empty: int = 0

    @property
    def single(self) -> Counter[str]:
        """Objects by class, crowds not counted."""
        return self.objects - self.crowds

    def leave_out(self, reason: str, name: str) -> None:
        """Count an object that training goes without."""
        self.left_out.setdefault(reason, Counter())[name] += 1

    def reasons(self, name: str) -> str:
        """Why training goes without objects of a class."""
        parts = [f"{by[name]:,} {why}" for why, by in self.left_out.items() if by[name]]
        return ", ".join(parts)

    def left_out_text(self) -> str:
        """What training goes without, by reason and class; "" for nothing."""
        parts = [f"{by.total():,} {why}{self._by_class(by)}" for why, by in self.left_out.items()]
        parts += [f"{count:,} {why}" for why, count in self.images_left_out.items()]
        return ", ".join(parts)

    def measured_text(self) -> str:
        """What figures do with objects that training would leave out; "" where there is none."""
        parts = [f"{by.total():,} {why}{self._by_class(by)}" for why, by in self.left_out.items()]
        if not parts:
            return ""
        parts += [f"{self.empty:,} images without an object"] if self.empty else []
        return f"{', '.join(parts)}: figures take all as annotated and do not count crowds"

    def _by_class(self, by: Mapping[str, int]) -> str:
        return f" ({by_class(by)})" if len(self.classes) > 1 else ""

    def masks_text(self) -> str:
        """Which objects have no mask, where some have one; "" otherwise."""
        single, masks = self.single, self.masks
        without = single - masks
        if not without or not masks.total():
            return ""
        named = [f"{name} {without[name]:,} of {single[name]:,}" for name in ordered(without)]
        listed = ", ".join(named[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
        return (
            f"{without.total():,} of {single.total():,} objects have no mask ({listed}): they are "
            "learned and measured by their boxes, the others by their masks, too"
        )

    def table(self) -> str:
        """Objects by class and by what becomes of them."""
        single, masks = self.single, self.masks
        columns: dict[str, Mapping[str, int]] = {"objects": self.objects}
        if self.training:
            columns["trained on"] = self.used
        if masks != single:
            columns["with masks"] = masks
        if self.training:
            columns |= self.left_out
        elif self.crowds.total():
            columns["crowds"] = self.crowds
        width = max(map(len, ["class", *self.classes]))
        lines = ["  ".join([f"{'class':{width}}", *columns])]
        for name in self.classes:
            cells = [f"{column[name]:>{len(title)},}" for title, column in columns.items()]
            lines.append("  ".join([f"{name:{width}}", *cells]))
        return "\n".join(lines)


def ordered(by: Mapping[str, int]) -> list[str]:
    """Names, the most frequent first.

    Example:
        >>> ordered({"a": 1, "b": 2})
        ['b', 'a']
    """
    return sorted(by, key=lambda name: -by[name])


def by_class(by: Mapping[str, int], names: Iterable[str] = ()) -> str:
    """Numbers by class, the largest first.

    Example:
        >>> by_class({"leaf": 1, "stone": 2})
        'stone 2, leaf 1'
    """
    names = list(names) or ordered(by)
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(f"{name} {by[name]:,}" for name in names[:_SHOWN]) + more
