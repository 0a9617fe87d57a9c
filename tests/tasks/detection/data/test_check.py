"""The check of a COCO data set."""

from pathlib import Path

import pytest
from coco_data import annotation, record, rectangle, write
from PIL import Image

from spanetv2.scenes import SceneSettings, write_scenes
from spanetv2.tasks.detection.data.check import check_coco
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.detection.data.reading import Reading


def check(folder: Path, **options):
    return check_coco(folder / "annotations.json", folder / "images", **options)


def test_a_sound_data_set_has_only_the_small_image(tmp_path):
    folder = write(tmp_path)
    (problem,) = check(folder)
    assert problem.path == str(folder / "images" / "small.png")
    assert problem.effect == "left out"
    assert problem.reason == "20 x 20 pixels, expected sides of at least 32"


def test_scenes_have_no_problem(tmp_path, capfd):
    settings = SceneSettings(size=128)
    out = write_scenes(tmp_path / "scenes", train=4, val=2, settings=settings)
    for split in ("train", "val"):
        keep = Reading(empty_classes="keep")  # so few scenes lack some digits
        assert check_coco(*find_coco(out, split), reading=keep, progress=True) == []
    assert "100%" in capfd.readouterr().err


# id of the annotation that is changed, what is changed, what is said, what training does
FAULTS = [
    ({"bbox": [-30, 10, 20, 20]}, "box outside the image", "left out"),
    ({"bbox": [10, 10, 0, 0]}, "box of 0 x 0 pixels, expected at least 1 x 1", "left out"),
    ({"area": 0}, "area 0, expected more than 0", "left out"),
    ({"bbox": [60, 8, 60, 32]}, "box reaches 20 pixels outside the image", "kept"),
    ({"segmentation": rectangle(200, 200, 220, 220)}, "mask without a pixel", "left out"),
    (
        {"segmentation": rectangle(0, 0, 20, 8)},
        "mask misses its box: it spans [0, 0, 20, 8]",
        "left out",
    ),
    ({"segmentation": rectangle(60, 8, 70, 20)}, "mask fits its box badly", "kept"),
    ({"segmentation": [[60, 8, 90, 40]]}, "mask without a pixel", "left out"),
    (
        {"segmentation": [[60, 8, 90, 40], *rectangle(60, 8, 90, 40)]},
        "1 of 2 polygons with fewer than 3 points",
        "kept",
    ),
    ({"segmentation": {"size": [48, 100], "counts": [1, 2]}}, "run lengths of 3 pixels", "stops"),
    ({"segmentation": {"size": [48, 100], "counts": "\x7f"}}, "characters outside", "stops"),
    ({"id": 100}, "an id that another annotation has too", "stops"),
    ({"category_id": 1}, "category_id 1, which no category has", "stops"),
    ({"image_id": 1}, "image_id 1, which no image has", "stops"),
    ({"bbox": [1, 2, float("nan"), 4]}, "expected four finite numbers", "stops"),
]


@pytest.mark.parametrize(("change", "reason", "effect"), FAULTS)
def test_faults_are_found_with_file_and_annotation(change, reason, effect, tmp_path):
    made = record()
    made["annotations"][1].update(change)
    made["annotations"].append(annotation(102, 7, 2, (40, 30, 60, 50)))
    folder = write(tmp_path, made)
    (problem,) = [p for p in check(folder, decode=False) if p.annotation is not None]
    assert problem.path == str(folder / "annotations.json")
    assert problem.annotation == change.get("id", 40)
    assert reason in problem.reason
    assert problem.effect == effect
    # What the check says is what training does.
    place = (folder / "annotations.json", folder / "images")
    if effect == "stops":
        with pytest.raises(ValueError, match=f"annotation {problem.annotation}: "):
            CocoDetection(*place, training=True)
    else:
        data = CocoDetection(*place, training=True)
        targets = [data.target(index) for index in range(len(data))]
        found = sum(len(t["labels"]) for t in targets if t["image_id"].item() == 3)
        assert found == (1 if effect == "kept" else 0)


def test_image_faults_are_found(tmp_path):
    folder = write(tmp_path)
    images = folder / "images"
    Image.new("RGB", (81, 64)).save(images / "two.png")
    whole = (images / "crowd.png").read_bytes()
    (images / "crowd.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.png").unlink()
    found = {Path(p.path).name: p for p in check(folder)}
    assert "81 x 64 pixels, expected 80 x 64" in found["two.png"].reason
    assert "damaged or truncated" in found["crowd.png"].reason
    assert "no such file" in found["empty.png"].reason
    assert all(found[name].effect == "stops" for name in ("two.png", "crowd.png", "empty.png"))
    quick = {Path(p.path).name for p in check(folder, decode=False)}
    assert quick == {"two.png", "empty.png", "small.png"}


def test_a_photograph_turned_by_its_note_is_sound(tmp_path):
    folder = write(tmp_path)
    picture = Image.new("RGB", (80, 64))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(folder / "images" / "two.png", exif=exif)
    for decode in (True, False):
        assert [Path(p.path).name for p in check(folder, decode=decode)] == ["small.png"]


def test_files_and_categories_are_compared_with_what_is_known(tmp_path):
    made = record()
    made["images"].append({**made["images"][0], "id": 8})
    folder = write(tmp_path, made)
    problems = check(folder, classes=["cat", "toothbrush"])
    assert [p.annotation for p in problems if "not among the 2 classes" in p.reason] == [40, 50]
    (doubled,) = [p for p in problems if "same file" in p.reason]
    assert doubled.reason == "images 7 and 8 are the same file two.png"


def test_empty_and_unreadable_sets_are_named(tmp_path):
    made = record()
    made["annotations"] = []
    assert "no annotations: nothing to train on" in [
        p.reason for p in check(write(tmp_path / "a", made))
    ]
    made["images"] = []
    assert [p.reason for p in check(write(tmp_path / "b", made))] == ["no images"]
    (tmp_path / "b" / "annotations.json").write_text("{")
    (problem,) = check(tmp_path / "b")
    assert problem.reason.startswith("not JSON")
    assert str(problem).count("annotations.json") == 1
    (problem,) = check_coco(tmp_path / "nothing.json", tmp_path)
    assert "cannot read" in problem.reason
    (problem,) = check_coco(tmp_path / "a" / "annotations.json", tmp_path / "nowhere")
    assert problem.reason == "no such folder of images"


def test_nothing_stops_the_check_itself(tmp_path):
    made = record()
    made["images"] += [None, {"id": 50}, {"id": 51, "file_name": 3, "width": 1, "height": 1}]
    made["categories"] += ["cat", {}]
    made["annotations"] += [None, [], {"id": {}}, {"id": 900}, {"id": 901, "image_id": {}}]
    made["annotations"].append(annotation(902, 50, 2, (1, 1, 5, 5)))
    problems = check(write(tmp_path, made, images=False))
    assert sum(p.effect == "stops" for p in problems) >= 10
    assert len({str(p) for p in problems}) == len(problems)
