"""The COCO data set."""

import json
import pickle

import numpy as np
import pytest
import torch
from coco_data import SQUARE, annotation, record, rectangle_mask, write
from PIL import Image

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.scenes import SceneSettings, scene_of, write_scenes
from spanetv2.tasks.detection.data.coco import CocoDetection, usable
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.detection.data.reading import Reading


def opened(folder, **options):
    return CocoDetection(folder / "annotations.json", folder / "images", **options)


def test_items_are_as_annotated(tmp_path):
    data = opened(write(tmp_path))
    assert len(data) == 4
    assert data.classes == ["bicycle", "cat", "toothbrush"]
    assert data.category_ids == [2, 17, 90]
    assert data.image_ids == [7, 3, 11, 5]
    assert data.sizes.tolist() == [[64, 80], [48, 100], [90, 40], [20, 20]]
    assert data.left_out == {}
    image, target = data[0]
    assert image.dtype == torch.float32
    pixels = np.asarray(Image.open(tmp_path / "images" / "two.png"))
    assert np.array_equal((image * 255).round().permute(1, 2, 0).numpy(), pixels)
    assert 0.99 < image.max() <= 1
    assert target["boxes"].tolist() == [list(SQUARE), [40, 5, 70, 60]]
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [3, 2]
    assert target["labels"].dtype == torch.int64
    assert target["area"].tolist() == [600, 1650]
    assert target["iscrowd"].tolist() == [0, 0]
    assert target["image_id"].item() == 7
    wanted = np.stack([rectangle_mask(64, 80, box) for box in (SQUARE, (40, 5, 70, 60))])
    assert target["masks"].dtype == torch.uint8
    assert np.array_equal(target["masks"].numpy(), wanted)


def test_evaluation_keeps_crowds_and_empty_and_small_images(tmp_path):
    data = opened(write(tmp_path))
    assert data[1][1]["iscrowd"].tolist() == [0, 1]
    assert data[1][1]["masks"].sum((1, 2)).tolist() == [30 * 32, 2400]
    image, target = data[2]
    assert image.shape == (3, 90, 40)
    shapes = {key: tuple(value.shape) for key, value in target.items()}
    assert shapes == {
        "boxes": (0, 4),
        "labels": (0,),
        "masks": (0, 90, 40),
        "iscrowd": (0,),
        "area": (0,),
        "image_id": (),
    }
    assert data[3][1]["image_id"].item() == 5


def test_training_leaves_out_crowds_and_images_without_use(tmp_path):
    data = opened(write(tmp_path), training=True)
    assert data.image_ids == [7, 3]
    assert data[1][1]["labels"].tolist() == [1]
    assert data.left_out == {
        "crowds": 1,
        "in images with a side under 32 pixels": 1,
        "images without a box": 1,
        "images with a side under 32 pixels": 1,
    }


def test_training_cuts_or_leaves_out_odd_boxes(tmp_path):
    made = record()
    made["annotations"] = [
        annotation(1, 7, 2, (-10, -10, 20, 20), segmentation=[[0, 0, 20, 0, 20, 20, 0, 20]]),
        annotation(2, 7, 2, (90, 10, 120, 20)),
        annotation(3, 7, 2, (10, 10, 10, 20)),
        annotation(4, 7, 2, (30, 30, 40, 40), segmentation=[[50, 50, 60, 50, 60, 60, 50, 60]]),
        annotation(5, 7, 2, (30, 30, 40, 40), area=0),
        annotation(6, 7, 2, (30, 30, 40, 40), segmentation=[[500, 50, 600, 50, 600, 60, 500, 60]]),
        annotation(7, 7, 2, (30, 30, 40, 40)),
    ]
    folder = write(tmp_path, made)
    data = opened(folder, training=True, reading=Reading(empty_classes="keep"))
    target = data[0][1]
    assert target["boxes"].tolist() == [[0, 0, 20, 20], [30, 30, 40, 40]]
    assert target["masks"].sum((1, 2)).tolist() == [400, 100]
    assert len(target["labels"]) == len(target["area"]) == len(target["iscrowd"]) == 2
    assert data.left_out["boxes outside the image or without area"] == 3
    whole = opened(folder)[0][1]
    assert len(whole["boxes"]) == 7
    assert whole["boxes"][0].tolist() == [-10, -10, 20, 20]


def test_usable_keeps_a_mask_only_if_it_has_a_pixel_in_the_box():
    masks = torch.zeros(3, 8, 8, dtype=torch.uint8)
    masks[:, 2, 5] = 1  # its centre is at x 5.5, y 2.5
    boxes = torch.tensor([[5.4, 2.4, 7.0, 7.0], [5.6, 2.4, 7.0, 7.0], [3.0, 0.0, 5.4, 4.0]])
    target = {"boxes": boxes, "masks": masks, "labels": torch.arange(3), "image_id": 1}
    assert usable(target)["labels"].tolist() == [0]


def test_given_classes_decide_the_labels(tmp_path):
    classes = ["dog", "toothbrush", "cat", "bicycle"]
    data = opened(write(tmp_path), classes=classes)
    assert data.classes == classes
    assert data.category_ids == [None, 90, 17, 2]
    assert data[0][1]["labels"].tolist() == [2, 3]
    with pytest.raises(UserError, match=r"annotation 40: category 'bicycle', which is not among"):
        opened(tmp_path, classes=["cat", "toothbrush"])


def test_area_and_iscrowd_may_be_missing(tmp_path):
    made = record()
    for one in made["annotations"]:
        del one["area"], one["iscrowd"]
    target = opened(write(tmp_path, made))[0][1]
    assert target["area"].tolist() == [600, 1650]
    assert target["iscrowd"].tolist() == [0, 0]


