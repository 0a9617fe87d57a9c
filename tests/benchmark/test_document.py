import json
from pathlib import Path

import pytest
from benchmark_records import operator_row, record, row
from PIL import Image

from spanetv2.benchmark.document import BEGIN, END, made_part, read_record, write_page
from spanetv2.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def save(folder, name, content):
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def results(tmp_path):
    peer = [0.2, 0.4]
    networks = record(
        [row("spanetv2_s18_pure", [0.1, 0.2], reference=peer), row("convformer_s18", peer)]
    )
    operators = record(
        [operator_row("local", [1.0])],
        kind="operators",
        rates={"float32": {"multiply_adds": 5e11, "bytes": 2e10}},
        left_out=[{"model": "attention", "stage": 1, "reason": "too narrow"}] * 2,
    )
    return [save(tmp_path, "nets", networks), save(tmp_path, "ops", operators)]


def test_write_page_makes_a_page_with_everything(results, tmp_path):
    out = tmp_path / "docs" / "performance.md"
    written = write_page(results, out)
    images = [out.parent / "images" / f"performance_{name}.png" for name in ("nets", "ops")]
    assert written == [out, *images]
    for picture in images:
        with Image.open(picture) as drawn:
            assert min(drawn.size) > 200
    text = out.read_text(encoding="utf-8")
    assert "| spanetv2_s18_pure | 2.5 | 150.0 | 53.3 | 2.00 |" in text
    assert "S18 pure / convformer_s18 | >= 1.00 | 2.00 | reached |" in text
    assert "](images/performance_nets.png)" in text
    assert "1.00 TFLOP/s in matrix products, 20.0 GB/s in copying" in text
    assert text.count("attention at stage 1 (too narrow)") == 1
    assert "torch 2.11, timm 1.0 at commit `abc`" in text
    assert "spanetv2 benchmark --rounds 3" in text


def test_write_page_leaves_what_people_wrote(results, tmp_path):
    out = tmp_path / "page.md"
    out.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", encoding="utf-8")
    write_page(results, out)
    first = out.read_text(encoding="utf-8")
    assert first.startswith(f"Before.\n\n{BEGIN}\n")
    assert first.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in first
    write_page(results, out)
    assert out.read_text(encoding="utf-8") == first


def test_write_page_refuses_a_page_without_a_place(results, tmp_path):
    out = tmp_path / "page.md"
    out.write_text("By hand.\n", encoding="utf-8")
    with pytest.raises(UserError, match="no place for results"):
        write_page(results, out)
    assert out.read_text(encoding="utf-8") == "By hand.\n"


def test_write_page_refuses_two_results_of_one_name(results, tmp_path):
    (tmp_path / "other").mkdir()
    again = save(tmp_path / "other", "nets", record([]))
    with pytest.raises(UserError, match="same name"):
        write_page([results[0], again], tmp_path / "page.md")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[1]", "not a result"), ('{"kind": "other"}', "not a result")],
)
def test_read_record_refuses_other_files(content, message, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_record(path)
    with pytest.raises(UserError, match="cannot read"):
        read_record(tmp_path / "nothing.json")


def test_the_page_in_docs_is_made_of_the_results_in_benchmarks():
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    kept = [path for path in results if "kind" in json.loads(path.read_text(encoding="utf-8"))]
    page = ROOT / "docs" / "performance.md"
    text = page.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    made = text.partition(BEGIN)[2].partition(END)[0]
    if not kept:
        assert not made.strip()
        return
    records = {path: read_record(path) for path in kept}
    assert made == f"\n\n{made_part(records, page)}\n"
    for path in kept:
        assert (ROOT / "docs" / "images" / f"performance_{path.stem}.png").is_file()
