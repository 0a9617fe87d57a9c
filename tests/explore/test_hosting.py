"""The page served, in a folder, and with a runtime that it fetches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spanetv2.explore.assemble import write_page
from spanetv2.explore.runtime import FILES, Runtime


def write_runtime(runtime: Runtime, folder: Path, *, altered: bool = False) -> None:
    folder.mkdir()
    contents = [runtime.module, runtime.wasm]
    if altered:  # one byte of it, in a comment's place
        contents[0] = contents[0][:-1] + b" "
    for name, data in zip(FILES, contents, strict=True):
        (folder / name).write_bytes(data)


def test_served_page_fetches_what_has_the_right_hash(
    open_page: Callable[..., Any],
    serve: Callable[[Path], str],
    prepared: Any,
    runtime: Runtime,
    tmp_path: Path,
) -> None:
    write_runtime(runtime, tmp_path / "ort")
    root = serve(tmp_path)
    write_page(prepared.networks, prepared.samples, tmp_path / "lab", address=f"{root}ort/")
    assert {path.name for path in (tmp_path / "lab").iterdir()} == {
        "index.html",
        "pico.onnx",
        "other.onnx",
    }
    lab = open_page(f"{root}lab/index.html", offline=False)
    lab.set(image="Coat", mask="low:0.1")
    for number in range(2):
        expected = prepared.logits(number, "Coat", "low:0.1")
        np.testing.assert_allclose(lab.logits(number), expected, atol=1e-3)
    assert "http" not in lab.tab.evaluate(
        "performance.getEntriesByType('resource')"
        ".map(e => e.name).filter(n => !n.startsWith(location.origin) && !n.startsWith('blob:')"
        " && !n.startsWith('data:')).join(' ')"
    )


def test_altered_runtime_is_refused(
    open_page: Callable[..., Any],
    serve: Callable[[Path], str],
    prepared: Any,
    runtime: Runtime,
    tmp_path: Path,
) -> None:
    write_runtime(runtime, tmp_path / "ort", altered=True)
    root = serve(tmp_path)
    write_page(
        prepared.networks[:1], prepared.samples, tmp_path / "lab.html", address=f"{root}ort/"
    )
    lab = open_page(f"{root}lab.html", offline=False, ready=False)
    lab.tab.wait_for_selector("#fault:not([hidden])")
    assert "is not what this page expects" in lab.tab.text_content("#fault")
    assert lab.tab.get_attribute("#answer-0", "data-logits") is None


def test_folder_opened_from_a_disk_asks_for_its_networks(
    open_page: Callable[..., Any], prepared: Any, runtime: Runtime, tmp_path: Path
) -> None:
    page = write_page(prepared.networks, prepared.samples, tmp_path / "lab", embedded=runtime)
    lab = open_page(page.as_uri(), ready=False)
    lab.tab.wait_for_selector("#wanted [data-file='other.onnx']")
    (tmp_path / "wrong.onnx").write_bytes(b"x" * len(prepared.networks[0].onnx))
    lab.tab.set_input_files("#file", tmp_path / "wrong.onnx")
    lab.tab.wait_for_selector("#fault:not([hidden])")
    assert "none of the networks" in lab.tab.text_content("#fault")
    lab.tab.set_input_files("#file", [page.parent / "pico.onnx", page.parent / "other.onnx"])
    lab.tab.wait_for_selector("#wanted", state="hidden")
    lab.set(image="Coat", mask="high:0.1")
    expected = prepared.logits(1, "Coat", "high:0.1")
    np.testing.assert_allclose(lab.logits(1), expected, atol=1e-3)
