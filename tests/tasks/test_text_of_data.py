"""Text beside images is read by one function, which names what is not UTF-8."""

from pathlib import Path

import pytest
from PIL import Image

from spanetv2.cli.main import make_app
from spanetv2.errors import UserError

DATA = sorted(Path("src/spanetv2/tasks").glob("*/data/*.py"))


def test_no_loader_reads_text_by_itself() -> None:
    assert len(DATA) > 40
    assert [str(path) for path in DATA if ".read_text(" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("spoiled", "command"),
    [
        ("labels/0.txt", ["convert-data", "data", "out", "--format", "yolo"]),
        ("classes.txt", ["convert-data", "data", "out", "--format", "yolo"]),
        ("data.yaml", ["convert-data", "data", "out", "--format", "yolo"]),
        ("ImageSets/Main/train.txt", ["convert-data", "data", "out", "--format", "voc"]),
        ("classes.txt", ["check-data", "segmentation", "data"]),
        ("labels.csv", ["check-data", "classification", "data", "--labels", "data/labels.csv"]),
    ],
)
def test_text_that_is_not_utf_8_is_named_by_line_and_byte(
    spoiled: str,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("data")
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "images" / "0.png")
    path = root / spoiled
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("# 1\n# Gerät\n".encode("latin-1"))
    (root / "Annotations").mkdir()
    (root / "Annotations" / "0.xml").write_text("<annotation/>", encoding="utf-8")
    if spoiled.startswith("labels/"):
        (root / "classes.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(UserError) as raised:
        make_app()(command, standalone_mode=False)
    told = f"cannot read {path} (not UTF-8 text: line 2 has the byte 0xe4), expected "
    assert told in str(raised.value)
