"""The page in a browser, opened from a disk with the network switched off."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spanetv2.explore.switches import switch_off

MASKS = (
    "low:0.125",
    "high:0.05;brush:2:3:0.9,2.12",
    "band:0.02:0.3;wedge:30:80;invert",
)
IMAGES = ("Sandal", "Coat", "flower")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_page_gives_the_logits_of_pytorch(lab: Any, prepared: Any) -> None:
    for image in IMAGES:
        for mask in ("", *MASKS):
            lab.set(image=image, mask=mask)
            for number in range(2):
                expected = prepared.logits(number, image, mask)
                np.testing.assert_allclose(lab.logits(number), expected, atol=1e-3, rtol=0)
                assert np.abs(expected).max() > 0


def test_an_address_is_followed_though_an_answer_comes_between(lab: Any) -> None:
    lab.set(image="Coat")
    lab.tab.evaluate(
        """text => {
            const before = location.hash;
            location.hash = text;
            history.replaceState(null, "", before);  // as an answer to the state before writes it
        }""",
        "image=Coat&mask=low:0.2",
    )
    lab.wait(image="Coat", mask="low:0.2")


def test_masks_change_the_answer(prepared: Any) -> None:
    whole = prepared.logits(0, "Coat", "")
    for mask in MASKS:
        assert np.abs(prepared.logits(0, "Coat", mask) - whole).max() > 0.1


def test_brush_paints_and_undo_takes_it_back(lab: Any, prepared: Any) -> None:
    lab.set(image="Coat")
    before = lab.logits()
    lab.tab.click("[data-tool=brush]")
    lab.tab.mouse.move(*lab.point(-2, 4))
    lab.tab.mouse.down()
    lab.tab.mouse.move(*lab.point(6, 10), steps=4)
    lab.tab.mouse.up()
    lab.tab.wait_for_function("location.hash.includes('brush')")
    painted = lab.state["mask"]
    lab.wait(mask=painted)
    assert re.fullmatch(r"brush:0:\d+:-2\.4(,-?\d+\.\d+)*", painted)
    assert painted.endswith("6.10")
    np.testing.assert_allclose(lab.logits(), prepared.logits(0, "Coat", painted), atol=1e-3)
    assert np.abs(lab.logits() - before).max() > 1e-2
    lab.tab.click("#undo")
    lab.wait(mask="")
    np.testing.assert_allclose(lab.logits(), before, atol=1e-6)


def test_eraser_brings_back_what_the_brush_took(lab: Any) -> None:
    lab.set(image="Coat", mask="low:0.1")
    lab.tab.click("[data-tool=eraser]")
    lab.tab.mouse.click(*lab.point(0, 40))
    lab.tab.wait_for_function("location.hash.includes('brush')")
    assert lab.state["mask"].startswith("low:0.1;brush:1:")


def test_sliders_and_buttons_change_one_step(lab: Any, prepared: Any) -> None:
    lab.set(image="Bag")
    lab.tab.click("[data-tool=low]")
    slider = lab.tab.locator("[data-slider=radius]")
    slider.fill("0.5")
    slider.fill("0.25")
    lab.wait(mask="low:0.25")
    lab.tab.click("#invert")
    lab.wait(mask="low:0.25;invert")
    np.testing.assert_allclose(
        lab.logits(), prepared.logits(0, "Bag", "low:0.25;invert"), atol=1e-3
    )
    lab.tab.select_option("#preset", "high:0.125")
    lab.wait(mask="high:0.125")
    lab.tab.keyboard.press("Control+z")
    lab.wait(mask="low:0.25;invert")
    lab.tab.click("#reset")
    lab.wait(mask="")


def test_keyboard_moves_a_cross_and_paints(lab: Any) -> None:
    lab.set(image="Bag")
    lab.tab.click("[data-tool=brush]")
    lab.tab.focus("#spectrum")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "ArrowUp"):
        lab.tab.keyboard.press(key)
    assert lab.tab.get_attribute("#spectrum", "data-cross") == "7.2"
    lab.tab.keyboard.press("Space")
    lab.tab.wait_for_function("location.hash.includes('brush')")
    assert lab.state["mask"].endswith(":7.2")


def test_every_control_has_a_name(lab: Any) -> None:
    nameless = lab.tab.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea, canvas')]
        .filter(e => !e.closest('[hidden], dialog') && e.getAttribute('aria-hidden') !== 'true')
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length
            || e.querySelector('img[alt]'))).map(e => e.outerHTML)"""
    )
    assert nameless == []
    assert lab.tab.get_attribute("html", "lang") == "en"


def test_sweep_draws_what_pytorch_computes(lab: Any, prepared: Any) -> None:
    lab.set(image="Sneaker")
    lab.tab.click("#sweep")
    lab.tab.wait_for_selector("#sweep-charts[data-state=done]")
    found = json.loads(lab.tab.get_attribute("#sweep-charts [data-model='0']", "data-values"))
    assert found["radii"][0] == 0
    assert 0.125 in found["radii"]
    for kind in ("low", "high"):
        at = found["radii"].index(0.125)
        expected = softmax(prepared.logits(0, "Sneaker", f"{kind}:0.125"))
        np.testing.assert_allclose(found[kind][at], expected, atol=1e-3)
    assert lab.tab.locator("#sweep-charts svg[role=img]").count() == 4


