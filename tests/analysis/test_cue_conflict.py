"""The protocol of the cue-conflict test, on images made here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.imagenet_info import ImageNetInfo
from torch import nn

from spanetv2.analysis.cue_conflict import (
    CATEGORIES,
    IMAGENET_INDICES,
    CueImage,
    category_map,
    decide,
    find_cue_images,
    shape_bias,
)
from spanetv2.analysis.figures import shape_bias_figure
from spanetv2.errors import UserError


class Reader(nn.Module):
    """Answers with the category that the image's first row codes: pixel value = category."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.row = row
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(x_BCHW[:, 0, self.row, 0].long(), 16).float() * 9


def load(path: str) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image)).float()[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images: row 0 codes the shape, row 1 the texture, row 2 something else."""
    pairs = [("cat", "elephant"), ("cat", "dog"), ("dog", "cat"), ("bird", "car"), ("oven", "oven")]
    for number, (shape, texture) in enumerate(pairs):
        rows = [CATEGORIES.index(shape), CATEGORIES.index(texture), CATEGORIES.index("truck")]
        rows.append(rows[0] if number < 3 else rows[1])
        pixels = np.repeat(np.array(rows, dtype=np.uint8)[:, None], 4, axis=1)
        (tmp_path / shape).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / shape / f"{shape}{number + 1}-{texture}10.png")
    return tmp_path


@pytest.mark.parametrize(
    ("row", "counts", "bias"),
    [(0, (4, 0, 0), 1.0), (1, (0, 4, 0), 0.0), (2, (0, 0, 4), None), (3, (3, 1, 0), 0.75)],
)
def test_shape_bias_counts_the_decisions(folder: Path, row: int, counts, bias) -> None:
    images = find_cue_images(folder)
    done = []
    found = shape_bias(
        Reader(row), images, load, category_map(CATEGORIES, 16), batch_size=3, advance=done.append
    )
    assert (found.shape, found.texture, found.other) == counts
    assert found.bias == bias
    assert found.same == 1
    assert found.images == 4
    assert done == [3, 1]
    cat = found.per_category.coords["category"].index("cat")
    assert found.per_category.values[cat].sum() == 2


def test_find_cue_images_reads_names(folder: Path) -> None:
    found = find_cue_images(folder)
    assert [(image.shape, image.texture) for image in found] == [
        ("bird", "car"),
        ("cat", "elephant"),
        ("cat", "dog"),
        ("dog", "cat"),
        ("oven", "oven"),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cat/cat.png", "expected names such as airplane1-bicycle2.png"),
        ("cat/readme.txt", "expected names such as"),
        ("cat/cat1-zebra2.png", "got category 'zebra'"),
        ("cat/dog1-cat2.png", "expected it under its shape 'dog'"),
    ],
)
def test_find_cue_images_refuses_other_names(folder: Path, name: str, message: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(UserError, match=message):
        find_cue_images(folder)


def test_find_cue_images_refuses_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without images"):
        find_cue_images(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        find_cue_images(tmp_path / "none")


def test_imagenet_mapping_agrees_with_wordnet() -> None:
    """Against timm's own copy of WordNet's names and definitions."""
    info = ImageNetInfo("imagenet-1k")
    assert len(CATEGORIES) == 16
    assert list(CATEGORIES) == sorted(CATEGORIES)
    every = [i for indices in IMAGENET_INDICES.values() for i in indices]
    assert len(every) == len(set(every)) == 207
    assert {name: len(i) for name, i in IMAGENET_INDICES.items() if len(i) > 8} == {
        "bird": 49,
        "dog": 109,
    }
    words = {
        "airplane": ("airliner",),
        "bear": ("bear",),
        "bicycle": ("bicycle", "mountain bike"),
        "boat": ("boat", "canoe", "yawl", "catamaran"),
        "bottle": ("bottle", "pitcher", "jug", "flagon"),
        "car": ("wagon", "convertible", "sports car"),
        "cat": ("cat", "cougar"),
        "chair": ("chair", "throne"),
        "clock": ("clock",),
        "elephant": ("elephant",),
        "keyboard": ("keyboard",),
        "knife": ("cleaver",),
        "oven": ("rotisserie",),
        "truck": ("truck", "van", "pickup"),
    }
    for category, names in words.items():
        for index in IMAGENET_INDICES[category]:
            title = info.index_to_description(index).lower()
            assert any(name in title for name in names), (category, title)
    for index in IMAGENET_INDICES["dog"]:
        assert 151 <= index <= 268


def test_category_map_finds_outputs_by_name_or_id() -> None:
    info = ImageNetInfo("imagenet-1k")
    ids = info.label_names()
    assert category_map(ids, 1000) == IMAGENET_INDICES
    assert category_map(ids[::-1], 1000)["elephant"] == (999 - 385, 999 - 386)
    with pytest.raises(UserError, match="got a model of 10 classes"):
        category_map([str(i) for i in range(10)], 10)
    with pytest.raises(UserError, match="got a model of 10 classes"):
        category_map(None, 10)


def test_decide_takes_the_mean_over_a_categorys_classes() -> None:
    outputs = {"cat": (0,), "dog": (1, 2, 3)}
    probabilities = torch.tensor([[0.3, 0.25, 0.25, 0.2], [0.2, 0.3, 0.3, 0.2]])
    assert decide(probabilities, outputs) == ["cat", "dog"]


def test_shape_bias_refuses_categories_without_outputs() -> None:
    images = [CueImage("a", "cat", "dog")]
    with pytest.raises(UserError, match="got images of dog"):
        shape_bias(Reader(0), images, load, {"cat": (0,)})
    with pytest.raises(UserError, match="none with different categories"):
        shape_bias(Reader(0), [CueImage("a", "cat", "cat")], load, {"cat": (0,)})


def test_figure_puts_points_on_the_rows_of_their_categories(folder: Path) -> None:
    """Two models that know different categories share the rows."""
    images = find_cue_images(folder)
    all_known = shape_bias(Reader(3), images, load, category_map(CATEGORIES, 16))
    few = {name: (CATEGORIES.index(name),) for name in ("cat", "dog", "elephant")}
    fewer = shape_bias(
        Reader(0), [i for i in images if {i.shape, i.texture} <= set(few)], load, few
    )
    (axes,) = shape_bias_figure([("all", all_known), ("few", fewer)]).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == list(CATEGORIES)
    points = {}
    for line in axes.lines:
        if not str(line.get_label()).startswith("_"):
            x, y = line.get_data()
            points[line.get_label()] = {
                labels[int(row)]: value for row, value in zip(y, x, strict=True)
            }
    assert points == {"all": {"bird": 0, "cat": 1, "dog": 1}, "few": {"cat": 1, "dog": 1}}
