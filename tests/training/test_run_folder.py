"""A run folder is one run's at a time, and holds nothing that a killed run had half written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.files import atomic_path
from spanetv2.training.checkpoints import SafeCheckpointIO, find_checkpoint, set_aside_broken
from spanetv2.training.run_folder import RunLock, clear_run, remove_leftovers

HOLD = """
import sys, time
from pathlib import Path
from spanetv2.training.run_folder import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.take()
lock.sign("2026-01-02T03:04:05")
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_run_is_refused_with_the_first_ones_process_until_that_is_killed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with RunLock(folder) as lock, pytest.raises(UserError) as refused:
            lock.take(make=False)
        expected = rf"in use by process {other.pid} on .*, started 2026-01-02T03:04:05; wait for it"
        assert refused.match(expected)
        other.send_signal(signal.SIGKILL)
        other.wait()
    with RunLock(folder) as lock:
        assert lock.take(make=False)
        lock.sign("now")
        with pytest.raises(UserError, match=f"process {os.getpid()} on"):
            RunLock(folder).take()
    assert not list(folder.iterdir())


def test_a_lock_is_not_held_by_children(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.take()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)  # outlives its parent's hold
        os._exit(0)
    os.close(reader)
    lock.release()
    try:
        with RunLock(tmp_path) as other:
            assert other.take()
    finally:
        os.write(writer, b"x")
        os.close(writer)
        assert os.waitpid(child, 0)[1] == 0


def test_processes_that_do_not_hold_a_folder_make_nothing(tmp_path: Path) -> None:
    assert not RunLock(tmp_path / "run", here=False).take()
    assert not RunLock(tmp_path / "run").take(make=False)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_kills_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("run", "run/checkpoints", "run/logs"):
        (tmp_path / name).mkdir()
    kept = [tmp_path / "run" / name for name in (".part", "a.part.csv", "checkpoints/.b.part.ckpt")]
    for path in kept:
        path.write_text("mine")
    for place in ("weights.safetensors", "checkpoints/last.ckpt", "logs/metrics.csv"):
        child = os.fork()
        if child == 0:
            with atomic_path(tmp_path / "run" / place):
                os._exit(0)  # as a kill would
        os.waitpid(child, 0)
    assert len([path for path in tmp_path.rglob(".*-*") if ".part." in path.name]) == 3
    remove_leftovers(tmp_path / "run")
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_overwriting_deletes_what_a_run_made_and_nothing_else(tmp_path: Path) -> None:
    own = [
        "checkpoints/last.ckpt",
        "logs/metrics.csv",
        "logs/events.out.tfevents.1",
        "metrics.json",
    ]
    other = ["checkpoints/notes.txt", "logs/server.log", "photo.jpg"]
    for name in [*own, *other]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    clear_run(tmp_path)
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {*other}


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"epoch": 3, "model": {}}])
def test_a_foreign_last_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, content: Any
) -> None:
    whole = dict.fromkeys(("state_dict", "optimizer_states", "loops", "global_step", "epoch"), 0)
    for _ in range(2):
        SafeCheckpointIO().save_checkpoint(whole, tmp_path / "last.ckpt")
    assert find_checkpoint(tmp_path) == (tmp_path / "last.ckpt", None)
    torch.save(content, tmp_path / "last.ckpt")
    found, remark = find_checkpoint(tmp_path)
    assert found == tmp_path / "last-previous.ckpt"
    assert remark is not None
    assert "last.ckpt is not a checkpoint of a run: going on from" in remark
    set_aside_broken(tmp_path)
    assert (tmp_path / "last.ckpt.broken").is_file()
    (tmp_path / "last-previous.ckpt").write_text(json.dumps({}))
    with pytest.raises(UserError, match=r"is missing, and last-previous\.ckpt beside"):
        find_checkpoint(tmp_path)
