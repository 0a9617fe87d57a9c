"""Masks as tools write them: read, or refused alike by check-data and by training."""

import re
import shutil

import numpy as np
import pytest
import segmentation_data
from mask_files import (
    change,
    checked,
    checked_or_refused,
    coloured,
    expected,
    labels_of,
    masks,
    trained,
    with_palette,
)
from PIL import Image

from spanetv2.errors import UserError

# kinds that are refused: the same line from both ------------------------------------------------


def binary_255(root):
    change(root, lambda x: Image.fromarray(np.where(x > 0, 255, 0).astype(np.uint8)))
    (root / "classes.txt").write_text("ground\nleaf\n")


def only_one_class(root):
    change(root, lambda x: Image.fromarray(np.where(x > 0, 255, 0).astype(np.uint8)))
    (root / "classes.txt").write_text("leaf\n")


def from_one(root):
    change(root, lambda x: Image.fromarray(x + np.uint8(1)))


def never(root):
    (root / "classes.txt").write_text("ground\nred\ngreen\nunicorn\n")


def unlabelled(root):
    change(root, lambda x: Image.fromarray(np.full_like(x, 255)))


def contradicting(root):
    (root / "classes.txt").write_text("ground\nred #00aa3c\ngreen #fa3232\n")
    change(root, with_palette)


def colours_without_a_table(root):
    change(root, coloured)


def unknown_colour(root):
    (root / "classes.txt").write_text("ground 0 0 0\nred 250 50 50\ngreen 9 9 9\n")
    change(root, coloured)


