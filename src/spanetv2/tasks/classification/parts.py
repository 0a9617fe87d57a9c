"""The training and the validation images that a configuration means; check-data asks here, too."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from spanetv2.data.classes import KEEP_CLASSES
from spanetv2.data.splits import canonical_split
from spanetv2.data.white import deep_images, find_white
from spanetv2.errors import UserError
from spanetv2.tasks.classification.config import DataConfig
from spanetv2.tasks.classification.data.holdout import (
    PartSource,
    check_apart,
    held_out_note,
    held_out_record,
    hold_out,
)
from spanetv2.tasks.classification.data.sources import (
    DatasetSpec,
    ImageSource,
    StreamSource,
    open_dataset,
)

__all__ = ["Parts", "class_faults", "classes_unseen", "divide", "open_part", "settle_white"]

_SHOWN = 5


class Parts(NamedTuple):
    """What is trained on and what is measured."""

    train: ImageSource | StreamSource
    val: ImageSource | StreamSource | None
    held_out: dict[str, Any] | None
    """how validation images are found again that were held out of training"""


def open_part(
    config: DataConfig,
    split: str,
    *,
    training: bool,
    seed: int = 0,
    batch_size: int = 1,
    **changes: Any,
) -> ImageSource | StreamSource:
    """Open a split of a run's data.

    Args:
        config: of the data.
        split: name of the split.
        training: whether it is the split to train on.
        seed: streams only: of the shuffling.
        batch_size: streams only: samples per batch and process.
        **changes: values of the data set's specification in place of the configuration's.

    Raises:
        UserError: no such data.
    """
    spec = DatasetSpec(
        name=config.dataset,
        root=config.root,
        split=split,
        labels=config.labels if training else config.val_labels or config.labels,
        image_column=config.image_column,
        label_column=config.label_column,
        multi_label=config.multi_label,
        download=config.download,
        classes=config.classes,
        class_file=config.class_file,
        num_samples=config.num_samples if training else config.val_num_samples,
        input_key=config.input_key,
        target_key=config.target_key,
        max_pixels=config.max_pixels,
    )
    return open_dataset(
        dataclasses.replace(spec, **changes), training=training, seed=seed, batch_size=batch_size
    )


def divide(
    config: DataConfig, whole: ImageSource | StreamSource, *, seed: int, batch_size: int = 1
) -> Parts:
    """Find the validation images of a run: a share of the training images, or another split.

    Args:
        config: of the data.
        whole: the training split.
        seed: of the choice.
        batch_size: streams only: samples per batch and process.

    Raises:
        UserError: no such data, classes that training has not, or the very training images.
    """
    if config.val_share is not None:
        return _held_out(whole, config.val_share, seed)
    if config.val_split is None:
        return Parts(whole, None, None)
    # A class without validation images keeps its number; one never trained is refused.
    changes: dict[str, Any] = {"classes": whole.classes, "class_file": None}
    if isinstance(whole, ImageSource):
        changes["multi_label"] = whole.multi_label
    val = open_part(config, config.val_split, training=False, batch_size=batch_size, **changes)
    if canonical_split(config.val_split) != canonical_split(config.train_split):
        check_apart(whole, val)
    return Parts(whole, val, None)


def _held_out(whole: ImageSource | StreamSource, share: float, seed: int) -> Parts:
    if not isinstance(whole, ImageSource):
        raise UserError(
            "got data.val_share for a stream, expected data that can be divided; name a "
            "validation split (--data.val_split)"
        )
    kept, held = hold_out(whole, share, seed=seed)
    train = PartSource(whole, kept, transform=None)
    val = PartSource(whole, held, transform=None)
    val.split_note, val.remarks = held_out_note(share, seed), ()  # the whole's are said once
    return Parts(train, val, held_out_record(whole, share, seed=seed))


def class_faults(source: ImageSource | StreamSource, *, keep: bool = False) -> list[str]:
    """What keeps a training split's classes from being learned; training stops at the first.

    Args:
        source: the training split.
        keep: the user said that classes may have no image.
    """
    faults = []
    several = isinstance(source, ImageSource) and source.multi_label
    if len(source.classes) < (1 if several else 2):
        faults.append(
            f"got {len(source.classes)} class ({', '.join(source.classes)}), expected 2 or more: "
            "with one there is nothing to learn"
        )
    counts = source.images_per_class() if isinstance(source, ImageSource) else None
    if counts is not None and not keep and (empty := np.flatnonzero(counts == 0).tolist()):
        named = _few([source.classes[i] for i in empty])
        faults.append(
            f"got no training image of {len(empty)} of {len(source.classes)} classes ({named}), "
            f"expected some of each; add images, take the classes away, or go on with "
            f"{KEEP_CLASSES}"
        )
    return faults


def classes_unseen(parts: Parts) -> str:
    """A line about classes that are trained on and never measured; "" where there is none."""
    both = (parts.train, parts.val)
    counts = [s.images_per_class() if isinstance(s, ImageSource) else None for s in both]
    if counts[0] is None or counts[1] is None:
        return ""
    classes = parts.train.classes
    unseen = [classes[i] for i in np.flatnonzero((counts[0] > 0) & (counts[1] == 0)).tolist()]
    if not unseen:
        return ""
    return f"no validation images of {len(unseen)} of {len(classes)} classes: {_few(unseen)}"


def settle_white(
    source: ImageSource | StreamSource,
    *,
    given: int | None,
    max_pixels: int | None = None,
    progress: bool = False,
) -> tuple[int, int | None]:
    """The white of a training split's grey images of more than 8 bits.

    Args:
        source: the training split.
        given: white as it was said; None finds it.
        max_pixels: most pixels of an image; None is Pillow's limit.
        progress: show a bar on a terminal.

    Returns:
        The number of such images, and white; None where there are none and nothing was said.
    """
    files = source.files() if isinstance(source, ImageSource) else []
    deep = deep_images(files, max_pixels=max_pixels, progress=progress)
    if given is None:
        given = find_white(deep, max_pixels=max_pixels, progress=progress)
    return len(deep), given


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
