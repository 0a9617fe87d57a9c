"""A process that runs one command of ``spanetv2`` after the other, and tells what each did.

Reads jobs from standard input, a line of JSON each: ``argv``, ``folder`` (where it runs), ``out``
(where its output goes). Answers each by a line: ``status``, ``reached`` (accesses to the network,
to programs, and to files that are neither the job's nor the program's). Started by ``Worker``.
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Outcome", "Worker"]

LIMIT = 60  # seconds a command may take
_MEMORY = 16 * 2**30  # of addresses
_FIRST = (
    "train classification --config digits --print-config",
    "predict spanetv2_pico_pure.scenes_mask_rcnn none.png --out none",
    "check-data detection --annotations none.json --split none",
    "evaluate spanetv2_pico_pure.scenes_semantic_fpn --data none",
)
_REACHING = ("socket.connect", "socket.getaddrinfo", "urllib.Request", "subprocess.Popen")
_REACHING += ("os.system", "os.exec", "os.posix_spawn")
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib", "/opt/")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command did."""

    status: int | None
    """exit status; None where it hung or took the process with it"""
    out: str
    err: str
    seconds: float
    reached: list[str]
    """what it touched that is none of its business"""
    end: str = ""
    """"hang", or the signal that ended the process"""


class Worker:
    """The process, started anew where a command hung or crashed.

    Args:
        folder: for the outputs of commands.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, argv: list[str], folder: Path) -> Outcome:
        """Run a command in a folder."""
        if self._process is None:
            self._start()
        return self._run(argv, folder, LIMIT)

    def _run(self, argv: list[str], folder: Path, limit: float | None) -> Outcome:
        out, err = self.folder / "out", self.folder / "err"
        job = {"argv": argv, "folder": str(folder), "out": str(out), "err": str(err)}
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        ready, seconds = False, 0.0
        while not ready and (limit is None or seconds < limit):  # a time in which this process runs
            start = time.monotonic()
            ready = bool(select.select([process.stdout], [], [], 1)[0])
            seconds += min(time.monotonic() - start, 1.0)
        answer = process.stdout.readline() if ready else b""
        texts = [p.read_text("utf-8", "backslashreplace") for p in (out, err)]
        said = json.loads(answer) if answer else {"status": None, "reached": []}
        end = ""
        if not answer:
            self.close()
            code = process.returncode
            end = "hang" if not ready else f"status {code}"
            end = signal.Signals(-code).name if ready and code and code < 0 else end
        return Outcome(**said, out=texts[0], err=texts[1], seconds=seconds, end=end)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> None:
        for name in ("out", "err"):
            (self.folder / name).touch()
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        for words in _FIRST:  # imports all that commands import, which is no part of their time
            self._run(words.split(), self.folder, None)


class _Watch:
    """Collects what a command reaches for, as Python's audit events tell."""

    def __init__(self) -> None:
        import spanetv2

        paths = sysconfig.get_paths()
        own = (*(paths[k] for k in ("stdlib", "purelib", "platlib")), sys.base_prefix, sys.prefix)
        self.own = (*own, str(Path(spanetv2.__file__).parents[2]), tempfile.gettempdir(), *_SYSTEM)
        self.folder = ""
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder:
            return
        if event == "socket.connect" and arguments[0].family == socket.AF_UNIX:
            return  # loading processes hand files to each other
        if event == "subprocess.Popen" and os.path.basename(str(arguments[0])) == "git":  # noqa: PTH119
            return  # runs record the commit of the code
        if event in _REACHING:
            self.seen.append(f"{event} {str(arguments[0])[:200]}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100
            if not path.startswith((self.folder, *self.own)) or Path(path).name == "secret":
                self.seen.append(f"open {path}")


def _run(argv: list[str]) -> int:
    from spanetv2.cli.main import main

    sys.argv = ["spanetv2", *argv]
    try:
        main()
    except SystemExit as end:
        code = end.code
        if code is None or isinstance(code, int):
            return code or 0
        print(code, file=sys.stderr)
        return 1
    return 0


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    watch = _Watch()
    sys.addaudithook(watch)
    for line in sys.stdin:
        job = json.loads(line)
        os.chdir(job["folder"])
        # what C libraries print counts as well
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, number)
            os.close(handle)
        watch.folder, watch.seen = job["folder"], []
        try:
            status = _run(job["argv"])
        except BaseException:
            import traceback

            traceback.print_exc()
            status = 1
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        watch.folder = ""
        print(json.dumps({"status": status, "reached": watch.seen}), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
