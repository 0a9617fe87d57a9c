"""What is compared: one row per token mixer, on the same skeleton."""

from dataclasses import dataclass, replace
from typing import Any

from spanetv2.errors import UserError

__all__ = ["REFERENCE", "ROWS", "UNMATCHED", "Row", "find_row"]

REFERENCE = "spam"
"""The row that the others are compared with, and whose parameters they match."""
UNMATCHED = "_unmatched"
"""Ending of a row's name that keeps the skeleton's widths."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A network of the comparison.

    Args:
        name: as on the command line and in the tables.
        title: as in the figures.
        mixers: one per stage, names that ``spanetv2.mixers.read_mixers`` understands.
        head_order: see ``SPAM``.
        gate: see ``SpectralRescale``.
        matched: widths are chosen so that the parameters are those of the reference.
    """

    name: str
    title: str
    mixers: tuple[str, str, str, str]
    head_order: str = "interleaved"
    gate: str = "sigmoid"
    matched: bool = True


def _row(name: str, title: str, *mixers: str, **options: Any) -> Row:
    first, second, third, fourth = mixers * 4 if len(mixers) == 1 else mixers
    return Row(name=name, title=title, mixers=(first, second, third, fourth), **options)


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        _row("spam", "SPAM", "spam"),
        _row("spam_no_srf", "SPAM without SRF", "spam_no_srf"),
        _row("spam_3", "SPAM, 3x3 only", "spam_3"),
        _row("spam_5", "SPAM, 5x5 only", "spam_5"),
        _row("spam_7", "SPAM, 7x7 only", "spam_7"),
        _row("spam_9", "SPAM, 9x9 only", "spam_9"),
        _row("spam_no_modulation", "SPAM without modulation", "spam_no_modulation"),
        _row("spam_concatenated", "SPAM, concatenated heads", "spam", head_order="concatenated"),
        _row("spam_scaled_sigmoid", "SPAM, scaled sigmoid", "spam", gate="scaled_sigmoid"),
        _row("sepconv", "SepConv", "sepconv"),
        _row("attention", "self-attention", "attention_16"),
        _row("hybrid", "hybrid", "spam", "spam", "mixed_attention_16", "attention_16"),
        _row("pooling", "pooling", "pooling"),
        _row("identity", "identity", "identity"),
    )
}


def find_row(name: str) -> Row:
    """A row by name; with ``_unmatched`` at its end, at the skeleton's widths.

    Raises:
        UserError: no such row.

    Example:
        >>> find_row("sepconv_unmatched").matched, find_row("sepconv").matched
        (False, True)
    """
    base = name.removesuffix(UNMATCHED)
    if base not in ROWS:
        raise UserError(f"got row {name!r}, expected one of {', '.join(ROWS)}")
    row = ROWS[base]
    if name == base:
        return row
    return replace(row, name=name, title=f"{row.title} (unmatched)", matched=False)