def test_the_transform_sees_bytes_and_decides(tmp_path):
    def halve(image, target):
        assert image.dtype == torch.uint8
        return image[:, ::2, ::2], {**target, "boxes": target["boxes"] / 2}

    image, target = opened(write(tmp_path), transform=halve)[0]
    assert image.shape == (3, 32, 40)
    assert image.dtype == torch.float32
    assert target["boxes"][0].tolist() == [5, 10, 15, 25]


def test_grey_images_get_three_channels(tmp_path):
    folder = write(tmp_path)
    Image.new("L", (80, 64), 100).save(folder / "images" / "two.png")
    image, _ = opened(folder)[0]
    assert image.shape == (3, 64, 80)
    assert image.unique().tolist() == pytest.approx([100 / 255])


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("heeded", [True, False])
def test_turned_photographs_follow_their_annotations(tmp_path, orientation, heeded):
    folder = write(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(folder / "images" / "two.png", exif=exif)
    swapped = orientation >= 5
    made = record()
    if swapped and heeded:
        made["images"][0].update(width=64, height=80)
        made["annotations"][0]["image_id"] = made["annotations"][2]["image_id"] = 3
        made["annotations"][2]["segmentation"] = [[0, 0, 9, 0, 9, 9]]
    write(folder, made, images=False)
    image, _ = opened(folder)[0]
    read = (image * 255).round().permute(1, 2, 0).numpy()
    if swapped and not heeded:
        assert np.array_equal(read, pixels)
    else:
        assert read.shape == ((80, 64, 3) if swapped else (64, 80, 3))
        assert np.array_equal(read, pixels) == (orientation == 1)


def test_damaged_and_missing_and_other_images_are_named(tmp_path):
    folder = write(tmp_path)
    Image.new("RGB", (81, 64)).save(folder / "images" / "two.png")
    (folder / "images" / "crowd.png").write_bytes(b"nothing")
    (folder / "images" / "empty.png").unlink()
    data = opened(folder)
    for index, reason in (
        (0, r"two.png: got 81 x 64 pixels, expected 80 x 64 as annotations.json says"),
        (1, r"crowd.png: not an image"),
        (2, r"empty.png: no such file"),
    ):
        with pytest.raises(ImageError, match=reason) as raised:
            data[index]
        assert raised.value.path == data.location(index)


def test_nothing_to_train_on_is_an_error(tmp_path):
    made = record()
    made["annotations"] = made["annotations"][3:]
    folder = write(tmp_path, made)
    said = (
        r"no image to train on; each needs a box .*: of 2 objects 1 crowds \(toothbrush 1\), 1 in "
    )
    with pytest.raises(UserError, match=said):
        opened(folder, training=True)
    assert len(opened(folder)) == 4
    made["images"] = made["annotations"] = []
    with pytest.raises(UserError, match="no image to read"):
        opened(write(tmp_path / "none", made))
    with pytest.raises(UserError, match=r"image folder .*nowhere.*not there"):
        CocoDetection(folder / "annotations.json", folder / "nowhere")


def test_a_data_set_travels_to_other_processes_in_little_memory(tmp_path):
    made = record()
    first = made["annotations"][0]
    made["annotations"] = [{**first, "id": i} for i in range(5000)]
    data = opened(write(tmp_path, made))
    copied = pickle.dumps(data)
    assert len(copied) < 150 * 5000
    again = pickle.loads(copied)
    assert torch.equal(again.target(0)["boxes"], data.target(0)["boxes"])


def test_scenes_are_read_back_exactly(tmp_path):
    settings = SceneSettings(size=128)
    out = write_scenes(tmp_path / "scenes", train=3, val=2, seed=4, settings=settings)
    for split, count in (("train", 3), ("val", 2)):
        keep = Reading(empty_classes="keep")  # so few scenes lack some digits
        data = CocoDetection(*find_coco(out, split), training=split == "train", reading=keep)
        assert len(data) == count
        assert data.classes == list("0123456789")
        for index in range(count):
            scene = scene_of(settings, split, index + 1, seed=4)
            image, target = data[index]
            assert image.shape == (3, 128, 128)
            assert target["labels"].tolist() == [one.digit + 1 for one in scene.instances]
            masks = np.stack([one.mask for one in scene.instances])
            assert np.array_equal(target["masks"].numpy(), masks)
            assert target["area"].tolist() == masks.sum((1, 2)).tolist()


LAYOUTS = [
    ("annotations/instances_val2017.json", "val2017", "val"),
    ("annotations/instances_val.json", "images/validation", "val"),
    ("annotations/instances_val.json", "val", "validation"),
    ("annotations/instances_val2014.json", "images/val2014", "val"),
    ("annotations/instances_train.json", "images", "train"),
    ("annotations/instances_minival.json", "minival", "minival"),
]


@pytest.mark.parametrize(("file", "folder", "split"), LAYOUTS)
def test_find_coco_knows_the_usual_layouts(tmp_path, file, folder, split):
    (tmp_path / "annotations").mkdir()
    (tmp_path / file).write_text(json.dumps(record()))
    (tmp_path / folder).mkdir(parents=True)
    assert find_coco(tmp_path, split) == (tmp_path / file, tmp_path / folder)


def test_find_coco_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_coco(tmp_path / "nowhere", "val")
    with pytest.raises(UserError, match=r"expected annotations/instances_val.json"):
        find_coco(tmp_path, "val")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(UserError, match=r"there is instances_train2017.json"):
        find_coco(tmp_path, "val")
    with pytest.raises(
        UserError, match=r"no images of split 'train' .* expected them in train2017"
    ):
        find_coco(tmp_path, "train")
