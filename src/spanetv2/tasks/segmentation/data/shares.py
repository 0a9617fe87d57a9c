"""What the counted pixels of a data set say about its class list."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from spanetv2.data.classes import KEEP_CLASSES
from spanetv2.tasks.segmentation.data.encoding import IGNORED
from spanetv2.tasks.segmentation.data.source import PairSource

__all__ = ["ClassFindings", "PixelCounts", "find_class_problems", "share_line"]

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class PixelCounts:
    """Pixels of a split.

    Args:
        pixels: labelled pixels by class.
        ignored: pixels that are not labelled.
    """

    pixels: Sequence[int]
    ignored: int

    @property
    def labelled(self) -> int:
        """Pixels that count."""
        return sum(self.pixels)


@dataclass(kw_only=True)
class ClassFindings:
    """What is wrong with a split's classes, each in a line."""

    errors: list[str] = field(default_factory=list)
    """training stops on these"""
    warnings: list[str] = field(default_factory=list)


def find_class_problems(
    source: PairSource, counts: PixelCounts, *, training: bool, allow_missing: bool = False
) -> ClassFindings:
    """Judge what a split's masks hold; training and check-data both do with this.

    Args:
        source: the split.
        counts: its pixels.
        training: whether it is to be trained on, where every class has to occur.
        allow_missing: the user said that classes may be missing.
    """
    findings = ClassFindings()
    never = [c for c, count in zip(source.classes, counts.pixels, strict=True) if not count]
    if not counts.labelled:
        line = f"no labelled pixel in {len(source)} masks{_reason(source, counts, never)}"
        findings.errors.append(line)
    elif never:
        more = f" and {len(never) - _SHOWN} more" if len(never) > _SHOWN else ""
        line = f"never labelled: {', '.join(never[:_SHOWN])}{more}"
        line += _reason(source, counts, never)
        if not training or allow_missing:
            findings.warnings.append(line)
        else:
            findings.errors.append(
                f"{line}; take them from the class list, or go on without their pixels by "
                f"{KEEP_CLASSES}"
            )
    elif training and len(source.classes) == 1:
        line = (
            f"one class, {source.classes[0]!r}, covers every labelled pixel: there is nothing to "
            "learn; expected two or more classes, such as background before it"
        )
        (findings.warnings if allow_missing else findings.errors).append(line)
    return findings


def _reason(source: PairSource, counts: PixelCounts, never: Sequence[str]) -> str:
    """What the pattern looks like, and the option that reads it."""
    lookup, classes = source.encoding.lookup, source.classes
    total = counts.labelled + counts.ignored
    share = f"{100 * counts.ignored / total:.1f} %" if total else "none"
    if not counts.ignored or source.encoding.by_colour:
        return ""
    if lookup[0] == IGNORED and classes[-1] in never:
        return (
            f": labels look as if they start at 0, which means not labelled here ({share} of the "
            f"pixels) and the last class, {classes[-1]!r}, never occurs; if 0 is "
            f"{classes[0]!r}: --data.mask_values 0 (check-data: --mask-values 0)"
        )
    if lookup[IGNORED] == IGNORED and len(classes) == 2 and list(never) == classes[1:]:
        return (
            f": the masks hold 0 and 255, which means not labelled ({share} of the pixels); if 255 "
            f"is {classes[1]!r}: --data.mask_values [0,255] (check-data: --mask-values 0,255)"
        )
    return f" ({share} of the pixels are not labelled)"


def share_line(classes: Sequence[str], counts: PixelCounts) -> str:
    """The share of every class among the labelled pixels, as text."""
    total = counts.labelled
    parts = [
        f"{name} {_percent(count / total if total else 0.0)}"
        for name, count in zip(classes, counts.pixels, strict=True)
    ]
    text = f"pixels: {', '.join(parts)}"
    if counts.ignored:
        text += f"; not labelled: {_percent(counts.ignored / (total + counts.ignored))} of all"
    return textwrap.fill(text, 100, subsequent_indent="  ", break_on_hyphens=False)


def _percent(share: float) -> str:
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.{2 if share < 0.01 else 1}f} %"
