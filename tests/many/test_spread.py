"""Processes for devices that cannot begin."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from spanetv2.many.spread import spread
from spanetv2.tasks.shard import Shard

spread(print, ["cpu"], Shard(1, 1), {}, print)
"""


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert 'under if __name__ == "__main__":' in last
    assert ended.stderr.count("Traceback") == 1
