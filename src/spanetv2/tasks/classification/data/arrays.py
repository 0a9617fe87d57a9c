"""Small data sets that live in memory: scikit-learn's digits and Fashion-MNIST."""

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from spanetv2.data.preprocessing import Transform
from spanetv2.data.splits import ITS_TEST_IMAGES, supported_split
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.source import ImageSource

__all__ = ["FASHION_MNIST_CLASSES", "ArraySource", "digits", "fashion_mnist"]

FASHION_MNIST_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


class ArraySource(ImageSource):
    """Images held as one array.

    Args:
        images: (N, H, W) or (N, H, W, 3) uint8.
        labels: (N,) class indices.
        classes: class names in index order.
        name: how messages call the data set.
        transform: applied to every Pillow image.
        split_note: see ``ImageSource``.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        classes: list[str],
        name: str,
        transform: Transform | None = None,
        split_note: str = "",
    ):
        assert images.dtype == np.uint8
        assert len(images) == len(labels)
        super().__init__(classes=classes, labels=labels.astype(np.int64), transform=transform)
        self.images = images
        self.name = name
        self.split_note = split_note

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def location(self, index: int) -> str:
        return f"{self.name}[{index}]"


def digits(split: str, *, transform: Transform | None = None) -> ArraySource:
    """scikit-learn's 1,797 handwritten digits (8 x 8, grey), which come with the package.

    Args:
        split: train (1,437 images) or val (360): a fixed split, stratified by class. There is no
            test split.
        transform: applied to every Pillow image.

    Raises:
        UserError: another split.
    """
    part = supported_split(split, ("train", "val"), name="digits")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # type: ignore[attr-defined]
    labels = bunch.target  # type: ignore[attr-defined]
    train, val = train_test_split(
        np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels
    )
    chosen = np.sort(train if part == "train" else val)
    return ArraySource(
        images[chosen],
        labels[chosen],
        classes=[str(digit) for digit in range(10)],
        name=f"digits/{split}",
        transform=transform,
    )


def fashion_mnist(
    split: str,
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    transform: Transform | None = None,
) -> ArraySource:
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 x 28, grey.

    Args:
        split: train or test. There is no third part: val is the test images, and the source's
            ``split_note`` says so.
        root: folder with the four IDX files (plain or .gz; torchvision's layout below it is found
            too). By default, where Debian's package dataset-fashion-mnist puts them.
        download: fetch them into ``root`` with torchvision if they are not there.
        transform: applied to every Pillow image.

    Raises:
        UserError: another split, or the files are not there or are damaged.

    Source: Xiao, Rasul, Vollgraf, arXiv:1708.07747.
    """
    part = supported_split(split, ("train", "val", "test"), name="fashion_mnist")
    prefix = "train" if part == "train" else "t10k"
    folder = _find_idx_folder(root, prefix)
    if folder is None and download:
        from torchvision.datasets import FashionMNIST

        if root is None:
            raise UserError("got download without a folder, expected a root to download into")
        FashionMNIST(str(root), download=True)
        folder = _find_idx_folder(root, prefix)
    if folder is None:
        raise UserError(
            f"got no Fashion-MNIST files in {root or _DEBIAN_FASHION}, expected "
            f"{prefix}-images-idx3-ubyte.gz; install Debian's dataset-fashion-mnist, give the "
            "folder that holds them, or allow the download"
        )
    images = _read_idx(folder, f"{prefix}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(folder, f"{prefix}-labels-idx1-ubyte", dimensions=1)
    if len(images) != len(labels) or labels.max(initial=0) > 9:
        raise UserError(f"got {len(images)} images with {len(labels)} labels in {folder}")
    return ArraySource(
        images,
        labels,
        classes=list(FASHION_MNIST_CLASSES),
        name=f"fashion_mnist/{split}",
        transform=transform,
        split_note=ITS_TEST_IMAGES if part == "val" else "",
    )


def _find_idx_folder(root: str | os.PathLike[str] | None, prefix: str) -> Path | None:
    top = Path(root) if root is not None else _DEBIAN_FASHION
    for folder in (top, top / "FashionMNIST" / "raw"):
        if _idx_file(folder, f"{prefix}-images-idx3-ubyte") is not None:
            return folder
    return None


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _read_idx(folder: Path, name: str, *, dimensions: int) -> np.ndarray:
    path = _idx_file(folder, name)
    if path is None:
        raise UserError(f"got no {name} in {folder}, expected all four IDX files together")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}; fetch it again") from None
    header = 4 + 4 * dimensions
    # Magic number: two zero bytes, 8 for unsigned bytes, the number of dimensions.
    if len(raw) >= header and raw[:4] == bytes((0, 0, 8, dimensions)):
        shape = np.frombuffer(raw, dtype=">u4", count=dimensions, offset=4).astype(int)
        if len(raw) == header + int(shape.prod()):
            return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)
    raise UserError(f"got {path}, expected an IDX file of bytes; fetch it again")
