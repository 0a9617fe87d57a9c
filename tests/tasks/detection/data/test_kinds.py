"""Kinds of data that tools write: check-data and training say the same of each."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from coco_data import rectangle_mask, runs
from other_data import HEIGHT, WIDTH, Record, write_set
from typer.testing import CliRunner

from spanetv2.api import evaluate as evaluate_checkpoint
from spanetv2.cli.check_data import check_data_app
from spanetv2.errors import UserError
from spanetv2.tasks.detection.config import DataConfig, RunConfig
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.run_data import DetectionData
from spanetv2.training.batching import BatchPlan

PLAN = BatchPlan(per_device=1, devices=1, accumulation=1, wanted=1)


def check_data(*arguments: object) -> tuple[int, str]:
    """Exit status and all that ``spanetv2 check-data detection`` says."""
    result = CliRunner().invoke(check_data_app(), ["detection", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        return 1, f"{result.output}\nerror: {result.exception}"
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def open_data(
    root: Path, *, detector: DetectorOptions | None = None, **options: Any
) -> DetectionData:
    """Data as a run opens them before its first update."""
    config = RunConfig(
        data=DataConfig(root=str(root), **options), detector=detector or DetectorOptions()
    )
    return DetectionData(config, plan=PLAN)


# what makes a record one of a kind ---------------------------------------------------------------


def each(kind: str, **values: Any) -> Callable[[Record, str], None]:
    """Give all entries of a list the same values; a callable makes one from the entry."""

    def change(made: Record, split: str) -> None:
        for entry in made[kind]:
            for key, value in values.items():
                entry[key] = value(entry) if callable(value) else value

    return change


def only_train(change: Callable[[Record, str], None]) -> Callable[[Record, str], None]:
    return lambda made, split: change(made, split) if split == "train" else None


def as_crowd(entry: dict[str, Any]) -> dict[str, Any]:
    left, top, width, height = entry["bbox"]
    return runs(rectangle_mask(HEIGHT, WIDTH, (left, top, left + width, top + height)))


def stones(**values: Any) -> Callable[[Record, str], None]:
    def change(made: Record, split: str) -> None:
        stone = {"annotations": [a for a in made["annotations"] if a["category_id"] == 2]}
        each("annotations", **values)(stone, split)

    return change


def second(**values: Any) -> Callable[[Record, str], None]:
    """Change the second annotation of training."""
    return only_train(
        lambda made, split: each("annotations", **values)(
            {"annotations": made["annotations"][1:2]}, split
        )
    )


def rename_stone(name: str, split: str) -> Callable[[Record, str], None]:
    def change(made: Record, own: str) -> None:
        if own == split:
            made["categories"][1]["name"] = name

    return change


def more_images(made: Record, split: str) -> None:
    made["images"].append({**made["images"][0], "id": 77, "file_name": "gone.jpg"})
    made["annotations"].append({**made["annotations"][0], "id": 78, "image_id": 77})


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of data, and what is to be said about it.

    Args:
        change: of the records.
        said: what check-data and the first lines of training say, both: patterns.
        stops: whether both refuse it.
        left_out: what training goes without, as reason -> class -> number.
        options: of ``data``, as in training.
    """

    change: Callable[[Record, str], None]
    said: list[str] = field(default_factory=list)
    stops: bool = False
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def corners(entry: dict[str, Any]) -> list[float]:
    left, top, width, height = entry["bbox"]
    return [left, top, left + width, top + height]


