"""The guide's snippets run as they stand, one after the other."""

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "model_analysis.md"


def test_the_guides_snippets_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pytorch_grad_cam")
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 6
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, str(GUIDE), "exec"), names)
    printed = capsys.readouterr().out
    assert printed.count("centroid") == 9
    assert "no accuracy under filtered input: the images have no labels" in printed
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
