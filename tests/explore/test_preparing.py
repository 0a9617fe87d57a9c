"""Networks made ready for the page, masks in Python, and the command."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from spanetv2.analysis.filtered import DEFAULT_RADII, filter_images
from spanetv2.cli.main import make_app
from spanetv2.errors import UserError
from spanetv2.explore import assemble, runtime
from spanetv2.explore.assemble import module_sources, write_page
from spanetv2.explore.mask import crop_mask, draw_mask, filter_pixels
from spanetv2.explore.network import BrowserNetwork
from spanetv2.explore.runtime import find_runtime, integrity
from spanetv2.explore.shipped import choose_samples, fashion_samples
from spanetv2.explore.subject import Sample
from spanetv2.explore.switches import switch_off
from spanetv2.models import create_model
from spanetv2.tasks import find_task


def test_masks_filter_as_the_analysis_does() -> None:
    x_BCHW = torch.randn(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    fill = torch.tensor([0.3, -0.2, 0.1])
    for radius in DEFAULT_RADII:
        for band in ("low", "high"):
            mask = draw_mask(f"{band}:{radius / np.pi}", (12, 10))
            expected = filter_images(x_BCHW, radius, band, fill)
            found = filter_pixels(x_BCHW, mask, fill)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", ["wedge:20:50", "brush:0.5:2:3.4,-1.2", "band:0.1:0.6;invert"])
def test_masks_treat_opposite_waves_alike(steps: str) -> None:
    for height, width in itertools.product((9, 12), repeat=2):
        mask = draw_mask(steps, (height, width))
        odd = mask[1:, 1:] if height % 2 == width % 2 == 1 else mask[:: max(height, 1), :0]
        np.testing.assert_array_equal(odd, odd[::-1, ::-1])
        assert set(np.unique(mask)) <= {0, 0.5, 1}


def test_crop_keeps_cycles_per_image() -> None:
    mask = draw_mask("brush:0:0:3.-2", (20, 20))
    cropped = crop_mask(mask, (9, 8))
    assert cropped[3, -2] == cropped[-3, 2] == 0
    assert cropped.sum() == 9 * 8 - 2
    assert crop_mask(draw_mask("low:0.5", (8, 8)), (16, 16))[8, 8] == 0


@pytest.mark.parametrize("step", ["blur:1", "low", "low:x", "brush:0:1:2", "low:-1", "low:0.1:2"])
def test_wrong_step_is_refused(step: str) -> None:
    with pytest.raises(UserError, match="got the step"):
        draw_mask(step, (8, 8))


@pytest.fixture(scope="module")
def small() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("pico_hybrid", num_classes=5, img_size=32, stem_stride=2).eval()


def test_switches_do_what_they_say(small: Any) -> None:
    x_BCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    name = "stages.0.blocks.1.token_mixer"
    with torch.no_grad():
        whole = small(x_BCHW)
        torch.testing.assert_close(
            switch_off(small, (32, 32), {})(x_BCHW), whole, atol=1e-5, rtol=0
        )
        got = switch_off(small, (32, 32), {name: ["head 2", "filter 4"]})(x_BCHW)
        mixer = small.get_submodule(name)
        quarter = mixer.context.weight.shape[0] // 4
        conv = mixer.local_convs[1]
        kept = [p.clone() for p in (conv.weight, conv.bias, mixer.spectral.theta)]
        conv.weight.zero_()
        conv.bias.zero_()
        mixer.spectral.theta[3 * quarter :] = 40  # a gate of 1
        expected = small(x_BCHW)
        for parameter, value in zip(
            (conv.weight, conv.bias, mixer.spectral.theta), kept, strict=True
        ):
            parameter.copy_(value)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert (expected - whole).abs().max() > 1e-4


def test_unknown_switch_is_refused(small: Any) -> None:
    with pytest.raises(UserError, match=r"got 'head 5' of 'stages\.0\.blocks\.0"):
        switch_off(small, (32, 32), {"stages.0.blocks.0.token_mixer": ["head 5"]})


def test_exported_network_gives_logits_and_maps(prepared: Any) -> None:
    for number, (subject, network) in enumerate(
        zip(prepared.subjects, prepared.networks, strict=True)
    ):
        session = onnxruntime.InferenceSession(network.onnx)
        size = subject.preprocessing.input_size
        x_BCHW = torch.randn(1, *size, generator=torch.Generator().manual_seed(2))
        feed = {"images": x_BCHW.numpy()}
        if rows := network.about["rows"]:
            feed["switches"] = np.ones((rows, 2, 4), np.float32)
        outputs = [output.name for output in session.get_outputs()]
        results = dict(zip(outputs, session.run(None, feed), strict=True))
        with torch.no_grad():
            expected = subject.model(x_BCHW).numpy()
        np.testing.assert_allclose(results["logits"], expected, atol=1e-4)
        for block in network.about["blocks"]:
            assert results[block["output"]].shape[2:] == tuple(block["grid"])
            assert block["gain"]["max"] > 0
        assert all(block["heads"] for block in network.about["blocks"]) is (number == 0)


def test_python_lines_name_shipped_weights(prepared: Any) -> None:
    line = "load_model('spanetv2_pico_pure.fashion_mnist')"
    assert line in prepared.subjects[0].python
    assert "torch.manual_seed(0)" in prepared.subjects[1].python


def test_samples_are_reduced_and_named_once() -> None:
    large = Sample(name="china", image=Image.new("RGB", (2000, 1000)))
    samples = choose_samples([large])
    assert [sample.name for sample in samples] == ["china", "china'", "flower"]
    assert samples[0].image.size == (512, 256)
    assert len(fashion_samples("abcdefghij")) == 10


def network_of(size: int) -> BrowserNetwork:
    about = {"classes": ["a"], "title": "net", "untrained": False}
    return BrowserNetwork(title="net", onnx=bytes(size), about=about, gaps=[])


def test_large_page_is_refused_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "LARGEST_FILE", 1000)
    with pytest.raises(UserError, match=r"expected at most .* give a folder instead: --out .*lab/"):
        write_page([network_of(10)], fashion()[:1], tmp_path / "lab.html")
    assert list(tmp_path.iterdir()) == []


def fashion() -> list[Sample]:
    return fashion_samples("abcdefghij")


def test_more_than_three_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got 4 networks, expected 1 to 3"):
        write_page([network_of(10)] * 4, fashion(), tmp_path / "lab.html")


def test_titles_cannot_break_the_page(tmp_path: Path) -> None:
    network = network_of(3)
    network.about["title"] = "</script><b>"
    page = write_page([network], fashion()[:1], tmp_path / "lab.html").read_text()
    assert "</script><b>" not in page
    assert page.count("</script>") == page.count("<script")


def test_modules_come_after_what_they_import() -> None:
    names = list(module_sources())
    assert names.index("fft.js") < names.index("mask.js") < names.index("main.js")
    assert set(names) == {path.name for path in assemble.WEB.glob("*.js")}


def test_runtime_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match="npm install onnxruntime-web@"):
        find_runtime(tmp_path)
    for name in runtime.FILES:
        (folder / name).write_bytes(b"other")
    with pytest.raises(UserError, match="of another version, expected onnxruntime-web"):
        find_runtime(tmp_path)
    assert integrity(b"") == (
        "sha384-OLBgp1GsljhM2TJ+sbHjaiH9txEUvgdDTAzHv2P24donTt6/529l+9Ua0vFImLlb"
    )


def run(*arguments: str) -> Any:
    return CliRunner().invoke(make_app(), ["explore", *arguments])


def test_command_refuses_before_it_works(tmp_path: Path) -> None:
    for arguments, message in (
        (["a", "--compare", "b", "--compare", "c", "--compare", "d"], "got 4 models"),
        (["a", "--compare", "a"], "expected none twice"),
        (["no_such_network"], "no_such_network"),
        (["resnet50", "--no-pretrained"], "got networks for a page of about 1"),
        (["spanetv2_pico_pure.scenes_semantic_fpn"], "no page to explore for segmentation yet"),
        (["resnet18", "--offline", "--runtime", str(tmp_path)], "npm install onnxruntime-web"),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, UserError), arguments
        assert message in str(result.exception)


def test_command_writes_a_page_of_ones_own_images(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (60, 40), "red").save(folder / "red.png")
    out = tmp_path / "lab.html"
    result = run(
        "test_vit", "--no-pretrained", "--images", str(folder), "--out", str(out),
        "--runtime-url", "http://127.0.0.1:9/ort",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    page = out.read_text(encoding="utf-8")
    assert "http://127.0.0.1:9/ort/ort.wasm.bundle.min.mjs" in page
    assert "random weights" in page
    assert "fetches ONNX Runtime" in result.output


def test_run_offers_its_own_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("pico_pure", num_classes=10, in_chans=1, img_size=28, stem_stride=2)
    from spanetv2.models.weights.read import read_checkpoint
    from spanetv2.models.weights.save import save_weights

    save_weights(
        model,
        tmp_path / "weights.safetensors",
        classes=[f"digit {i}" for i in range(10)],
        preprocessing={"input_size": [1, 28, 28], "mean": [0.5], "std": [0.5]},
    )
    (tmp_path / "config.yaml").write_text(
        "data: {dataset: digits, root: null, val_split: val}", encoding="utf-8"
    )
    subject = find_task("classification").explore_subject(
        read_checkpoint(tmp_path), "run", None, pretrained=False
    )
    assert len(subject.samples) == 10
    assert subject.samples[0].image.size == (8, 8)
    assert str(tmp_path) in subject.python


def test_guides_python_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "explore.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
        assert capsys.readouterr().out.strip() in block
    assert f"onnxruntime-web@{runtime.VERSION}" in text