KINDS = {
    "sound": Kind(change=lambda made, split: None),
    "all crowds": Kind(
        change=each("annotations", iscrowd=1, segmentation=as_crowd),
        said=[r"of 4 objects 4 crowds \(leaf 2, stone 2\)", "iscrowd 0"],
        stops=True,
    ),
    "half crowds": Kind(
        change=second(iscrowd=1, segmentation=as_crowd),
        said=[
            r"1 of 4 objects are crowds \(stone 1\): training goes without them",
            'CVAT.*write "iscrowd": 0',
        ],
        left_out={"crowds": {"stone": 1}},
    ),
    "a class of crowds": Kind(
        change=stones(iscrowd=1, segmentation=as_crowd),
        said=[r"class 'stone': none of its 2 objects can be trained on \(2 crowds\)"],
        stops=True,
    ),
    "a class of crowds, kept": Kind(
        change=stones(iscrowd=1, segmentation=as_crowd),
        said=["2 of 4 objects are crowds"],
        left_out={"crowds": {"stone": 2}},
        options={"empty_classes": "keep"},
    ),
    "a class without an object": Kind(
        change=lambda made, split: made["categories"].append({"id": 9, "name": "moss"}),
        said=["class 'moss': no object of it; add some, .*--data.empty_classes keep"],
        stops=True,
    ),
    "a class without an object, kept": Kind(
        change=lambda made, split: made["categories"].append({"id": 9, "name": "moss"}),
        options={"empty_classes": "keep"},
    ),
    "exchanged sides": Kind(
        change=each("images", width=HEIGHT, height=WIDTH),
        said=["got 96 x 64 pixels, expected 64 x 96 .*width and height are exchanged"],
        stops=True,
    ),
    "another size": Kind(
        change=each("images", width=100),
        said=["got 96 x 64 pixels, expected 100 x 64 as instances_train.json says"],
        stops=True,
    ),
    "missing files": Kind(change=more_images, said=["gone.jpg: no such file"], stops=True),
    "a missing file of val": Kind(
        change=lambda made, split: more_images(made, split) if split == "val" else None,
        said=["val/gone.jpg: no such file"],
        stops=True,
    ),
    "a near miss in val": Kind(
        change=rename_stone("Stone ", "val"),
        said=["category 'Stone ', which is not among the 2 classes .*; is 'stone' meant?"],
        stops=True,
    ),
    "a box outside": Kind(
        change=second(bbox=[5000, 1, 21, 14]),
        said=["boxes? outside the image"],
        left_out={"boxes outside the image or without area": {"stone": 1}},
    ),
    "a mask without a pixel": Kind(
        change=second(segmentation=[[47, 1, 68, 1]]),
        said=["masks? (misses its box|without a pixel)"],
        left_out={"masks without a pixel in their box": {"stone": 1}},
    ),
    "a mask beside its box": Kind(
        change=second(segmentation=[[1, 40, 9, 40, 9, 60, 1, 60]]),
        said=["masks? (misses its box|without a pixel)"],
        left_out={"masks without a pixel in their box": {"stone": 1}},
    ),
    "corners for sizes": Kind(
        change=each("annotations", bbox=corners),
        said=["boxes look like left, top, right, bottom", "boxes corners"],
        stops=True,
    ),
    "corners without masks": Kind(
        change=lambda made, split: (
            each("annotations", bbox=corners)(made, split),
            each("annotations", segmentation=[])(made, split),
        ),
        said=["boxes look like left, top, right, bottom"],
        stops=True,
    ),
    "corners, said": Kind(change=each("annotations", bbox=corners), options={"boxes": "corners"}),
    "a placeholder": Kind(
        change=lambda made, split: (
            made["categories"].insert(0, {"id": 0, "name": "garden", "supercategory": "none"}),
            each("categories", supercategory="garden")({"categories": made["categories"][1:]}, ""),
        ),
        said=["category 'garden' only groups others"],
    ),
    "float references": Kind(
        change=each(
            "annotations",
            image_id=lambda a: float(a["image_id"]),
            category_id=lambda a: float(a["category_id"]),
        ),
    ),
    "text references": Kind(
        change=each(
            "annotations",
            image_id=lambda a: str(a["image_id"]),
            category_id=lambda a: str(a["category_id"]),
        ),
    ),
    "no id": Kind(
        change=only_train(each("annotations", id=None)), said=["no id, expected"], stops=True
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_check_data_and_training_agree(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    root = write_set(tmp_path / "data", kind.change)
    flags = [word for key, value in kind.options.items() for word in (flag(key), value)]
    status, told = check_data(root, *flags)
    if kind.stops:
        with pytest.raises(UserError) as refused:
            open_data(root, **kind.options)
        first = str(refused.value)
        assert "\n" not in first
        assert status == 1
        assert "0 errors" not in told.splitlines()[0]
        # what training refuses is one of the lines of check-data
        assert re.split(r" \(and |; 'spanetv2", first)[0] in told.replace("\n", " ")
        for pattern in kind.said:
            assert re.search(pattern, first), (pattern, first)
    else:
        data = open_data(root, **kind.options)
        first = data.describe()
        assert status == 0, told
        assert "error:" not in told
        left = {why: dict(by) for why, by in data.train.counts.left_out.items()}
        assert left == kind.left_out
        used = sum(len(data.train.target(i)["labels"]) for i in range(len(data.train)))
        assert (
            used
            == data.train.counts.used.total()
            == 4 - sum(sum(by.values()) for by in kind.left_out.values())
        )
        for pattern in kind.said:
            assert re.search(pattern, first), (pattern, first)
        assert data.train.counts.table() in told
    for pattern in kind.said:
        assert re.search(pattern, told), (pattern, told)


def flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def test_a_sound_set_needs_no_remark(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    status, told = check_data(root)
    assert status == 0
    assert "train: 0 errors, 0 remarks" in told
    assert re.search(r"leaf +2 +2\n *stone +2 +2", told)
    assert open_data(root).describe() == "2 training and 1 validation images, 2 classes"


def test_many_alike_are_one_line_with_a_count(tmp_path: Path) -> None:
    root = write_set(tmp_path, only_train(each("annotations", bbox=[200, 200, 5, 5])))
    _, told = check_data(root)
    lines = [line for line in told.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 1
    assert lines[0].startswith("left out: 4 x boxes outside the image or without area, the first: ")
    assert "annotation 1: box outside the image" in lines[0]
    _, told = check_data(root, "--all")
    assert sum(line.startswith("left out: ") for line in told.splitlines()) == 4


def test_follow_up_errors_are_not_told(tmp_path: Path) -> None:
    """One wrong size, no word of the boxes and masks that then lie outside."""
    root = write_set(tmp_path, only_train(each("images", width=10, height=10)))
    _, told = check_data(root)
    assert "annotation" not in told.replace("annotations/", "").replace("--annotations", "")
    assert "train: 2 errors, 0 remarks" in told


def test_counts_are_kept_apart_from_a_changed_record() -> None:
    made = {"annotations": [{"a": 1}]}
    before = copy.deepcopy(made)
    only_train(each("annotations", a=2))(made, "val")
    assert made == before


def test_evaluation_counts_what_is_odd(tmp_path: Path, weights: Path) -> None:
    def change(made: Record, split: str) -> None:
        each("annotations", bbox=[300, 300, 9, 9])({"annotations": made["annotations"][:1]}, split)
        crowd = {**made["annotations"][1], "id": 50, "iscrowd": 1, "image_id": 1}
        made["annotations"].append({**crowd, "segmentation": as_crowd(crowd)})
        made["images"].append({**made["images"][0], "id": 9})

    root = write_set(tmp_path / "data", lambda made, split: split == "val" and change(made, split))
    done = evaluate_checkpoint(weights, root, device="cpu")
    said = (
        "1 boxes outside the image or without area (leaf 1), 1 crowds (stone 1), 1 images without "
        "an object: figures take all as annotated and do not count crowds"
    )
    assert any(note.endswith(said) for note in done.notes)
    assert said in open_data(root).describe()
    assert said in check_data(root)[1].replace("\n", " ")
    assert done.measurement.to_json()["objects"] == 2


def test_validation_on_training_images_is_refused_unless_asked_for(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data")
    (root / "val" / "0001.jpg").unlink()
    (root / "val" / "0001.jpg").symlink_to(root / "train" / "0002.jpg")
    message = "1 of 1 {} images that are training images, too (first " + f"{root}/val/0001.jpg)"
    with pytest.raises(UserError, match=re.escape(f"got {message.format('validation')}")):
        open_data(root)
    status, told = check_data(root)
    assert status == 1
    assert message.format("val") in told.replace("\n", " ")
    assert check_data(root, "--split", "val")[0] == 0
    note = "(its training images: no measure of what it learns)"
    assert note in open_data(root, val_split="train").describe()
    files = {"annotations": root / "annotations" / "instances_train.json", "images": root / "train"}
    given = {f"{part}_{k}": str(v) for part in ("train", "val") for k, v in files.items()}
    with pytest.raises(UserError, match="got 2 of 2 validation images that are training images"):
        open_data(root, **given)
