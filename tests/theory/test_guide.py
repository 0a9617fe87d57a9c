"""The guide's snippets run and print what the guide says."""

import doctest
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "spectral_analysis.md"


def test_guide_snippets_run_as_printed():
    result = doctest.testfile(str(GUIDE), module_relative=False, encoding="utf-8")
    assert result.attempted > 40
    assert result.failed == 0
