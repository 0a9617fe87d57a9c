"""Every Triton kernel, compiled for GPUs that are not here, keeps to what makes it fast there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import spanetv2.ops

pytest.importorskip("triton", reason="Triton does not come with PyTorch here")

PROGRAM = Path(__file__).parents[1] / "support" / "compile_report.py"
OPERATORS = sorted(
    {path.parent.name for path in Path(spanetv2.ops.__path__[0]).glob("*/*kernels*.py")}
)
"""Folders of operators that have modules of kernels."""
SPILLED = {80: 0, 89: 16, 90: 0}
"""Bytes that a program may spill, by compute capability."""
SHARED = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024}
"""Bytes of shared memory that a program can have, by compute capability."""


@pytest.fixture(scope="module", params=OPERATORS)
def compiled(request: pytest.FixtureRequest) -> tuple[list[str], list[dict]]:
    # In a process of its own, as the tests here run kernels in Triton's interpreter.
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, PROGRAM, request.param], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, *rest = (json.loads(line) for line in done.stdout.splitlines())
    return first["kernels"], rest


@pytest.mark.timeout(300)
def test_every_kernel_has_a_report(compiled):
    kernels, reports = compiled
    assert kernels
    for architecture in SPILLED:
        reported = {r["kernel"] for r in reports if r["architecture"] == architecture}
        assert reported == set(kernels)


@pytest.mark.timeout(300)
def test_kernels_fit_the_cards_and_use_their_tensor_cores(compiled):
    _, reports = compiled
    for report in reports:
        architecture = report["architecture"]
        assert report["spilled"] <= SPILLED[architecture], report
        assert report["shared"] <= SHARED[architecture], report
        assert report["products"] >= report["products_written"], report
        assert report["products_on_tensor_cores"] == report["products"], report
