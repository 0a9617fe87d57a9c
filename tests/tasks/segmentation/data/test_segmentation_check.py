from pathlib import Path

import numpy as np
import pytest
import segmentation_data
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.check import check_headers, survey
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset


@pytest.fixture
def source(tmp_path):
    root = segmentation_data.write(tmp_path / "d", ade=True, counts=(1, 6))
    return open_dataset(DatasetSpec(name="ade20k", root=str(root)))


@pytest.mark.parametrize("workers", [1, 3])
def test_survey_counts_pixels_and_images(source, workers):
    found = survey(source, workers=workers)
    labels = [source.read(i)[1] for i in range(6)]
    assert found.samples == 6
    assert found.problems == []
    assert found.pixels == [sum(int((x == k).sum()) for x in labels) for k in range(3)]
    assert found.images == [sum(bool((x == k).any()) for x in labels) for k in range(3)]
    assert found.ignored == 18


def break_files(source):
    """Damage one file of each pair but the last; gives what is to be found."""
    pairs = source.pairs
    Image.new("L", (5, 5)).save(pairs[0].mask)
    Image.new("RGB", (32, 24)).save(pairs[1].mask)
    Path(pairs[2].image).write_bytes(b"text")
    Path(pairs[3].mask).write_bytes(b"")
    values = np.full((24, 32), 4, dtype=np.uint8)
    Image.fromarray(values).save(pairs[4].mask)
    return [
        (pairs[0].mask, "5 x 5 pixels"),
        (pairs[1].mask, "a picture of 3 channels"),
        (pairs[2].image, "not an image"),
        (pairs[3].mask, "an empty file"),
        (pairs[4].mask, "value 4 at row 0"),
    ]


def test_survey_names_every_bad_file(source):
    expected = break_files(source)
    found = survey(source, workers=2)
    assert found.samples == 1
    assert [problem.path for problem in found.problems] == [path for path, _ in expected]
    for problem, (_, reason) in zip(found.problems, expected, strict=True):
        assert problem.reason.startswith(reason)


def test_headers_tell_most_of_it(source):
    check_headers([source])
    expected = break_files(source)
    with pytest.raises(UserError, match=r"5 x 5 pixels, but its image .*\(and 3 more problems\)"):
        check_headers([source])
    for i, (path, reason) in enumerate(expected[:4]):
        source.pairs = source.pairs[0 if i == 0 else 1 :]
        with pytest.raises(UserError) as error:
            check_headers([source])
        assert path in str(error.value)
        assert reason in str(error.value)
    source.pairs = source.pairs[1:]
    check_headers([source])


def test_headers_know_that_images_are_turned_upright(source):
    image = Image.new("RGB", (24, 32))
    exif = image.getexif()
    exif[0x0112] = 6
    pair = source.pairs[0]
    image.save(pair.image, exif=exif)
    source.pairs = [pair]
    check_headers([source])
    assert source.read(0)[0].size == (32, 24)