def instances(root):
    change(root, lambda x: Image.fromarray(np.arange(x.size, dtype=np.uint8).reshape(x.shape) // 9))


def wide_instances(root):
    change(root, lambda x: Image.fromarray(x.astype(np.uint16) * 1000 + 26))


def scaled(root):
    change(root, lambda x: Image.fromarray(x * np.uint8(100)))


def several(root):
    for path in masks(root):
        shutil.copy(path, path.with_name(f"{path.stem}_1.png"))
        path.rename(path.with_name(f"{path.stem}_0.png"))


def folders_of_objects(root):
    for path in masks(root):
        path.with_suffix("").mkdir()
        shutil.copy(path, path.with_suffix("") / "a.png")
        path.rename(path.with_suffix("") / "b.png")


def photographs(root):
    for path in masks(root):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()


def objects_only(root):
    for split in ("train", "val"):
        (root / split).mkdir()
        (root / "images" / split).rename(root / split / "JPEGImages")
        (root / "masks" / split).rename(root / split / "SegmentationObject")


REFUSED = {
    binary_255: r"never labelled: leaf: the masks hold 0 and 255.*--data\.mask_values \[0,255\]",
    only_one_class: "one class, 'leaf', covers every labelled pixel",
    from_one: r"count from 1 are read with mask values 1 \(--data\.mask_values 1\)",
    never: r"never labelled: unicorn; take them from the class list, or go on without",
    unlabelled: r"no labelled pixel in 4 masks \(100\.0 % of the pixels are not labelled\)",
    contradicting: "value 1, class 'red', has the colour that the class list gives 'green'",
    colours_without_a_table: "a picture of 3 channels .* give each its colour in the class list",
    unknown_colour: r"colour \(0, 170, 60\) at row .* add the colour's class there",
    instances: "if the numbers count objects, write the number of the object's class",
    wide_instances: r"values up to 2026, .*numbers of objects \(instance masks\)",
    scaled: r"value \d+ at row .* if these are the classes in order: --data\.mask_values \[0,100,2",
    several: r"got 2 masks for image .*scene_0\.png .* the number of the class into one PNG",
    folders_of_objects: r"got 2 masks for image .*scene_0\.png",
    photographs: r"scene_0\.jpg, expected a PNG: \.jpg changes values",
    objects_only: r"SegmentationObject \(a number for each object\), expected .*SegmentationClass",
}


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_check_data_and_training_refuse_the_same_kinds_with_the_same_line(tmp_path, kind):
    root = segmentation_data.write(tmp_path / "d")
    kind(root)
    with pytest.raises(UserError, match=REFUSED[kind]) as refused:
        trained(root)
    assert "\n" not in str(refused.value)
    line = next(line for line in checked_or_refused(root) if line.startswith("error: "))
    assert line.removeprefix("error: ") in str(refused.value)


def test_labels_from_0_under_a_shift_of_1_stop_both(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    (root / "masks").rename(root / "annotations")
    for kind in ("images", "annotations"):
        (root / kind / "train").rename(root / kind / "training")
        (root / kind / "val").rename(root / kind / "validation")
    message = r"never labelled: green: labels look as if they start at 0.*--data\.mask_values 0"
    with pytest.raises(UserError, match=message):
        trained(root, dataset="ade20k")
    assert any("start at 0" in x for x in checked(root, dataset="ade20k") if "error" in x)
    assert trained(root, dataset="ade20k", mask_values=0).train[0] is not None
    source = trained(root, dataset="ade20k", mask_values=0).train
    assert all(np.array_equal(source.read(i)[1], expected()[i]) for i in range(4))
    assert checked(root, dataset="ade20k", mask_values=0) == []


def test_validation_on_training_images_is_refused_unless_asked_for(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    first = root / "images" / "val" / "scene_0.png"
    first.unlink()
    first.symlink_to(root / "images" / "train" / "scene_3.png")
    message = f"1 of 2 {{}} images that are training images, too (first {first}), expected others"
    with pytest.raises(UserError, match=re.escape(f"got {message.format('validation')}")):
        trained(root)
    [line] = checked(root)
    assert line.startswith(f"error: {message.format('val')}")
    assert "(its training images" in trained(root, val_split="train").describe()


def test_missing_classes_are_trained_without_when_told(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    never(root)
    text = "\n".join(trained(root, allow=True).remarks)
    assert "training: never labelled: unicorn" in text
    assert "mIoU covers 3 of 4 classes" in text
    assert "unicorn 0.00 %" in text


def test_shares_of_all_classes_are_told_at_the_start(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    remarks = trained(root).remarks
    share = [100 * np.mean([(x == k).mean() for x in expected()]) for k in range(3)]
    assert remarks == [
        f"pixels: ground {share[0]:.1f} %, red {share[1]:.1f} %, green {share[2]:.1f} %"
    ]
    assert checked(root) == []


# kinds that are read -----------------------------------------------------------------------------


def colours_in_classes_txt(root):
    (root / "classes.txt").write_text("ground #000000\nred #fa3232\ngreen #00aa3c\n")
    change(root, coloured)


def numbers_in_classes_txt(root):
    (root / "classes.txt").write_text("0 0 0 ground\n250 50 50 red\n0 170 60\tgreen\n")
    change(root, coloured)


def cvat_labelmap(root):
    (root / "classes.txt").unlink()
    text = "# label:color_rgb:parts:actions\nground:0,0,0::\nred:250,50,50::\ngreen:0,170,60::\n"
    (root / "labelmap.txt").write_text(text)
    change(root, lambda x: coloured(x).convert("RGBA"))


def cvat_palette(root):
    """A palette in another order than the list: CVAT's list says what colours mean."""
    cvat_labelmap(root)
    for path in masks(root):
        image = Image.open(path).convert("RGB").quantize(3, dither=Image.Dither.NONE)
        assert image.mode == "P"
        image.save(path)


def csv_with_colours(root):
    (root / "classes.txt").unlink()
    (root / "class_dict.csv").write_text("name,r,g,b\nground,0,0,0\nred,250,50,50\ngreen,0,170,60")
    change(root, coloured)


def csv_with_values(root):
    (root / "classes.txt").unlink()
    (root / "_classes.csv").write_text("Pixel Value, Class\n0, ground\n100, red\n255, green\n")
    values = np.array([0, 100, 255], dtype=np.uint8)
    change(root, lambda x: Image.fromarray(values[x]))


def roboflow(root):
    csv_with_values(root)
    for split, name in (("train", "train"), ("val", "valid")):
        (root / name).mkdir(exist_ok=True)
        for path in (root / "images" / split).iterdir():
            path.rename(root / name / path.name)
        for path in (root / "masks" / split).iterdir():
            path.rename(root / name / f"{path.stem}_mask.png")
        shutil.copy(root / "_classes.csv", root / name)
    (root / "_classes.csv").unlink()
    shutil.rmtree(root / "images")
    shutil.rmtree(root / "masks")


def voc(root):
    cvat_labelmap(root)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for kind, name in (("images", "JPEGImages"), ("masks", "SegmentationClass")):
        (root / name).mkdir()
        for split in ("train", "val"):
            files = sorted((root / kind / split).iterdir())
            for path in files:
                path.rename(root / name / f"{split}_{path.name}")
            text = "".join(f"{split}_{path.stem}\n" for path in files)
            (lists / f"{split}.txt").write_text(text)
        shutil.rmtree(root / kind)
    Image.new("RGB", (3, 3)).save(root / "JPEGImages" / "not_segmented.jpg")


def renamed(kind, pattern):
    def rename(root):
        for path in sorted(root.glob(f"{kind}/*/*")):
            number = path.stem.removeprefix("scene_")
            path.rename(path.with_name(pattern.format(stem=path.stem, number=number)))

    rename.__name__ = f"{kind}_{pattern}"
    return rename


def both_renamed(root):
    renamed("images", "{number}_sat.png")(root)
    renamed("masks", "{number}_mask.png")(root)


READ = [
    *(colours_in_classes_txt, numbers_in_classes_txt, cvat_labelmap, cvat_palette),
    *(csv_with_colours, csv_with_values, roboflow, voc, both_renamed),
    renamed("masks", "{stem}_mask.png"),
    renamed("masks", "{stem}-labels.PNG"),
    renamed("masks", "mask_{stem}.png"),
    renamed("masks", "{stem}.jpg.png"),
    renamed("masks", "SCENE_{number}.png"),
    renamed("masks", "mask_{number}.png"),
    renamed("masks", "seg{number}.tif"),
]


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.__name__)
def test_kinds_of_masks_are_read(tmp_path, kind):
    root = segmentation_data.write(tmp_path / "d")
    kind(root)
    found = labels_of(root)
    assert len(found) == 4
    assert all(np.array_equal(a, b) for a, b in zip(found, expected(), strict=True))
    assert [line for line in checked(root) if not line.startswith("remark")] == []
    assert trained(root).classes == segmentation_data.NAMES


def test_values_are_the_classes_as_told(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    binary_255(root)
    data = trained(root, mask_values=[0, 255])
    assert [np.unique(data.train.read(i)[1]).tolist() for i in range(4)] == 4 * [[0, 1]]
    assert checked(root, mask_values=[0, 255]) == []
    with pytest.raises(UserError, match=r"got mask values \[0, 1, 2\] for the 2 classes"):
        trained(root, mask_values=[0, 1, 2])


def test_colours_or_values_are_read_as_told_where_they_contradict(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    contradicting(root)
    (root / "classes.txt").write_text("ground #000000\nred #00aa3c\ngreen #fa3232\n")
    swapped = np.array([0, 2, 1], dtype=np.uint8)
    assert np.array_equal(labels_of(root, masks="colours")[0], swapped[expected()[0]])
    assert np.array_equal(labels_of(root, masks="values")[0], expected()[0])
    (root / "classes.txt").write_text("ground\nred\ngreen\n")
    with pytest.raises(UserError, match="got masks colours, but the class list does not give"):
        labels_of(root, masks="colours")


def test_a_palette_of_other_colours_is_not_looked_at(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    (root / "classes.txt").write_text("ground #000000\nred #fa3232\ngreen #00aa3c\n")
    change(root, lambda x: with_palette(x, [(1, 1, 1), (2, 2, 2), (3, 3, 3)]))
    assert np.array_equal(labels_of(root)[0], expected()[0])


def test_one_kind_of_several_masks_is_taken_by_its_suffix(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    several(root)
    assert len(labels_of(root, mask_suffix="_1")) == 4
    assert trained(root, mask_suffix="_1").length() == 4


@pytest.mark.parametrize("name", ["labelmap.txt", "c.csv"])
@pytest.mark.parametrize("problem", ["twice", "large", "column"])
def test_class_lists_that_cannot_be_used_are_named(tmp_path, name, problem):
    last = {"twice": "1,2,3", "large": "1,2,300", "column": "1,2,3"}[problem]
    text = f"a:1,2,3::\nb:{last}::\n"
    if name == "c.csv":
        text = f"name,r,g,b\na,1,2,3\nb,{last}\n"
        if problem == "column":
            text = "x,y\n1,2\n"
    elif problem == "column":
        return
    (tmp_path / name).write_text(text)
    root = segmentation_data.write(tmp_path / "d")
    messages = {
        "twice": r"got colour \(1, 2, 3\) for both 'a' and 'b'",
        "large": "got colour 1,2,300",
        "column": "with the columns x, y, expected a column class",
    }
    with pytest.raises(UserError, match=messages[problem]):
        labels_of(root, class_file=str(tmp_path / name))
