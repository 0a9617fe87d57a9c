"""Names of classes: ImageNet's, their readable titles, and matching two lists by name.

A class is known by the name of its folder. ImageNet's folders are WordNet ids ("wnids", such as
n01440764), and its class indices are their alphabetical order; people read the first word that
WordNet gives them ("tench").
"""

import difflib
import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from spanetv2.errors import UserError

__all__ = [
    "KEEP_CLASSES",
    "EmptyClasses",
    "class_rows",
    "class_titles",
    "imagenet_classes",
    "keeps_empty",
    "label_table",
    "match_classes",
    "model_classes",
    "near_miss",
]

EmptyClasses = Literal["stop", "keep"]
"""What training does about a class that has nothing to learn from."""

KEEP_CLASSES = "--data.empty_classes keep (in check-data --empty-classes keep)"
"""How to train all the same, for a message."""


def keeps_empty(empty_classes: str) -> bool:
    """Whether ``data.empty_classes`` lets training go on; refuses other words than its two.

    Raises:
        UserError: naming them.

    Example:
        >>> keeps_empty("keep"), keeps_empty("stop")
        (True, False)
    """
    if empty_classes not in get_args(EmptyClasses):
        raise UserError(f"got empty_classes {empty_classes!r}, expected stop or keep")
    return empty_classes == "keep"


_WNID = re.compile(r"n\d{8}")


@functools.cache
def _info():
    from timm.data.imagenet_info import ImageNetInfo

    return ImageNetInfo("imagenet-1k")


def imagenet_classes() -> list[str]:
    """The 1000 wnids of ImageNet-1k in index order, which is alphabetical.

    Example:
        >>> imagenet_classes()[:2], len(imagenet_classes())
        (['n01440764', 'n01443537'], 1000)
    """
    return list(_info().label_names())


def class_titles(classes: Sequence[str]) -> list[str]:
    """Readable names: wnids become WordNet's first word, other names stay.

    Titles that would not be unique keep the wnid in brackets (ImageNet has two cranes).

    Example:
        >>> class_titles(["n01440764", "my cat"])
        ['tench', 'my cat']
    """
    titles = [_title(name) for name in classes]
    counts = Counter(titles)
    return [
        title if counts[title] == 1 or title == name else f"{title} ({name})"
        for title, name in zip(titles, classes, strict=True)
    ]


def model_classes(names: Sequence[str] | None, num_classes: int) -> list[str]:
    """The class names to show for a model's outputs.

    Args:
        names: as its checkpoint records them, None if it does not.
        num_classes: number of outputs.

    Returns:
        ``names``; without them, ImageNet's for 1000 outputs, else the indices.

    Raises:
        UserError: not as many names as outputs.
    """
    if names is None:
        return imagenet_classes() if num_classes == 1000 else [str(i) for i in range(num_classes)]
    if len(names) != num_classes:
        raise UserError(
            f"got {len(names)} class names for a model with {num_classes} outputs; "
            "the checkpoint contradicts itself"
        )
    return list(names)


def match_classes(
    data: Sequence[str], model: Sequence[str] | None, num_classes: int
) -> tuple[list[str], list[int]]:
    """Find each of a data set's classes among a model's outputs, by name.

    The data may hold a part of the model's classes, in any order; a wnid and its title count as the
    same name. A checkpoint of 1000 classes without names is taken for ImageNet's if any name fits;
    others without names are matched by position, and only if the number of classes is the same.

    Args:
        data: the data set's class names, by its labels.
        model: the model's class names, None if the checkpoint records none.
        num_classes: the model's number of outputs.

    Returns:
        The names of the model's outputs, and for each of the data's labels the output it means.

    Raises:
        UserError: a class the model does not have, or two that mean the same output.

    Example:
        >>> match_classes(["tench", "goldfish"], imagenet_classes(), 1000)[1]
        [0, 1]
    """
    if model is None:
        imagenet = imagenet_classes() if num_classes == 1000 else []
        if {*imagenet, *map(_title, imagenet)}.isdisjoint(data):
            if len(data) != num_classes:
                raise UserError(
                    f"got data of {len(data)} classes and a checkpoint of {num_classes} that does "
                    "not name them, expected the same number; use data with all its classes"
                )
            return list(data), list(range(num_classes))
    names = model_classes(model, num_classes)
    # Every name by which an output may be known; a name that two outputs share means neither.
    aliases = Counter(alias for name in names for alias in {name, _title(name)})
    canonical = {
        alias: name for name in names for alias in (_title(name), name) if aliases[alias] == 1
    }
    canonical |= {name: name for name in names}
    wanted = [canonical.get(name, canonical.get(_title(name), name)) for name in data]
    table = label_table(wanted, names, where="the data")
    twice = [name for name, count in Counter(wanted).items() if count > 1]
    if twice:
        raise UserError(f"got two classes in the data that both mean {twice[0]!r}; merge them")
    return names, table


def label_table(names: Sequence[str], classes: Sequence[str], *, where: str) -> list[int]:
    """The index in ``classes`` of every name in ``names``.

    Raises:
        UserError: a name in ``names`` is not in ``classes``.

    Example:
        >>> label_table(["cat", "dog"], ["ant", "dog", "cat"], where="pets")
        [2, 1]
    """

    def refusal(unknown: str, known: str) -> str:
        return (
            f"got unknown classes {unknown} in {where}, expected only the {len(classes)} known "
            f"ones ({known}); rename or remove them"
        )

    return class_rows(names, classes, refusal=refusal)


def class_rows(
    names: Sequence[str], classes: Sequence[str], *, refusal: Callable[[str, str], str]
) -> list[int]:
    """The index in ``classes`` of every name in ``names``.

    Args:
        names: to look up.
        classes: all that are known.
        refusal: makes the message from the first unknown names and the first known ones.

    Raises:
        UserError: a name is unknown.
    """
    index = {name: i for i, name in enumerate(classes)}
    unknown = [name for name in names if name not in index]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        known = ", ".join(map(repr, classes[:5])) + (", ..." if len(classes) > 5 else "")
        close = near_miss(unknown[0], classes)
        meant = "" if close is None else f"; is {close!r} meant by {unknown[0]!r}?"
        raise UserError(refusal(", ".join(map(repr, unknown[:5])) + more, known) + meant)
    return [index[name] for name in names]


def near_miss(name: str, known: Sequence[str]) -> str | None:
    """The class that a name may be meant to be, but for spaces, case or a slip; None for none.

    Example:
        >>> [near_miss(name, ["leaf", "stone"]) for name in ("Stone ", "stnoe", "car")]
        ['stone', 'stone', None]
    """
    plain = {one.strip().casefold(): one for one in known}
    if (same := plain.get(name.strip().casefold())) is not None:
        return same
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), None)


def _title(name: str) -> str:
    if not _WNID.fullmatch(name):
        return name
    try:
        return _info().label_name_to_description(name).split(",")[0]
    except KeyError:
        return name
