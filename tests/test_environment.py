import io
import json
import subprocess
import sys
from pathlib import Path

from spanetv2 import environment
from spanetv2.environment import describe_environment


def test_describe_environment_is_json_and_names_the_versions():
    found = describe_environment()
    assert json.loads(json.dumps(found)) == found
    assert found["packages"]["torch"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["hardware"]["cores"] >= 1


def test_describe_environment_names_the_commit_of_a_checkout(monkeypatch, tmp_path):
    package = tmp_path / "environment.py"
    package.write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "environment.py"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    monkeypatch.setattr(environment, "__file__", str(package))
    assert describe_environment()["commit"] == head.stdout.strip()
    package.write_text("changed")
    assert describe_environment()["commit"] == f"{head.stdout.strip()} with uncommitted changes"


def test_describe_environment_has_no_commit_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    assert describe_environment()["commit"] is None


def test_describe_environment_reads_the_processor(monkeypatch):
    text = "model name\t: A Processor\nflags\t\t: fpu avx2 avx512_bf16\n"
    monkeypatch.setattr(Path, "open", lambda self, **_: io.StringIO(text))
    hardware = describe_environment()["hardware"]
    assert hardware["processor"] == "A Processor"
    assert hardware["instructions"] == ["avx2", "avx512_bf16"]
