"""The parts of a data set (training, validation, test) and the names that they go by.

Every reader asks this table, so that one name means one part wherever it is used. ``test`` is never
taken for ``val``: figures on test images are given only where somebody asked for them by name, or
where a data set has no other held-out images and says so (``split_note`` of its source).
"""

from collections.abc import Callable, Sequence

from spanetv2.errors import UserError

__all__ = [
    "ITS_TEST_IMAGES",
    "RUN_SPLITS",
    "SPLITS",
    "canonical_split",
    "find_split",
    "how_to_name",
    "is_split",
    "listed",
    "present_splits",
    "split_names",
    "supported_split",
    "validation_note",
]

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval", "evaluation"),
    "test": ("test", "testing"),
}
"""Canonical name -> the names that mean it, in the order in which they are looked for."""

RUN_SPLITS = ("train", "val")
"""What a training run reads unless it is told other names."""

ITS_TEST_IMAGES = "its test images"
"""``split_note`` of a source whose validation split is the data set's test images."""


def canonical_split(name: str) -> str:
    """``train``, ``val`` or ``test`` for a name of the table, any other name as it is.

    Example:
        >>> canonical_split("validation"), canonical_split("testing"), canonical_split("minival")
        ('val', 'test', 'minival')
    """
    return next((split for split, names in SPLITS.items() if name in names), name)


def is_split(name: str) -> bool:
    """Whether the table has this name, as a folder's for instance."""
    return any(name in names for names in SPLITS.values())


def split_names(name: str) -> tuple[str, ...]:
    """The names to look for, in order: this one, then its synonyms.

    Example:
        >>> split_names("testing"), split_names("minival")
        (('testing', 'test'), ('minival',))
    """
    return tuple(dict.fromkeys((name, *SPLITS.get(canonical_split(name), ()))))


def find_split(split: str, exists: Callable[[str], bool], *, where: str) -> str | None:
    """The name by which a data set holds a split.

    The very name that was asked for wins; its synonyms count only where it is not there.

    Args:
        split: the name asked for.
        exists: whether the data set holds a split of this name.
        where: how a message calls the data set.

    Returns:
        The name, None where there is neither it nor a synonym.

    Raises:
        UserError: several synonyms are there, but not the name itself.

    Example:
        >>> find_split("val", {"train", "validation"}.__contains__, where="pets")
        'validation'
        >>> find_split("val", {"train", "test"}.__contains__, where="pets") is None
        True
    """
    if exists(split):
        return split
    found = [name for name in split_names(split)[1:] if exists(name)]
    if len(found) > 1:
        raise UserError(
            f"got {' and '.join(found)} for split {split!r} in {where}, expected one of them; "
            "name the one that is meant as the split"
        )
    return found[0] if found else None


def present_splits(exists: Callable[[str], bool]) -> list[str]:
    """The names of the table that a data set holds, in the table's order.

    Args:
        exists: whether the data set holds a split of this name.
    """
    return [name for names in SPLITS.values() for name in names if exists(name)]


def how_to_name(split: str, present: Sequence[str]) -> str:
    """What to do where a split is missing: the end of a message that lists those there.

    Args:
        split: the name asked for.
        present: names of the splits that are there.

    Example:
        >>> how_to_name("val", ["train", "test"])
        'name the one that is meant: --split test, or --data.val_split test in training'
    """
    asked = canonical_split(split)
    tests = [name for name in present if canonical_split(name) == "test"]
    name = tests[0] if asked == "val" and tests else "NAME"
    option = "train_split" if asked == "train" else "val_split"
    return f"name the one that is meant: --split {name}, or --data.{option} {name} in training"


def supported_split(split: str, splits: Sequence[str], *, name: str) -> str:
    """The canonical name of a split of a data set that has these and no others.

    Args:
        split: the name asked for.
        splits: canonical names of the data set's splits.
        name: of the data set.

    Raises:
        UserError: it has no such split.

    Example:
        >>> supported_split("training", ["train", "val"], name="digits")
        'train'
    """
    canonical = canonical_split(split)
    if canonical not in splits:
        raise UserError(f"got split {split!r} of {name}, expected {listed(splits)}")
    return canonical


def listed(names: Sequence[str]) -> str:
    """Names to choose from, as text.

    Example:
        >>> listed(["train", "val", "test"])
        'train, val or test'
    """
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def validation_note(split: str | None, declared: str = "") -> str:
    """What the line about a run's data adds where it validates on test images.

    Args:
        split: the name of the run's validation split, None without one.
        declared: ``split_note`` of its source.

    Returns:
        The note in brackets after a space, or an empty text.

    Example:
        >>> validation_note("test"), validation_note("val")
        (' (its test images)', '')
    """
    note = declared or (ITS_TEST_IMAGES if canonical_split(split or "") == "test" else "")
    return f" ({note})" if note else ""
