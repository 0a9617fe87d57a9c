"""Masks of images that EXIF data turn: drawn as shown, or on the pixels as stored."""

from pathlib import Path

import numpy as np
import pytest
import segmentation_data
from mask_files import change, checked, expected, labels_of, trained
from PIL import Image

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.check import check_splits
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset
from spanetv2.tasks.segmentation.picture import overlay


def turn_images(root: Path, orientation: int) -> None:
    """Store every image so that EXIF data turn it upright again."""
    for path in root.glob("images/*/*.png"):
        image = Image.open(path)
        exif = image.getexif()
        exif[0x0112] = orientation
        inverse = {6: 8, 8: 6}.get(orientation, orientation)
        image.transpose(TURNS[inverse]).save(path, exif=exif)


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("stored", [False, True])
def test_masks_lie_on_turned_images_as_shown_or_as_stored(tmp_path, orientation, stored):
    root = segmentation_data.write(tmp_path / "d")
    turn_images(root, orientation)
    if stored:
        inverse = {6: 8, 8: 6}.get(orientation, orientation)
        change(root, lambda x: Image.fromarray(x).transpose(TURNS[inverse]))
    told = "stored" if stored and orientation < 5 else "auto"  # sizes cannot tell these
    data = trained(root, orientation=told)
    for i in range(4):
        image, labels = data.train.read(i)
        assert np.array_equal(labels, expected()[i])
        assert np.array_equal(np.asarray(image), segmentation_data.scene(i)[0])
    (line,) = (x for x in checked(root, orientation=told) if "training" not in x and "4 im" in x)
    assert line.startswith("remark: 4 images carry an EXIF orientation")
    assert f"training: {line.removeprefix('remark: ')}" in data.remarks


def test_images_whose_sizes_tell_decide_for_those_that_fit_both_ways(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    turn_images(root, 6)
    half_turned = root / "images" / "train" / "scene_0.png"
    change(root, lambda x: Image.fromarray(x).transpose(TURNS[8]))
    exif = Image.Exif()
    exif[0x0112] = 3
    image = Image.fromarray(segmentation_data.scene(0)[0])
    image.transpose(TURNS[3]).save(half_turned, exif=exif)
    mask = Image.fromarray(expected()[0]).transpose(TURNS[3])
    mask.save(root / "masks" / "train" / "scene_0.png")
    assert np.array_equal(trained(root).train.read(0)[1], expected()[0])


def test_a_mask_of_another_size_names_the_orientation(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    turn_images(root, 6)
    path = root / "masks" / "train" / "scene_1.png"
    Image.new("L", (9, 9)).save(path)
    message = r"9 x 9 pixels, but its image .* has 32 x 24 as shown \(EXIF orientation 6\)"
    with pytest.raises(UserError, match=message):
        trained(root)
    with pytest.raises(ImageError, match=message):
        labels_of(root)
    assert any("(EXIF orientation 6)" in line for line in checked(root))


@pytest.mark.parametrize("stored", [False, True])
def test_three_turned_images_are_drawn_with_their_masks(tmp_path, stored):
    root = segmentation_data.write(tmp_path / "d")
    turn_images(root, 6)
    if stored:
        change(root, lambda x: Image.fromarray(x).transpose(TURNS[8]))
    parts = list(check_splits(root, dataset="folder", pictures=tmp_path / "p"))
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == [
        *(f"train-{i}-scene_{i - 1}.png" for i in (1, 2, 3)),
        *(f"val-{i}-scene_{i - 1}.png" for i in (1, 2)),
    ]
    assert any("and their masks: " in line for line in parts[0].problems)
    image, labels = segmentation_data.scene(0)
    palette = open_dataset(DatasetSpec(root=str(root), split="train")).palette
    with Image.open(tmp_path / "p" / "train-1-scene_0.png") as opened:
        drawn = np.asarray(opened)[: image.shape[0], : image.shape[1]]
    wanted = np.asarray(overlay(Image.fromarray(image), labels, palette))
    assert np.array_equal(drawn, wanted)  # upright, whichever way the mask was drawn
