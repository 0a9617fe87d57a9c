"""Outputs replace nothing that is read, and write to what is no file."""

import errno
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from spanetv2.data.walk import walk
from spanetv2.errors import UserError
from spanetv2.files import atomic_path, write_text
from spanetv2.kept import keep, keeping, leave_out, promise, refuse_to_replace


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_text("pixels")
    (tmp_path / "hard.png").hardlink_to(path)
    (tmp_path / "soft.png").symlink_to(path)
    return path


@pytest.mark.parametrize("name", ["photo.png", "hard.png", "soft.png", "./photo.png"])
def test_an_output_that_is_an_input_is_refused_by_any_name(image: Path, name: str) -> None:
    with keeping():
        keep(lambda: [str(image), "nowhere"])
        with pytest.raises(UserError, match="would replace a file that is read"):
            write_text(image.parent / name, "labels")
        write_text(image.parent / "other.png", "labels")
        write_text(image.parent / "other.png", "again")
    assert image.read_text() == "pixels"
    refuse_to_replace(image)  # outside of a block nothing is kept


def test_a_promised_output_is_refused_before_the_work(image: Path) -> None:
    with keeping():
        promise(None, image.parent / "soft.png")
        with pytest.raises(UserError, match=r"soft\.png would replace"):
            keep([image])


def test_a_folder_of_outputs_is_not_searched_unless_it_is_given(tmp_path: Path) -> None:
    out = tmp_path / "predictions"
    for path in (tmp_path / "a.png", out / "b.png"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    with keeping():
        leave_out(out)
        assert list(walk(str(tmp_path))) == [str(tmp_path / "a.png")]
        assert list(walk(str(out))) == [str(out / "b.png")]
    assert len(list(walk(str(tmp_path)))) == 2


def test_a_circular_link_does_not_hide_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("")
    (tmp_path / "b.png").symlink_to("b.png")
    assert list(walk(str(tmp_path))) == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to("real.json")
    write_text(tmp_path / "link.json", "figures")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "figures"


def test_devices_pipes_and_sockets_are_written_and_stay(tmp_path: Path) -> None:
    write_text("/dev/null", "nothing")
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        write_text(pipe, "figures")
        assert reader.communicate()[0] == "figures"
    assert pipe.is_fifo()
    path = tmp_path / "socket"
    got: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                got.append(connection.recv(100))

        listener = threading.Thread(target=answer)
        listener.start()
        write_text(path, "figures")
        listener.join()
    assert got == [b"figures"]
    assert path.is_socket()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe.json", "socket"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left on the device"),
        (RuntimeError("File too large (os error 27)"), "the system allows no file of that size"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "the quota of disk space is used up"),
    ],
)
def test_a_full_disk_names_the_file_and_the_space(
    tmp_path: Path, error: Exception, said: str
) -> None:
    target = tmp_path / "last.ckpt"
    target.write_text("before")

    def write() -> None:
        with atomic_path(target, size=12_300_000) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(UserError) as refused:
        write()
    assert f"{target}: {said}: it needs 12.3 MB, " in str(refused.value)
    assert " MB are free; nothing was replaced" in str(refused.value)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_dev_full_says_so() -> None:
    with pytest.raises(UserError, match=r"/dev/full: no space left on the device"):
        write_text("/dev/full", "figures")
