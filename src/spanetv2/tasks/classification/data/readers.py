"""Sources on top of timm's readers and of torchvision's data sets.

timm's own ``ImageDataset`` answers a damaged image with the next one; here its readers find the
samples and ``images.read_image`` decodes them, so that a damaged one is an error.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from spanetv2.data.classes import label_table
from spanetv2.data.images import ImageError, to_eight_bit
from spanetv2.data.preprocessing import Transform
from spanetv2.data.splits import ITS_TEST_IMAGES, canonical_split, supported_split
from spanetv2.errors import UserError
from spanetv2.extras import need_packages
from spanetv2.tasks.classification.data.shards import ShardStream
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.classification.data.stream import StreamSource, label_index
from spanetv2.text import one_line

__all__ = [
    "ReaderSource",
    "TimmStream",
    "TorchvisionSource",
    "hfds",
    "stream",
    "torchvision",
]

_TRAIN_AND_TEST = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist")
"""torchvision's data sets without validation images."""


class ReaderSource(ImageSource):
    """A map-style timm reader, which gives open files and labels.

    Args:
        reader: the reader.
        name: how messages call the data set.
        reader_classes: class names of the reader, in its index order.
        classes: class names in the wanted index order; by default the reader's.
        transform: applied to every Pillow image.
    """

    def __init__(
        self,
        reader: Any,
        *,
        name: str,
        reader_classes: Sequence[str],
        classes: Sequence[str] | None,
        transform: Transform | None = None,
    ):
        self._table = np.asarray(_table(reader_classes, classes, where=name))
        super().__init__(classes=list(classes or reader_classes), labels=None, transform=transform)
        self.reader = reader
        self.name = name

    def __len__(self) -> int:
        return len(self.reader)

    def location(self, index: int) -> str:
        file = self.reader.filename(index)
        return f"{self.name}/{file}" if file else f"{self.name}[{index}]"

    def sample(self, index: int) -> tuple[Image.Image, int]:
        stream, label = self.reader[index]
        with stream:
            image = self.decode(stream, name=self.location(index))
        return image, label_index(label, self._table, self.location(index))

    def read(self, index: int) -> Image.Image:
        return self.sample(index)[0]


class TorchvisionSource(ImageSource):
    """A torchvision data set that gives Pillow images and labels."""

    def __init__(
        self,
        dataset: Any,
        *,
        name: str,
        classes: Sequence[str] | None,
        transform: Transform | None = None,
    ):
        reader_classes = [", ".join(c) if isinstance(c, tuple) else str(c) for c in dataset.classes]
        self._table = np.asarray(_table(reader_classes, classes, where=name))
        labels = getattr(dataset, "targets", None)
        super().__init__(
            classes=list(classes or reader_classes),
            labels=None if labels is None else self._table[np.asarray(labels)],
            transform=transform,
        )
        self.dataset = dataset
        self.name = name

    def __len__(self) -> int:
        return len(self.dataset)

    def location(self, index: int) -> str:
        return f"{self.name}[{index}]"

    def sample(self, index: int) -> tuple[Image.Image, int]:
        try:
            image, label = self.dataset[index]
            image = to_eight_bit(image, white=self.white)
        except (OSError, SyntaxError, ValueError) as error:
            raise ImageError(self.location(index), str(error)) from None
        return image, label_index(label, self._table, self.location(index))

    def read(self, index: int) -> Image.Image:
        return self.sample(index)[0]


class TimmStream(StreamSource):
    """An iterable timm reader of a streamed Hugging Face data set.

    Args:
        reader: the reader, giving Pillow images as decoded and integer labels.
        **options: of ``StreamSource``.
    """

    def __init__(self, reader: Any, **options: Any):
        super().__init__(images=reader.num_samples or None, **options)
        self.reader = reader

    def share(self, *, batch_size: int = 1, rank: int = 0, world: int = 1, workers: int = 0) -> int:
        reader = self.reader
        reader.batch_size, reader.dist_rank, reader.dist_num_replicas = batch_size, rank, world
        reader.set_loader_cfg(num_workers=workers)
        return super().share(batch_size=batch_size, rank=rank, world=world, workers=workers)

    def items(self, epoch: int, lane: int) -> Iterator[tuple[Image.Image, int]]:
        self.reader.set_epoch(epoch)
        try:
            yield from self.reader
        except OSError as error:  # a streamed image that does not decode ends the stream
            raise ImageError(self.name, str(error)) from None

    def decode(self, item: Image.Image) -> Image.Image:
        try:
            return to_eight_bit(item, white=self.white)
        except ValueError as error:
            raise error if isinstance(error, ImageError) else ImageError("", str(error)) from None


def hfds(
    name: str,
    root: str | None,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    input_key: str | None = None,
    target_key: str | None = None,
    transform: Transform | None = None,
) -> ReaderSource:
    """A Hugging Face data set, downloaded or local, with random access.

    Args:
        name: ``hfds/<name or folder>``; with plain ``hfds``, ``root`` is the local folder.
        root: otherwise the folder for downloads.
        split: the data set's own name of the part, or a slice of it such as ``train[:10%]``.
        classes: class names in index order; matched by name.
        input_key: column of the images, ``image`` by default.
        target_key: column of the labels, ``label`` by default.
        transform: applied to every Pillow image.

    Raises:
        UserError: not found, or not a data set of images and class labels.
    """
    need_packages("datasets", use="Hugging Face data sets")
    reader = _reader(*_hf_name(name, root), split=split, input_key=input_key, target_key=target_key)
    reader_classes = list(reader.class_to_idx) or list(classes or ())
    if not reader_classes:
        raise UserError(f"got {name} without class names; give a file with one name per line")
    return ReaderSource(
        reader,
        name=f"{name}/{split}",
        reader_classes=reader_classes,
        classes=classes,
        transform=transform,
    )


