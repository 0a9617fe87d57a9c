"""Opening a data set by name."""

import dataclasses
from typing import Literal

from spanetv2.data.classes import label_table
from spanetv2.data.preprocessing import Transform
from spanetv2.errors import UserError
from spanetv2.files import read_text
from spanetv2.tasks.classification.data import readers
from spanetv2.tasks.classification.data.arrays import digits, fashion_mnist
from spanetv2.tasks.classification.data.folder import FolderSource, split_folder
from spanetv2.tasks.classification.data.labels_file import LabelsFileSource
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.classification.data.stream import StreamSource
from spanetv2.tasks.classification.data.tar import TarSource
from spanetv2.text import printable

__all__ = ["DatasetSpec", "ImageSource", "StreamSource", "open_dataset"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Which data set, and which part of it."""

    name: str = "folder"
    """folder (one sub-folder per class), digits, fashion_mnist, tar, torch/<torchvision's name>,
    hfds/<Hugging Face name>, hfids/<name> (streamed) or wds (WebDataset shards)."""
    root: str | None = None
    """Folder or file of the data; for hfds and hfids without a name, a local data set."""
    split: str = "train"
    """train, val, test or a synonym (``data.splits``), or the data set's own name of a part, which
    hfds, hfids and wds take as it is; for wds also shards in braces."""
    download: bool = False
    """Fetch the data if it is not there (torch/, fashion_mnist, hfids/)."""
    classes: list[str] | None = None
    """Class names in index order; the data's own are matched by name. By default the data's."""
    class_file: str | None = None
    """The same, from a text file with one name per line."""
    labels: str | None = None
    """A CSV file that says the class of every image below the root (folder)."""
    image_column: str | None = None
    """Its column of images; by default, found by name."""
    label_column: str | None = None
    """Its column of classes, or several with commas between them; by default, found by name."""
    multi_label: bool | None = None
    """Whether images may have several labels, or none (labels); by default, found out."""
    white: int | None = None
    """Value of white in grey images of more than 8 bits; None is 65535."""
    max_pixels: int | None = None
    """Most pixels of an image; None is Pillow's limit."""
    num_samples: int | None = None
    """Number of samples of a stream that does not tell it."""
    input_key: str | None = None
    """Column (hfds, hfids) or file ending (wds) of the images."""
    target_key: str | None = None
    """Column (hfds, hfids) or JSON field (wds) of the labels."""

    def wanted_classes(self) -> list[str] | None:
        """The class names asked for, None for the data's own.

        Raises:
            UserError: given twice, a name twice, or a file that cannot be read.
        """
        names = self.classes
        if self.class_file is not None:
            if names is not None:
                raise UserError("got classes and class_file, expected only one of them")
            text = read_text(self.class_file, expected="a class name on each line")
            lines = text.splitlines()
            names = [line.strip() for line in lines if line.strip()]
        if names is not None and (not names or len(set(names)) != len(names)):
            raise UserError(f"got {len(names)} class names, expected at least one and none twice")
        return names


def open_dataset(
    spec: DatasetSpec,
    transform: Transform | None = None,
    *,
    training: bool = False,
    seed: int = 0,
    batch_size: int = 1,
    on_error: Literal["raise", "skip"] = "raise",
) -> ImageSource | StreamSource:
    """Open a data set.

    Args:
        spec: which one.
        transform: applied to every Pillow image (mode ``L`` or ``RGB``).
        training: streams are shuffled; class folders without images are classes.
        seed: streams only: of the shuffling.
        batch_size: streams only: samples per batch and process.
        on_error: streams only: what a damaged sample does. Others raise ``ImageError`` on reading.

    Returns:
        An ``ImageSource`` (random access), or a ``StreamSource`` for ``wds`` and ``hfids``.

    Raises:
        UserError: it is not there, or not what was expected.
    """
    source = _open(spec, transform, training, seed, batch_size, on_error)
    source.take_white(spec.white)
    source.max_pixels = spec.max_pixels
    return source


def _open(
    spec: DatasetSpec,
    transform: Transform | None,
    training: bool,
    seed: int,
    batch_size: int,
    on_error: Literal["raise", "skip"],
) -> ImageSource | StreamSource:
    classes = spec.wanted_classes()
    if spec.labels is not None and spec.name not in ("", "folder"):
        raise UserError(f"got labels in a file for data set {spec.name!r}, expected folder")
    kind = spec.name.partition("/")[0]
    if kind in ("", "folder", "image_folder") or spec.name in (
        "torch/folder",
        "torch/image_folder",
    ):
        if spec.root is None:
            raise UserError("got no data folder, expected the root of a folder data set")
        if spec.labels is not None:
            return LabelsFileSource(
                spec.root,
                spec.labels,
                split=spec.split,
                image_column=spec.image_column,
                label_column=spec.label_column,
                multi_label=spec.multi_label,
                classes=classes,
                transform=transform,
            )
        folder = split_folder(spec.root, spec.split)
        return FolderSource(folder, classes=classes, transform=transform, drop_empty=not training)
    if spec.name in ("digits", "fashion_mnist"):
        if spec.name == "digits":
            if spec.root is not None:
                raise UserError(
                    f"got data folder {printable(str(spec.root))} for the data set digits, which "
                    "comes with the package; expected none, or the data set folder"
                )
            source = digits(spec.split, transform=transform)
        else:
            source = fashion_mnist(
                spec.split, root=spec.root, download=spec.download, transform=transform
            )
        if classes is not None:
            assert source.labels is not None
            table = label_table(source.classes, classes, where=spec.name)
            source.labels = source.labels.copy()
            source.labels[:] = [table[label] for label in source.labels]
            source.classes = classes
        return source
    if kind == "tar":
        return TarSource(spec.root, spec.split, classes=classes, transform=transform)
    if kind == "torch":
        return readers.torchvision(
            spec.name,
            spec.root,
            spec.split,
            download=spec.download,
            classes=classes,
            transform=transform,
        )
    if kind == "hfds":
        return readers.hfds(
            spec.name,
            spec.root,
            spec.split,
            classes=classes,
            input_key=spec.input_key,
            target_key=spec.target_key,
            transform=transform,
        )
    if kind in ("wds", "hfids"):
        return readers.stream(
            spec.name,
            spec.root,
            spec.split,
            training=training,
            seed=seed,
            batch_size=batch_size,
            classes=classes,
            num_samples=spec.num_samples,
            download=spec.download,
            input_key=spec.input_key,
            target_key=spec.target_key,
            transform=transform,
            on_error=on_error,
        )
    raise UserError(
        f"got data set {spec.name!r}, expected folder, digits, fashion_mnist, tar, torch/<name>, "
        "hfds/<name>, hfids/<name> or wds"
    )
