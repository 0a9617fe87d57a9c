"""Splits with images in common, by path or by link."""

import shutil
from pathlib import Path

import pytest

from spanetv2.data.apart import refuse_shared, shared_files
from spanetv2.errors import UserError


def test_shared_files_are_found_through_links_of_files_and_folders(tmp_path: Path) -> None:
    train = tmp_path / "train"
    (train / "a").mkdir(parents=True)
    paths = [train / "a" / f"{k}.png" for k in range(3)]
    for path in paths:
        path.write_bytes(b"image")
    (tmp_path / "folder").symlink_to(train / "a")
    (tmp_path / "file.png").symlink_to(paths[1])
    copy = shutil.copy(paths[0], tmp_path / "copy.png")
    linked = [f"{tmp_path}/folder/2.png", f"{tmp_path}/file.png", f"{train}/a/../a/0.png"]
    known = [str(path) for path in paths]
    assert shared_files(known, [*linked, str(copy)]) == linked
    assert shared_files([], linked) == []
    refuse_shared(known, [str(copy)])
    message = r"^got 3 of 4 validation images that are training images, too \(first .*folder/2.png"
    with pytest.raises(UserError, match=message):
        refuse_shared(known, [*linked, str(copy)])
