import json

import pytest
from benchmark_records import operator_row, record, row
from PIL import Image

from spanetv2.benchmark.document import BEGIN, END, read_record, write_page
from spanetv2.errors import UserError


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


def test_write_page_lets_others_open_and_sign_it(results, tmp_path):
    out = tmp_path / "page.md"
    write_page(results, out, begin="<!-- mine -->", opening=lambda all: f"{len(all)} records.\n")
    assert out.read_text(encoding="utf-8").startswith(
        "# Performance\n\n<!-- mine -->\n\n2 records.\n\n## "
    )
    with pytest.raises(UserError, match="no place for results, expected the lines <!-- results"):
        write_page(results, out)


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
