"""Loads files in a process whose every access to the network and to files is watched.

``python access_probe.py FOLDER``: prints, as JSON, file name -> what was touched beside it. Started
by ``test_access.py``; a control in it touches something, to show that the watch sees it.
"""

import contextlib
import json
import socket
import sys
import sysconfig
from pathlib import Path

import spanetv2
from spanetv2.device import choose_device
from spanetv2.errors import UserError
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks import find_task
from spanetv2.tasks.prediction import PredictionSettings

_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "ctypes.dlopen")
_CODE = (".py", ".pyc", ".so", ".cfg")
_OWN = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))


class Watch:
    """Collects what is touched while a file is loaded."""

    def __init__(self) -> None:
        self.file: Path | None = None
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.file is None:
            return
        if event in (*_NETWORK, *_PROCESSES):
            self.seen.append(f"{event} {arguments[0]}")
        elif event == "open" and isinstance(path := arguments[0], str):
            code = path.endswith(_CODE) and path.startswith((*_OWN, str(_PACKAGE)))
            if not code and Path(path) != self.file:
                self.seen.append(f"open {path}")


_PACKAGE = Path(spanetv2.__file__).parent


def load(path: Path) -> None:
    """Read a file and make its network, as the commands do."""
    checkpoint = read_checkpoint(path)
    settings = PredictionSettings(device=choose_device("cpu"), batch_size=1, workers=0, options={})
    find_task(checkpoint.task).predictor(checkpoint, settings)


def main(folder: Path) -> dict[str, list[str]]:
    watch = Watch()
    sys.addaudithook(watch)
    for name in spanetv2.models.weights.shipped_weights():  # imports what loading needs
        load(Path(name))
    found: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        watch.file, watch.seen = path, []
        with contextlib.suppress(UserError):
            if path.name == "control.txt":
                path.with_name("secret").read_bytes()
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", 9), timeout=1).close()
            else:
                load(path)
        watch.file = None
        found[path.name] = watch.seen
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
