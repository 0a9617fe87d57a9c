import shutil

import numpy as np
import pytest
import segmentation_data
from PIL import Image

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.ade20k import ADE20K_CLASSES, ADE20K_PALETTE
from spanetv2.tasks.segmentation.data.classes import (
    distinct_colours,
    match_classes,
    read_class_file,
)
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset, splits_to_check
from spanetv2.tasks.segmentation.data.source import read_label_map


def opened(root, split="val", name="folder", **options):
    return open_dataset(DatasetSpec(name=name, root=str(root), split=split, **options))


@pytest.mark.parametrize("ade", [False, True])
@pytest.mark.parametrize("split", ["train", "val"])
def test_both_layouts_give_images_and_labels(tmp_path, ade, split):
    root = segmentation_data.write(tmp_path / "d", ade=ade)
    source = opened(root, split, "ade20k" if ade else "folder")
    assert len(source) == {"train": 4, "val": 2}[split]
    assert source.classes == segmentation_data.NAMES
    for i in range(len(source)):
        image, labels = source[i]
        pixels, expected = segmentation_data.scene(100 * (split == "val") + i)
        if ade:
            expected[0, :3] = 255
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, expected)
        assert np.array_equal(np.asarray(image), pixels)


def test_ade20k_without_a_class_list_has_its_150(tmp_path):
    root = segmentation_data.write(tmp_path / "ADEChallengeData2016", ade=True)
    (root / "classes.txt").unlink()
    source = opened(tmp_path, "training", "ade20k")
    assert source.classes == list(ADE20K_CLASSES)
    assert source.palette == list(ADE20K_PALETTE)
    values = np.zeros((24, 32), dtype=np.uint8)
    values[0, :4] = (0, 1, 150, 151)
    Image.fromarray(values).save(source.pairs[0].mask)
    with pytest.raises(ImageError, match=r"value 151 at row 0, column 3 \(1 such pixels in all\)"):
        source[0]
    values[0, 3] = 150
    Image.fromarray(values).save(source.pairs[0].mask)
    labels = source[0][1]
    assert labels[0, :4].tolist() == [255, 0, 149, 149]
    assert set(labels[1:].ravel()) == {255}


def test_ade20k_names_and_colours_are_the_benchmarks():
    assert len(ADE20K_CLASSES) == len(ADE20K_PALETTE) == 150
    assert len(set(ADE20K_CLASSES)) == 150
    assert [ADE20K_CLASSES[i] for i in (0, 7, 12, 44, 130, 149)] == [
        *("wall", "bed", "person", "chest of drawers", "screen", "flag")
    ]
    assert [ADE20K_PALETTE[i] for i in (0, 2, 12, 149)] == [
        *((120, 120, 120), (6, 230, 230), (150, 5, 61), (92, 0, 255))
    ]


def test_folder_may_have_its_splits_outside_or_none(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    expected = opened(root)[1][1]
    for split in ("train", "val"):
        (root / split).mkdir()
        for kind in ("images", "masks"):
            shutil.move(root / kind / split, root / split / kind)
    for kind in ("images", "masks"):
        (root / kind).rmdir()
    assert np.array_equal(opened(root)[1][1], expected)
    for kind in ("images", "masks"):
        shutil.move(root / "val" / kind, root / kind)
    with pytest.raises(UserError, match="got no images of split 'val'"):
        opened(root)
    with pytest.raises(UserError, match="got no images of split 'val'"):
        opened(root, None)
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "val")
    assert np.array_equal(opened(root, None)[1][1], expected)