def test_band_that_decides_changes_the_answer(lab: Any, prepared: Any) -> None:
    lab.set(image="Coat")
    lab.tab.click("#band")
    lab.tab.wait_for_selector("#band-results[data-state=done]")
    found = json.loads(lab.tab.get_attribute("#band-results [data-model='0']", "data-band"))
    mask = f"band:{found['inner']:g}:{found['outer']:g};invert"
    assert prepared.logits(0, "Coat", "").argmax() == found["was"] == 4
    assert prepared.logits(0, "Coat", mask).argmax() == found["is"] != 4
    lab.tab.click("#band-results [data-model='0'] button")
    lab.wait(mask=mask)
    assert lab.logits().argmax() == found["is"]


def test_address_brings_everything_back(
    lab: Any, open_page: Callable[..., Any], page_file: Path
) -> None:
    lab.set(image="Shirt", mask="wedge:90:60;brush:0.5:2:3.4,5.6")
    lab.tab.locator("[data-block='2']").click()
    lab.tab.locator("[data-switch='0.2.h.1']").uncheck()
    lab.tab.select_option("#theory-family", "attention")
    lab.wait(off="0.2.h.1")
    lab.tab.wait_for_function("location.hash.includes('theory-family=attention')")
    address = lab.tab.evaluate("location.href")
    again = open_page(address)
    again.wait(off="0.2.h.1", mask="wedge:90:60;brush:0.5:2:3.4,5.6", image="Shirt")
    for number in range(2):
        np.testing.assert_allclose(again.logits(number), lab.logits(number), atol=1e-6)
    assert again.tab.get_attribute("[data-block='2']", "aria-pressed") == "true"
    assert not again.tab.locator("[data-switch='0.2.h.1']").is_checked()
    assert again.tab.input_value("#theory-family") == "attention"
    assert again.tab.evaluate("location.href") == address
    lab.tab.locator("[data-switch='0.2.h.1']").check()


def test_heads_and_filters_can_be_switched_off(lab: Any, prepared: Any) -> None:
    lab.set(image="Dress")
    before = lab.logits()
    lab.tab.locator("[data-switch='0.0.h.3']").uncheck()
    lab.tab.locator("[data-switch='0.0.f.0']").uncheck()
    lab.wait(off="0.0.f.0,0.0.h.3")
    off = {"stages.0.blocks.0.token_mixer": ["head 4", "filter 1"]}
    model = switch_off(prepared.subjects[0].model, (28, 28), off)
    expected = prepared.logits(0, "Dress", "", model)
    np.testing.assert_allclose(lab.logits(), expected, atol=1e-3)
    assert np.abs(expected - before).max() > 1e-2
    lab.tab.click("#all-on")
    lab.wait(off="")
    np.testing.assert_allclose(lab.logits(), before, atol=1e-6)


def test_blocks_show_their_gain_and_what_they_put_out_now(lab: Any) -> None:
    lab.set(image="Dress", mask="low:0.05")
    lab.tab.wait_for_selector("#change-map:not([hidden])")
    assert lab.tab.locator("#strip button").count() == 9
    assert lab.tab.locator("#heads tr").count() == 4
    assert "dB" in lab.tab.text_content("#change-note")


@pytest.mark.parametrize("switched", [False, True])
def test_python_lines_compute_the_same(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switched: bool
) -> None:
    lab.set(image="Pullover", mask="low:0.1;brush:1.5:4:0.3")
    if switched:
        lab.tab.locator("[data-switch='0.0.h.2']").uncheck()
        lab.wait(off="0.0.h.2")
    with lab.tab.expect_download() as download:
        lab.tab.click("#save")
    download.value.save_as(tmp_path / download.value.suggested_filename)
    lab.tab.click("#copy")
    text = lab.tab.input_value("#python-text")
    assert ("switch_off" in text) is switched
    monkeypatch.chdir(tmp_path)
    lines: dict[str, Any] = {}
    exec(text, lines)
    np.testing.assert_allclose(lab.logits(), lines["logits"].numpy(), atol=1e-3)
    lab.tab.click("#python button:text('Close')")
    lab.tab.click("#all-on")


def test_own_image_is_read_as_the_package_reads_it(lab: Any, prepared: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (90, 130, 4), dtype=np.uint8)
    colours[..., 3] = 255
    colours[:40, :50, 3] = 0  # transparent: white
    path = tmp_path / "own.png"
    Image.fromarray(colours).save(path)
    lab.set(image="Bag")
    lab.tab.set_input_files("#file", path)
    lab.wait(image="own image")
    from spanetv2.data.images import read_image
    from spanetv2.explore.subject import Sample

    seen = type(prepared)(**vars(prepared))
    seen.samples = [Sample(name="own", image=read_image(path))]
    for number in range(2):
        expected = seen.logits(number, "own", "")
        np.testing.assert_allclose(lab.logits(number), expected, atol=1e-3)


def test_file_that_is_no_image_is_said_on_the_page(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no picture")
    lab.tab.set_input_files("#file", path)
    lab.tab.wait_for_selector("#fault:not([hidden])")
    assert "notes.txt is no image" in lab.tab.text_content("#fault")


def test_missing_webassembly_is_said_on_the_page(
    open_page: Callable[..., Any], page_file: Path
) -> None:
    lab = open_page(
        page_file.as_uri(),
        script="Object.defineProperty(globalThis, 'WebAssembly', { value: undefined })",
        ready=False,
    )
    lab.tab.wait_for_selector("#status-0.fault")
    assert "WebAssembly" in lab.tab.text_content("#status-0")
