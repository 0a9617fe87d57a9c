"""Kill predictions and an evaluation at random moments, resume them until they are finished, and
compare with what was left alone. Every attempt is a fork of this process, which has imported all.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

import spanetv2
import spanetv2.many.evaluate
import spanetv2.many.predict
import spanetv2.tasks.segmentation.measure
import spanetv2.tasks.segmentation.writer
from spanetv2.scenes import SceneSettings, write_scenes

WEIGHTS = "spanetv2_pico_pure.scenes_semantic_fpn"


def start(command: str, data: Path, out: Path, **options: bool) -> int:
    """Begin a run in a fork; gives the process."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        torch.set_num_threads(1)
        if command == "predict":
            spanetv2.predict(WEIGHTS, data / "images/validation", out=out, device="cpu", **options)
        else:
            spanetv2.evaluate(WEIGHTS, data, out=out, device="cpu", **options)
        status = 0
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def contents(folder: Path) -> dict[str, bytes]:
    """All files, without what times put into them."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "evaluation.json":
                values = json.loads(data)
                data = repr({k: v for k, v in values.items() if "second" not in k}).encode()
            elif "evaluate" in folder.name and path.suffix == ".jsonl":
                lines = [json.loads(line) for line in data.splitlines()]
                data = repr([{**line, "seconds": 0} for line in lines]).encode()
            found[str(path.relative_to(folder))] = data
    return found


def main(folder: Path, kills: int) -> int:
    """Kill each command so many times; gives how often it was."""
    chance = random.Random(0)
    data = write_scenes(folder / "data", train=0, val=12, settings=SceneSettings(size=96))
    killed = 0
    for command in ("predict", "evaluate"):
        begin = time.monotonic()
        alone = folder / f"{command}-alone"
        assert os.waitstatus_to_exitcode(os.waitpid(start(command, data, alone), 0)[1]) == 0
        seconds = time.monotonic() - begin
        out, left = folder / f"{command}-killed", kills
        while True:
            child = start(command, data, out, resume=True)
            begin = time.monotonic()
            end = begin + seconds * chance.random() if left else float("inf")
            done = 0
            while not done and time.monotonic() < end:
                done, status = os.waitpid(child, os.WNOHANG)
                time.sleep(0.002)
            if not done:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                killed, left = killed + 1, left - 1
                continue
            assert os.waitstatus_to_exitcode(status) == 0
            first, second = contents(alone), contents(out)
            assert first.keys() == second.keys(), first.keys() ^ second.keys()
            different = [name for name in first if first[name] != second[name]]
            assert not different, different
            if not left:
                break
            # faster than the one that was left alone, on a machine with other work: once more
            seconds = time.monotonic() - begin
            shutil.rmtree(out)
    return killed


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        number = int(sys.argv[1]) if len(sys.argv) > 1 else 3
        print(main(Path(place), number), "kills, no file different")