def test_folder_without_splits_is_checked_as_a_whole(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    spec = DatasetSpec(name="folder", root=str(root))
    assert splits_to_check(spec) == ("train", "val")
    for kind in ("images", "masks"):
        (root / kind / "train").rename(root / kind / "north")
        (root / kind / "val").rename(root / kind / "south")
    assert splits_to_check(spec) == (None,)
    assert len(opened(root, None)) == 6


def test_files_pair_by_name_in_sub_folders_too(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    for kind in ("images", "masks"):
        (root / kind / "val" / "deep").mkdir()
        shutil.copy(root / kind / "val" / "scene_0.png", root / kind / "val" / "deep" / "x.png")
    source = opened(root)
    assert [pair.image.removeprefix(str(root)) for pair in source.pairs] == [
        *("/images/val/deep/x.png", "/images/val/scene_0.png", "/images/val/scene_1.png")
    ]
    assert source.location(0).endswith("images/val/deep/x.png")


def test_unpaired_files_are_named(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    mask = root / "masks" / "val" / "scene_1.png"
    mask.rename(root / "masks" / "val" / "other.png")
    with pytest.raises(UserError, match=r"images/val/scene_1\.png without a mask, expected a PNG"):
        opened(root)
    (root / "images" / "val" / "scene_1.png").unlink()
    with pytest.raises(UserError, match=r"got mask .*other\.png without an image"):
        opened(root)
    (root / "masks" / "val" / "other.png").unlink()
    assert len(opened(root)) == 1
    Image.new("RGB", (4, 4)).save(root / "images" / "val" / "scene_0.jpg")
    with pytest.raises(UserError, match=r"scene_0\.jpg and .*scene_0\.png, expected different"):
        opened(root)


def test_empty_set_and_missing_folders_are_named(tmp_path):
    root = segmentation_data.write(tmp_path / "d", counts=(1, 0))
    with pytest.raises(UserError, match=r"got no images in .*images/val, expected some"):
        opened(root)
    shutil.rmtree(root / "masks")
    with pytest.raises(UserError, match=r"got no folder .*masks/train, expected the label files"):
        opened(root, "train")
    with pytest.raises(UserError, match="expected ADE20K's layout"):
        opened(root, "train", "ade20k")
    with pytest.raises(UserError, match="no such folder"):
        opened(root / "nowhere")
    with pytest.raises(UserError, match="got no folder for data set folder"):
        open_dataset(DatasetSpec())
    with pytest.raises(UserError, match="got data set 'coco', expected auto, ade20k or folder"):
        open_dataset(DatasetSpec(name="coco", root=str(root)))  # type: ignore[arg-type]
    (root / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"got no classes\.txt in"):
        opened(root, "train")


def test_mask_of_another_size_is_named(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    path = root / "masks" / "val" / "scene_0.png"
    Image.new("L", (31, 24)).save(path)
    with pytest.raises(ImageError, match=r"scene_0\.png: 31 x 24 pixels, but its image .* 32 x 24"):
        opened(root)[0]


def test_label_outside_the_class_list_is_named(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    path = root / "masks" / "val" / "scene_0.png"
    values = np.zeros((24, 32), dtype=np.uint8)
    values[5, 7:9] = 3
    Image.fromarray(values).save(path)
    with pytest.raises(
        ImageError,
        match=r"value 3 at row 5, column 7 \(2 such pixels in all\), expected 0 to 2 for the 3 "
        r"classes, or 255 for not labelled",
    ):
        opened(root)[0]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_mask_of_several_channels_is_named(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "m.png")
    channels = len(mode)
    with pytest.raises(ImageError, match=rf"m\.png: a picture of {channels} channels \({mode}\)"):
        read_label_map(tmp_path / "m.png")


def test_label_maps_of_every_one_channel_kind_are_read(tmp_path):
    values = np.array([[0, 1, 2], [255, 1, 0]], dtype=np.uint8)
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200] + 247 * [0, 0, 0])
    for name, image in {
        "grey.png": Image.fromarray(values),
        "palette.png": palette,
        "wide.png": Image.fromarray(values.astype(np.uint16)),
    }.items():
        image.save(tmp_path / name)
        read = read_label_map(tmp_path / name)
        assert read.dtype == np.uint8
        assert np.array_equal(read, values), name
    Image.fromarray(values > 0).save(tmp_path / "two.png")
    assert np.array_equal(read_label_map(tmp_path / "two.png"), (values > 0).astype(np.uint8))
    Image.fromarray(values.astype(np.uint16) * 2).save(tmp_path / "large.png")
    with pytest.raises(ImageError, match="values up to 510, expected labels from 0 to 255"):
        read_label_map(tmp_path / "large.png")


def test_unreadable_label_maps_are_named(tmp_path):
    segmentation_data.write(tmp_path / "d")
    whole = (tmp_path / "d" / "masks" / "val" / "scene_0.png").read_bytes()
    for content, reason in (
        (b"", "an empty file"),
        (b"text", "not a label image"),
        (whole[: len(whole) // 2], "damaged or truncated"),
    ):
        (tmp_path / "m.png").write_bytes(content)
        with pytest.raises(ImageError, match=rf"m\.png: {reason}"):
            read_label_map(tmp_path / "m.png")
    with pytest.raises(ImageError, match="no such file"):
        read_label_map(tmp_path / "nowhere.png")


def test_class_file_gives_names_and_colours(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("sky #0102ff\nhigh grass\nsign # 3\n\n", encoding="utf-8")
    names, colours = read_class_file(path)
    assert names == ["sky", "high grass", "sign # 3"]
    assert colours == [(1, 2, 255), *distinct_colours(3)[1:]]
    for text, message in (
        ("", "got no class names"),
        ("a\n\nb\n", "got an empty line 2"),
        ("a\nb\na\n", "got class 'a' twice"),
        ("\n".join(map(str, range(256))), "got 256 classes"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_class_file(path)
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.txt"):
        read_class_file(tmp_path / "nowhere.txt")


def test_classes_match_by_name():
    assert match_classes(["b", "a"], ["a", "c", "b"]) == [2, 0]
    with pytest.raises(UserError, match="got data of classes 'z' that the model does not know"):
        match_classes(["a", "z"], ["a", "b"])


def test_a_bad_link_does_not_hide_its_folder(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    for link in (root / "test", root / "images" / "0.txt", root / "val.png"):
        link.symlink_to("x" * 300)
    assert len(opened(root)) == 2
    with pytest.raises(UserError, match="there is train, val"):
        opened(root, "test")
    shutil.move(root / "images" / "val", tmp_path / "w" / "images")
    shutil.move(root / "masks" / "val", tmp_path / "w" / "masks")
    shutil.move(root / "classes.txt", tmp_path / "w")
    (tmp_path / "w" / "train").symlink_to("x" * 300)
    assert len(opened(tmp_path / "w", None)) == 2
