"""An annotation file: reading it, and its categories."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spanetv2.data.classes import near_miss
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.ids import Key, OwnId, id_key, in_order
from spanetv2.tasks.detection.data.numbers import shown
from spanetv2.text import shorten

__all__ = [
    "Categories",
    "Category",
    "Effect",
    "Problem",
    "entry_key",
    "read_record",
    "references",
    "some",
    "unknown_class",
]

Effect = Literal["stops", "left out", "kept"]
"""What training does about a problem: refuses the data, goes on without it, or uses it as it is."""

_SHOWN = 5


class Problem(NamedTuple):
    """Something that is wrong with the data."""

    path: str
    """The annotation file, or the image file."""
    annotation: OwnId | None
    """The annotation's id; None where it has none, or is not the cause."""
    reason: str
    """What is wrong, and where that is known, in which image."""
    effect: Effect
    """What training does."""
    kind: str = ""
    """What is the same for all problems like this one."""

    def __str__(self) -> str:
        place = "" if self.annotation is None else f"annotation {self.annotation}: "
        return f"{self.path}: {place}{self.reason}"


def read_record(path: str | os.PathLike[str]) -> dict[str, list[Any]]:
    """Read an annotation file and check that it has COCO's three lists.

    Raises:
        UserError: it cannot be read, is not JSON, or has another form.
    """
    try:
        record = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({(error.strerror or str(error)).lower()}), "
            "expected COCO annotations"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}), expected COCO annotations") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(record, dict) or not isinstance(record.get(key), list):
            raise UserError(
                f"{path}: no list {key!r}, expected COCO annotations: an object with the lists "
                "images, annotations and categories"
            )
    return record


def entry_key(entry: Any, known: Mapping[Key, Any], what: str) -> tuple[Key | None, str | None]:
    """The key of an image, category or annotation, and what is wrong with it.

    Args:
        entry: from the file.
        known: earlier entries.
        what: how a message calls such an entry, with its article.
    """
    value = entry.get("id") if isinstance(entry, Mapping) else None
    key = id_key(value)
    if key is None:
        got = "" if value is None else f" but {shown(value)}"
        return None, f"no id{got}, expected a whole number or a text"
    if key in known:
        return (
            key,
            f"id {shorten(str(value), 80)}, which another {what} has too, expected each once",
        )
    return key, None


class Category(NamedTuple):
    """A class of objects as the file knows it."""

    own_id: OwnId
    name: str
    parent: str
    """its supercategory; "" for none"""


class Categories:
    """The categories of an annotation file.

    Args:
        entries: from the file.
        used: keys of the categories that annotations refer to.

    Attributes:
        by_key: those without a fault.
        faults: what is wrong, in words.
    """

    def __init__(self, entries: Sequence[Any], used: set[Key]):
        self.by_key: dict[Key, Category] = {}
        self.faults: list[str] = []
        self._used = used
        names: set[str] = set()
        for place, entry in enumerate(entries):
            key, fault = entry_key(entry, self.by_key, "category")
            if fault is None:
                name = entry.get("name")
                if not isinstance(name, str) or not name:
                    fault = f"category {entry['id']} without name"
                elif name in names:
                    fault = f"name {name!r}, which another category has too, expected each once"
            if fault is not None:
                self.faults.append(f"categories[{place}]: {fault}")
                continue
            assert key is not None
            parent = entry.get("supercategory")
            parent = parent if isinstance(parent, str) else ""
            self.by_key[key] = Category(entry["id"], entry["name"], parent)
            names.add(entry["name"])

    @property
    def placeholders(self) -> list[str]:
        """Names of categories that only stand for a group of others, as Roboflow writes them."""
        parents = {c.parent for c in self.by_key.values() if c.parent != c.name}
        return [
            c.name
            for key, c in self.by_key.items()
            if key not in self._used and c.name in parents and c.parent in ("", "none", c.name)
        ]

    def names(self) -> list[str]:
        """The classes of the file, in the order of their ids, without placeholders."""
        left = set(self.placeholders)
        ordered = [self.by_key[key].name for key in sorted(self.by_key, key=in_order)]
        return [name for name in ordered if name not in left]


def unknown_class(name: str, names: Sequence[str]) -> str:
    """Say that a category is not among the classes, and which it may be meant to be.

    Example:
        >>> unknown_class("Stone ", ["leaf", "stone"])
        "category 'Stone ', which is not among the 2 classes (leaf, stone); is 'stone' meant?"
    """
    close = near_miss(name, names)
    meant = "" if close is None else f"; is {close!r} meant?"
    listed = some(sorted(names))
    return f"category {name!r}, which is not among the {len(names)} classes ({listed}){meant}"


def some(values: Sequence[Any], count: int = _SHOWN) -> str:
    """The first few of several values.

    Example:
        >>> some([1, 2, 3], 2)
        '1, 2, ...'
    """
    return ", ".join(map(str, values[:count])) + (", ..." if len(values) > count else "")


def references(annotations: Sequence[Any], name: str) -> Iterator[Key]:
    """The keys by which annotations refer to others."""
    for annotation in annotations:
        if isinstance(annotation, Mapping):
            key = id_key(annotation.get(name))
            if key is not None:
                yield key
