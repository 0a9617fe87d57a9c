"""The page on performance: goals above results, as a command and as committed."""

import json
import re
import subprocess
import sys

from benchmark_records import record, row

from spanetv2.benchmark.document import END, made_part, read_record
from studies.performance.page import BEGIN, PAGE, RESULTS, ROOT, goals


def test_the_command_writes_goals_and_results(tmp_path):
    rows = [row("spanetv2_s18_pure", [0.1, 0.2]), row("convformer_s18", [0.2, 0.4])]
    results, out = tmp_path / "nets.json", tmp_path / "page.md"
    results.write_text(json.dumps(record(rows)), encoding="utf-8")
    command = [sys.executable, "-m", "studies.performance", str(results), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"wrote {out}"
    text = out.read_text(encoding="utf-8")
    assert "S18 pure / convformer_s18 | >= 1.00 | 2.00 | reached |" in text
    headings = re.findall("^## .*", text, re.MULTILINE)
    assert headings[0] == "## Goals"
    assert headings[-1] == "## A Processor: networks (nets)"
    assert [heading.split(" (")[0] for heading in headings[1:-1]] == [
        "## CPUs side by side",
        "## bfloat16 by processor",
        "## Where exported networks spend their time",
        "## Accuracy in int8",
    ]
    results.write_text("{", encoding="utf-8")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*not JSON.*\n", done.stderr)
    assert out.read_text(encoding="utf-8") == text


def test_the_page_in_docs_is_made_of_the_results_in_benchmarks():
    results = sorted(RESULTS.glob("*.json"))
    kept = [path for path in results if "kind" in json.loads(path.read_text(encoding="utf-8"))]
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    made = text.partition(BEGIN)[2].partition(END)[0]
    if not kept:
        assert not made.strip()
        return
    records = {path: read_record(path) for path in kept}
    assert made == f"\n\n{made_part(records, PAGE, goals)}\n"
    for path in kept:
        assert (PAGE.parent / "images" / f"performance_{path.stem}.png").is_file()
