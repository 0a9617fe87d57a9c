import json

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from spanetv2.benchmark.rates import Rates
from spanetv2.cli.benchmark import benchmark
from spanetv2.errors import UserError


def run(*arguments):
    app = typer.Typer()
    app.command()(benchmark)
    return CliRunner().invoke(app, [*map(str, arguments)])


SMALL = ("--size", 32, "--batch", 1, "--rounds", 1, "--warmup", 0, "--device", "cpu")


def test_benchmark_measures_shows_draws_and_makes_the_page(tmp_path):
    out, plot, markdown = (tmp_path / name for name in ("r.json", "r.png", "r.md"))
    result = run(
        *("pico_pure", "pico_pure@reference", "--reference", "pico_pure@reference"),
        *("--mode", "eager", "--pass", "inference", *SMALL),
        *("--out", out, "--plot", plot, "--markdown", markdown),
    )
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text(encoding="utf-8"))
    assert [row["model"] for row in record["cells"]] == [
        "spanetv2_pico_pure",
        "spanetv2_pico_pure@reference",
    ]
    speed = f"{record['cells'][0]['images_per_second']:.1f}"
    (line,) = [
        line for line in result.stdout.splitlines() if line.startswith("spanetv2_pico_pure ")
    ]
    assert speed in line.split()
    assert f" {speed} " in markdown.read_text(encoding="utf-8")
    with Image.open(plot) as drawn:
        assert min(drawn.size) > 100

    page = tmp_path / "docs" / "performance.md"
    result = run("--table", out, "--out", page)
    assert result.exit_code == 0, result.output
    assert f"wrote {page}" in result.stdout
    assert f" {speed} " in page.read_text(encoding="utf-8")
    assert (page.parent / "images" / "performance_r.png").is_file()


def test_benchmark_measures_operators(tmp_path, monkeypatch):
    monkeypatch.setattr("spanetv2.benchmark.operators._SHORTEST", 0.0)
    monkeypatch.setattr(
        "spanetv2.benchmark.run.measure_rates", lambda dtype, device: Rates(1e12, 1e10)
    )
    out = tmp_path / "r.json"
    result = run(
        *("local", "local@fused", "--operators", "--variant", "pico_pure"),
        *("--mode", "eager", "--pass", "inference", *SMALL, "--out", out),
    )
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text(encoding="utf-8"))
    assert {(row["model"], row["stage"]) for row in record["cells"]} == {
        ("local", stage) for stage in (1, 2, 3, 4)
    }
    assert "left out: local@fused at stage 1, 2, 3, 4 (got local@fused on cpu, " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pico_pur"], "did you mean pico_pure"),
        (["--mode", "fast"], "expected some of eager, compiled"),
        (["pico_pure", "--reference", "resnet18"], "expected one of those measured"),
        (["--out", "result.csv"], "expected a name that ends in .json"),
        (["--plot", "result.pdf"], "expected a name that ends in .png"),
        (["--operators", "--memory"], "expected it with networks"),
        (["--operators", "pool"], "got operators"),
        (["--table"], "without result files or --out"),
        (["--table", "nothing.json", "--out", "page.md"], "cannot read nothing.json (no such file"),
    ],
)
def test_benchmark_names_what_is_wrong(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, "--device", "cpu")
    assert isinstance(result.exception, UserError), result.output
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []
