"""Configurations are data: what a file could do beside saying values is refused by one line."""

import re
from pathlib import Path

import pytest

from spanetv2.api import resolve_training
from spanetv2.cli.train import main
from spanetv2.errors import ConfigError, UserError
from spanetv2.plain_yaml import EndlessYamlError, load_yaml


def bomb(key: str, repeat: str) -> str:
    """Ten levels, each ten times the one before: ten billion values."""
    lines = [f"    {key}0: &a0 {repeat.format('x')}"]
    lines += [f"    {key}{i}: &a{i} {repeat.format(f'*a{i - 1}')}" for i in range(1, 10)]
    return "optimizer:\n  kwargs:\n" + "\n".join(lines)


def listed(part: str) -> str:
    return "[" + ",".join([part] * 10) + "]"


LISTS = bomb("a", "[" + ",".join(["{0}"] * 10) + "]")
MERGES = "optimizer:\n  kwargs:\n    a0: &a0 {x: 1}\n" + "\n".join(
    f"    a{i}: &a{i} {{<<: {listed(f'*a{i - 1}')}}}" for i in range(1, 10)
)

IN_TEXT = "optimizer: {kwargs: {a: '" + "[&a0 " + listed("x") + ", "
IN_TEXT += ", ".join(f"&a{i} {listed(f'*a{i - 1}')}" for i in range(1, 10)) + "]'}}"

FILES: dict[str, tuple[bytes, str]] = {
    "lists that stand for billions": (LISTS.encode(), "stands for more than 200,000 values"),
    "merged mappings": (MERGES.encode(), "stands for more than 200,000 values"),
    "billions in a text": (IN_TEXT.encode(), "stands for more than 200,000 values"),
    "a list that contains itself": (b"optimizer: {kwargs: &a [*a]}", "contains itself"),
    "two that contain each other": (b"optimizer: {kwargs: &a {b: &b [*a, *b]}}", "contains itself"),
    "deep lists": (b"seed: " + b"[" * 200 + b"]" * 200, "inside more than 40 others"),
    "deeper lists": (b"seed: " + b"[" * 100_000, "column"),
    "an unknown tag": (b"seed: !mine 1", "line 1, column 7: the tag !mine, expected plain"),
    "a class": (b"seed: !!python/name:os.system", "the tag !!python/name:os.system, expected"),
    "an object": (b"seed: !!python/object/apply:os.system [x]", "the tag !!python/object/apply"),
    "a key twice": (b"seed: 1\noptimizer: {lr: 1}\nseed: 2", "line 3, column 1: the key 'seed' is"),
    "Latin-1": ("out: Ger\xe4t".encode("latin-1"), "not UTF-8 text: line 1 has the byte 0xe4"),
    "bytes": (bytes(range(256)), "not UTF-8 text"),
    "a null byte": (b"seed: \0", "no YAML"),
    "half UTF-16": ("seed: 1".encode("utf-16")[:-1], "not UTF-8 text"),
    "two documents": (b"seed: 1\n---\nseed: 2", "no YAML: line 2"),
    "no end": (b"optimizer: {lr: 1", "no YAML: line"),
    "a list": (b"- 1\n- 2", "expected a YAML file of groups"),
    "a text": (b"hello", "expected a YAML file of groups"),
    "keys that are numbers": (b"1: 2", "expected a YAML file of groups"),
    "a number that is none": (b"seed: !!int abc", "a value that cannot be read"),
    "a number without end": (b"seed: " + b"9" * 5000, "a number of 5,000 digits"),
    "a source of weights": (b"model: {kwargs: {pretrained_cfg: {url: x}}}", "'pretrained_cfg'"),
    "null for a group": (b"optimizer: null", "optimizer: got null, expected a mapping of values"),
    "a number for a group": (b"mixing: 3", "mixing: got 3, expected a mapping of values"),
    "a list for options": (b"trainer: [1]", "trainer: got [1], expected a mapping of values"),
    "a dotted source": (b"model.kwargs.checkpoint_path: /etc/passwd", "'checkpoint_path'"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_not_plain_is_refused_by_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, message = FILES[kind]
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    assert main(["classification", "--config", "digits", "--config", str(path)]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(path) in line
    assert message in line
    assert len(line) < 700
    assert not re.search(r"[a-z](Error|Exception)\b", line)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_that_a_file_names_are_read(encoding: str, tmp_path: Path) -> None:
    text = "seed: 7\ndata: {root: Gerät}"
    start = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "mine.yaml").write_bytes((start + text).encode(encoding))
    config = resolve_training("classification", ["digits", tmp_path / "mine.yaml"]).config
    assert (config.seed, config.data.root) == (7, "Gerät")


def test_anchors_and_merges_that_save_typing_are_read() -> None:
    text = "base: &b {lr: 1e-3, kwargs: [1, 2]}\nmine: {<<: *b, lr: 2}\nagain: *b"
    base = {"lr": 1e-3, "kwargs": [1, 2]}
    assert load_yaml(text) == {"base": base, "mine": {**base, "lr": 2}, "again": base}


def test_a_typed_option_is_held_against_the_same_limits() -> None:
    text = (
        "[&a0 "
        + listed("x")
        + ", "
        + ", ".join(f"&a{i} {listed(f'*a{i - 1}')}" for i in range(1, 10))
    )
    with pytest.raises(ConfigError, match="stands for more than"):
        resolve_training("classification", ["digits", [f"--optimizer.kwargs={text}]"]])


def test_long_chains_of_anchors_are_refused_and_long_lists_are_not() -> None:
    chain = "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 3000))
    with pytest.raises(EndlessYamlError, match="inside more than 40 others"):
        load_yaml(chain)
    names = [f"class {i}" for i in range(22_000)]
    assert load_yaml("classes: [" + ", ".join(names) + "]") == {"classes": names}


def test_a_device_is_no_configuration(tmp_path: Path) -> None:
    for path in ("/dev/zero", str(tmp_path)):
        with pytest.raises(UserError, match="neither a file nor a shipped recipe"):
            resolve_training("classification", path)
