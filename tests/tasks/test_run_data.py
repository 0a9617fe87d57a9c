"""The line in which a run says what data it has."""

import json

import numpy as np
import pytest
from PIL import Image

from spanetv2.tasks.classification import config as classification
from spanetv2.tasks.classification.run_data import ClassificationData
from spanetv2.tasks.detection import config as detection
from spanetv2.tasks.detection.run_data import DetectionData
from spanetv2.tasks.segmentation import config as segmentation
from spanetv2.tasks.segmentation.run_data import SegmentationData
from spanetv2.training.batching import BatchPlan

PLAN = BatchPlan(per_device=1, devices=1, accumulation=1, wanted=1)


def picture(path, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (40, 40)).save(path)


def idx(array: np.ndarray) -> bytes:
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + shape + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("split", ["val", "validation", "test"])
def test_fashion_mnist_says_that_it_validates_on_its_test_images(tmp_path, split):
    for prefix, count in (("train", 3), ("t10k", 2)):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx(np.zeros((count, 28, 28))))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(count)))
    options = classification.DataConfig(
        dataset="fashion_mnist", root=str(tmp_path), val_split=split, empty_classes="keep"
    )
    data = ClassificationData(classification.RunConfig(data=options), plan=PLAN)
    assert data.describe() == (
        "fashion_mnist, 3 training and 2 validation images (its test images)"
    )


@pytest.mark.parametrize(
    ("split", "ending"),
    [
        ("val", "1 training and 1 validation images"),
        ("test", "1 training and 1 validation images (its test images)"),
        (None, "1 training images"),
    ],
)
def test_runs_say_so_where_they_validate_on_test_images(tmp_path, split, ending):
    for name in ("train", "val", "test"):
        for animal in ("cat", "dog"):
            picture(tmp_path / "cats" / name / animal / "0.png")
        picture(tmp_path / "fields" / "images" / name / "0.png")
        mask = tmp_path / "fields" / "masks" / name / "0.png"
        picture(mask, "L")
        Image.fromarray(np.eye(40, dtype=np.uint8)).save(mask)
        picture(tmp_path / "animals" / name / "0.png")
        (tmp_path / "animals" / "annotations").mkdir(exist_ok=True)
        box = {"bbox": [0, 0, 30, 30], "area": 900, "segmentation": [[0, 0, 30, 0, 30, 30, 0, 30]]}
        made = {
            "images": [{"id": 1, "file_name": "0.png", "width": 40, "height": 40}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, **box}],
            "categories": [{"id": 1, "name": "cat"}],
        }
        file = tmp_path / "animals" / "annotations" / f"instances_{name}.json"
        file.write_text(json.dumps(made))
    (tmp_path / "fields" / "classes.txt").write_text("ground\nedge\n")
    cats = ClassificationData(
        classification.RunConfig(
            data=classification.DataConfig(root=str(tmp_path / "cats"), val_split=split)
        ),
        plan=PLAN,
    )
    assert cats.describe() == f"folder, {ending.replace('1', '2')}"
    fields = SegmentationData(
        segmentation.RunConfig(
            data=segmentation.DataConfig(
                root=str(tmp_path / "fields"), dataset="folder", val_split=split
            )
        ),
        plan=PLAN,
    )
    assert fields.describe().endswith(f", {ending}, 2 classes")
    animals = DetectionData(
        detection.RunConfig(
            data=detection.DataConfig(root=str(tmp_path / "animals"), val_split=split)
        ),
        plan=PLAN,
    )
    assert animals.describe() == f"{ending}, 1 classes"
