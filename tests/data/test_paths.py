import os
from pathlib import Path

import pytest
from PIL import Image

from spanetv2.data.images import Failure, ImageError
from spanetv2.data.paths import find_images, path_batches


def touch(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2.jpg", "b/10.PNG", "a/x.webp", "b/notes.txt", "z.gif", ".hidden/y.png"):
        touch(tmp_path / name)
    return tmp_path


def names(found, top):
    return [os.path.relpath(entry, top) for entry in found]


def test_find_images_walks_folders_in_sorted_order(tree):
    expected = ["a/x.webp", "b/10.PNG", "b/2.jpg", "z.gif"]
    assert names(find_images([tree]), tree) == expected
    assert names(find_images([f"{tree}/"]), tree) == expected


def test_find_images_takes_named_files_whatever_their_ending(tree):
    assert list(find_images([tree / "b" / "notes.txt"])) == [str(tree / "b" / "notes.txt")]


def test_find_images_expands_patterns(tree):
    assert names(find_images([f"{tree}/b/*.jpg"]), tree) == ["b/2.jpg"]
    assert names(find_images([f"{tree}/[ab]"]), tree) == ["a/x.webp", "b/10.PNG", "b/2.jpg"]
    assert names(find_images([f"{tree}/**/*.webp"]), tree) == ["a/x.webp"]
    assert list(find_images([f"{tree}/*.bmp"])) == [
        Failure(f"{tree}/*.bmp", "no file matches this pattern")
    ]


def test_find_images_prefers_a_file_whose_name_looks_like_a_pattern(tree):
    path = touch(tree / "b" / "[1].jpg")
    assert list(find_images([path])) == [path]


def test_find_images_reports_folders_without_images(tree):
    (tree / "empty").mkdir()
    touch(tree / "texts" / "a.txt")
    assert list(find_images([tree / "empty", tree / "texts", tree / "a"])) == [
        Failure(str(tree / "empty"), "a folder without images"),
        Failure(str(tree / "texts"), "a folder without images (1 other files)"),
        str(tree / "a" / "x.webp"),
    ]


def test_find_images_survives_links_in_circles(tree):
    (tree / "a" / "up").symlink_to(tree)
    assert len(list(find_images([tree / "a"]))) == 4


def test_find_images_is_lazy(tree):
    def paths():
        yield tree / "a"
        raise AssertionError("asked for more than was needed")

    assert next(find_images(paths())) == str(tree / "a" / "x.webp")


def read_size(path):
    size = Path(path).stat().st_size
    if not size:
        raise ImageError(path, "an empty file")
    return size


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_path_batches_keep_order_and_put_failures_in_place(tmp_path, workers, batch_size):
    paths = [touch(tmp_path / f"{i}.png", b"x" * i) for i in range(5)]
    batches = list(
        path_batches(
            [*paths, tmp_path / "*.gif"], read=read_size, batch_size=batch_size, workers=workers
        )
    )
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert [entry for batch in batches for entry in batch] == [
        Failure(paths[0], "an empty file"),
        *((path, size) for size, path in enumerate(paths) if size),
        Failure(f"{tmp_path}/*.gif", "no file matches this pattern"),
    ]


def test_pictures_of_kinds_that_are_not_read_are_named_in_a_folder(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.PSD").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    found = list(find_images([tmp_path]))
    assert found[0] == str(tmp_path / "a.png")
    assert found[1:] == [
        (
            str(tmp_path / "b.PSD"),
            "files ending in .PSD are not read; convert them to PNG or JPEG",
        )
    ]


def test_one_bad_link_does_not_hide_what_a_pattern_finds(tree):
    (tree / "b" / "1.jpg").symlink_to("x" * 300)
    assert names(find_images([f"{tree}/b/*.jpg"]), tree) == ["b/1.jpg", "b/2.jpg"]
