"""The page on performance: goals above results, as a command and as committed."""

import json
import re
import subprocess
import sys

from benchmark_records import record, row

from spanetv2.benchmark.document import END, made_part, read_record
from studies.performance.page import BEGIN, PAGE, RESULTS, ROOT, opening, split_results


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
    kept, others = split_results(sorted(RESULTS.glob("*.json")))
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    made = text.partition(BEGIN)[2].partition(END)[0]
    if not kept:
        assert not made.strip()
        return
    records = {path: read_record(path) for path in kept}
    assert made == f"\n\n{made_part(records, PAGE, opening(others))}\n"
    for path in kept:
        assert (PAGE.parent / "images" / f"performance_{path.stem}.png").is_file()


def test_parity_and_features_are_tables_and_goals():
    errors = [("fused", "float32", 1e-6), ("fused", "bfloat16", 0.01), ("auto", "bfloat16", 0.03)]
    parity = record([], kind="parity", device="cuda")
    parity["rows"] = [
        {"what": "logits", "implementation": name, "dtype": dtype, "error": error}
        for name, dtype, error in errors
    ]
    parity["cells"] = [
        {"model": "worst", "work": "", "mode": "", "dtype": dtype, "error": error}
        for dtype, error in (("float32", 1e-6), ("bfloat16", 0.03))
    ]
    models = {"spanetv2_s18_pure@fused": [0.1, 0.2], "convformer_s18": [0.09, 0.18]}
    rows = [
        row(name, seconds, reference=[0.09, 0.18], dtype="bfloat16", memory_mib=1.0)
        for name, seconds in models.items()
    ]
    features = record(rows, kind="features", device="cuda")
    features["settings"] |= {"size": [800, 1280], "dtype": "bfloat16"}
    text = opening([parity, features])([])
    assert "| auto | nan | 3.0e-02 |" in text
    assert "| fused | 1.0e-06 | 1.0e-02 |" in text
    assert "golden value | <= 1.0e-04 | 1.0e-06 | reached |" in text
    assert "worst logits | <= 2.0e-02 | 3.0e-02 | missed |" in text
    assert "## A GPU: maps of four stages, 800 x 1280, bfloat16 (commit abc)" in text
    wanted = "compiled, inference, maps of 800 x 1280: S18 pure / convformer_s18 | >= 0.80 | 0.90"
    assert wanted in text
