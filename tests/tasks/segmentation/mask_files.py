"""Changes the masks of a small data set, and opens it as training and as check-data do."""

from pathlib import Path

import numpy as np
import segmentation_data
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.config import DataConfig, RunConfig
from spanetv2.tasks.segmentation.data.check import check_splits
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset
from spanetv2.tasks.segmentation.run_data import SegmentationData
from spanetv2.training.batching import plan_batches

PALETTE = [(0, 0, 0), (250, 50, 50), (0, 170, 60)]


def masks(root: Path) -> list[Path]:
    return sorted(root.glob("masks/*/*.png"))


def change(root: Path, edit) -> None:
    """Write every mask of a data set anew, from its labels."""
    for path in masks(root):
        edit(np.asarray(Image.open(path))).save(path)


def coloured(labels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(PALETTE, dtype=np.uint8)[labels])


def with_palette(labels: np.ndarray, colours=PALETTE) -> Image.Image:
    image = Image.fromarray(labels, mode="P")
    image.putpalette([part for colour in colours for part in colour])
    return image


def checked(root: Path, *, dataset: str = "folder", allow=False, **options) -> list[str]:
    spec = DatasetSpec(**options)
    parts = check_splits(
        root, spec=spec, dataset=dataset, allow_missing=allow, pictures=root.parent / "pictures"
    )
    return [line for part in parts for line in part.problems]


def checked_or_refused(root: Path) -> list[str]:
    try:
        return checked(root)
    except UserError as error:
        return [f"error: {error}"]


def trained(root: Path, *, dataset="folder", allow=False, **options) -> SegmentationData:
    data = DataConfig(
        root=str(root), dataset=dataset, total_batch=2, allow_missing_classes=allow, **options
    )
    return SegmentationData(RunConfig(data=data), plan=plan_batches(2, devices=1))


def labels_of(root: Path, **options) -> list[np.ndarray]:
    source = open_dataset(DatasetSpec(root=str(root), split="train", **options))
    return [source[i][1] for i in range(len(source))]


def expected() -> list[np.ndarray]:
    return [segmentation_data.scene(i)[1] for i in range(4)]