def torchvision(
    name: str,
    root: str | None,
    split: str,
    *,
    download: bool = False,
    classes: Sequence[str] | None = None,
    transform: Transform | None = None,
) -> TorchvisionSource:
    """One of torchvision's data sets, as timm names them (``torch/cifar10``, ``torch/imagenet``).

    CIFAR and the relatives of MNIST have no validation images: there ``val`` is the test images,
    and the source's ``split_note`` says so.

    Raises:
        UserError: an unknown name or split, or the files are not there and ``download`` is off.
    """
    from timm.data.dataset_factory import create_dataset

    if root is None:
        raise UserError(f"got no folder for {name}, expected a root with its files")
    part = canonical_split(split)
    train_and_test = name.partition("/")[2].lower() in _TRAIN_AND_TEST
    if train_and_test:  # whatever is not training is the test images to timm, misspelt names too
        part = supported_split(split, ("train", "val", "test"), name=name)
    try:
        dataset = create_dataset(name, root=root, split=part, download=download)
    except (AssertionError, RuntimeError, OSError, ValueError, TypeError) as error:
        detail = one_line(error)
        hint = "" if download else "; allow the download if it should be fetched"
        raise UserError(f"cannot open {name} in {root}: {detail}{hint}") from None
    source = TorchvisionSource(
        dataset, name=f"{name}/{split}", classes=classes, transform=transform
    )
    if train_and_test and part == "val":
        source.split_note = ITS_TEST_IMAGES
    return source


def stream(
    name: str,
    root: str | None,
    split: str,
    *,
    training: bool,
    seed: int,
    batch_size: int,
    classes: Sequence[str] | None = None,
    num_samples: int | None = None,
    download: bool = False,
    input_key: str | None = None,
    target_key: str | None = None,
    transform: Transform | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> StreamSource:
    """WebDataset shards (``wds``) or a streamed Hugging Face data set (``hfids/<name>``).

    Args:
        name: as above; with plain ``hfids``, ``root`` is a local folder.
        root: folder of the shards, or for downloads.
        split: shards in braces, such as ``train-{0000..0015}.tar``, or a split that
            ``_info.json`` beside them describes.
        training: shuffle, and give every worker the same number of samples.
        seed: of the shuffling.
        batch_size: per process.
        classes: class names in index order; needed where the data does not name them.
        num_samples: number of samples, where the data does not tell it.
        download: fetch a streamed data set first.
        input_key: file ending or column of the images.
        target_key: JSON field or column of the labels.
        transform: applied to every Pillow image.
        on_error: raise on a damaged sample, or skip it, counted.

    Raises:
        UserError: not found, or its length or classes are unknown.
    """
    need_packages("webdataset" if name.startswith("wds") else "datasets", use="such data sets")
    if name.startswith("wds"):
        if root is None:
            raise UserError("got no folder for WebDataset shards, expected a root")
        place: tuple[str, str | None] = ("wds/", root)
    else:
        place = _hf_name(name, root)
    reader = _reader(
        *place,
        split=split,
        is_training=training,
        batch_size=batch_size,
        seed=seed,
        num_samples=num_samples,
        download=download or None,
        input_img_mode="",  # as decoded: the conversion is ours
        input_key=input_key,
        target_key=target_key,
    )
    called = f"{name}:{root or ''}/{split}"
    reader_classes = list(reader.class_to_idx) or None
    if not reader_classes and not classes:
        raise UserError(
            f"got {called}, which does not name its classes; give a file with one name per line"
        )
    options: dict[str, Any] = {
        "name": called,
        "classes": classes or reader_classes,
        "table": _table(reader_classes or classes or (), classes, where=called),
        "training": training,
        "seed": seed,
        "transform": transform,
        "on_error": on_error,
    }
    if name.startswith("wds"):
        return ShardStream(reader, images=reader.num_samples or None, **options)
    return TimmStream(reader, **options)


def _reader(name: str, root: str | None, **options: Any) -> Any:
    from timm.data.readers.reader_factory import create_reader

    try:
        return create_reader(name, root=root, **options)
    except Exception as error:  # the libraries below raise many kinds for a wrong name or split
        detail = one_line(error) or type(error).__name__
        raise UserError(f"cannot open {name} (root {root}): {detail}") from None


def _hf_name(name: str, root: str | None) -> tuple[str, str | None]:
    prefix, _, rest = name.partition("/")
    if rest:
        return name, root
    if root is None:
        raise UserError(f"got {name!r} without a folder, expected {prefix}/<name> or a root")
    return f"{prefix}/{root}", None


def _table(names: Sequence[str], classes: Sequence[str] | None, *, where: str) -> list[int]:
    return list(range(len(names))) if classes is None else label_table(names, classes, where=where)
