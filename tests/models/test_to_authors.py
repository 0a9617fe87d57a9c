"""Back to the authors' names: every layout that is read is written, and nothing is lost."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import spanetv2
from spanetv2 import UserError, create_model, save_weights
from spanetv2.cli.main import make_app
from spanetv2.models.weights import read_checkpoint, to_authors, to_native
from spanetv2.tasks.detection.model import DetectorOptions, create_detector
from spanetv2.tasks.detection.weights import save_detector
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter
from spanetv2.tasks.segmentation.weights import save_segmenter

sys.path.insert(0, str(Path(__file__).parent))
from golden import FOLDER, authors_state_dict

FORMS = [
    f"s18_{kind}/{form}"
    for kind in ("pure", "hybrid")
    for form in ("interleaved", "concatenated", "concatenated_scaled")
]
HEAD = ("norm.", "head.")


def layout(form: str, *, dense: bool = False) -> dict[str, torch.Tensor]:
    """The authors' state dict of a classifier, or of a backbone with a norm on every map."""
    state = authors_state_dict(form)
    if not form.endswith("scaled"):
        state |= {k: torch.ones_like(v) for k, v in state.items() if k.endswith("scale.alpha")}
    if dense:
        state = {name: value for name, value in state.items() if not name.startswith(HEAD)}
        for stage, channels in enumerate((64, 128, 320, 512)):
            state[f"norm{stage}.weight"] = torch.rand(channels)
    return state


def assert_same(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        assert torch.equal(got[name], value), name


def convert(*arguments: object) -> str:
    result = CliRunner().invoke(make_app(), ["convert", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_golden_forms_are_all_here() -> None:
    assert (FOLDER / "state_dict_keys.json").read_text().count('": {') == len(FORMS)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_way_there_and_back_is_exact(form: str, dense: bool) -> None:
    authors = layout(form, dense=dense)
    native = to_native(authors)
    assert native.keys().isdisjoint(authors.keys() - native.keys())
    assert_same(to_authors(native), authors)
    assert_same(to_authors(authors), authors)
    assert_same(to_native(to_authors(native)), native)


@pytest.mark.parametrize(
    ("wrapper", "prefix", "dense"),
    [
        (None, "", False),
        ("state_dict", "module.", False),
        ("model", "", False),
        ("state_dict", "backbone.", True),
        ("state_dict", "module.backbone.", True),
    ],
)
@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
def test_files_of_every_layout_come_back(
    tmp_path: Path, order: str, wrapper: str | None, prefix: str, dense: bool
) -> None:
    torch.manual_seed(0)
    options = {"num_classes": 0 if dense else 3, "img_size": 64, "feature_norms": dense}
    model = create_model("pico_pure", head_order=order, **options)
    authors = to_authors(model.state_dict())
    if dense:  # has no classifier, and so no norm before it
        authors = {name: value for name, value in authors.items() if not name.startswith(HEAD)}
    content: Any = {prefix + name: value for name, value in authors.items()}
    if dense:
        content[prefix.replace("backbone", "decode_head") + "conv.weight"] = torch.zeros(3)
    torch.save(content if wrapper is None else {wrapper: content}, tmp_path / "theirs.pth")
    told = convert(tmp_path / "theirs.pth", tmp_path / "ours.safetensors")
    assert f"spanetv2_pico_pure, {order}" in told
    convert(tmp_path / "ours.safetensors", tmp_path / "back.pth", "--to", "authors")
    got = torch.load(tmp_path / "back.pth", weights_only=True)
    inside = "backbone." if dense else ""
    assert_same(got["state_dict"], {inside + name: value for name, value in authors.items()})
    convert(tmp_path / "back.pth", tmp_path / "again.safetensors")
    first, second = (tmp_path / f"{name}.safetensors" for name in ("ours", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_runs_of_every_task_are_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"img_size": 64, "stem_stride": 4}
    classifier = create_model("pico_hybrid", num_classes=3, **options)
    save_weights(classifier, tmp_path / "classifier.safetensors", classes=list("abc"))
    segmenter = create_segmenter("pico_pure", 3, HeadOptions(width=16), **options)
    save_segmenter(segmenter, tmp_path / "segmenter.safetensors", classes=list("abc"))
    light = DetectorOptions(fpn_channels=32, box_channels=64, mask_channels=32)
    detector = create_detector("pico_pure", 3, light, **options)
    save_detector(detector, tmp_path / "detector.safetensors", classes=list("abc"))
    for name, network, expected in (
        ("classifier", classifier, "left out: class names and preprocessing"),
        ("segmenter", segmenter.backbone.network.model, "the heads for segmentation"),
        ("detector", detector.pyramid.backbone.network.model, "the heads for detection"),
    ):
        target = tmp_path / f"{name}.pth"
        told = convert(tmp_path / f"{name}.safetensors", target, "--to", "authors")
        assert expected in told
        kept = {k: v for k, v in network.state_dict().items() if name[0] == "c" or "head" not in k}
        assert_same(read_checkpoint(target).state_dict, kept)


def test_what_their_code_has_no_form_for_is_refused(tmp_path: Path) -> None:
    scaled = create_model("pico_pure", num_classes=2, img_size=32, gate="scaled_sigmoid")
    assert (
        to_authors(scaled.state_dict()).keys()
        == to_authors(create_model("pico_pure", num_classes=2, img_size=32).state_dict()).keys()
    )  # a slope of 1 is the plain sigmoid
    state = {k: v + 1 if k.endswith("alpha") else v for k, v in scaled.state_dict().items()}
    with pytest.raises(UserError, match="the authors' interleaved form has no slope"):
        to_authors(state)
    other = create_model("pico_pure", num_classes=2, img_size=32, mixers=["sepconv", *["spam"] * 3])
    with pytest.raises(UserError, match="token mixer sepconv"):
        to_authors(other.state_dict())
    with pytest.raises(UserError, match="not SPANetV2's"):
        to_authors({"conv.weight": torch.zeros(1)})
    save_weights(other, tmp_path / "other.safetensors")
    target = tmp_path / "other.pth"
    for arguments, expected in (
        (["other.safetensors", target, "--to", "authors"], "token mixer sepconv"),
        (["other.safetensors", "x.safetensors", "--to", "authors"], "ends in .pth or .pt"),
        (["other.safetensors", target, "--to", "mmseg"], "expected one of spanetv2, authors"),
        (["other.safetensors", target, "--to", "authors", "--gate", "sigmoid"], "one of them"),
    ):
        with contextlib.chdir(tmp_path), pytest.raises(UserError, match=expected):
            convert(*arguments)
    assert not target.exists()


def test_their_file_makes_our_model_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("pico_hybrid", num_classes=3, img_size=64).eval()
    buffer = io.BytesIO()
    torch.save(to_authors(model.state_dict()), buffer)
    (tmp_path / "theirs.pth").write_bytes(buffer.getvalue())
    again, _ = spanetv2.load_model(tmp_path / "theirs.pth")
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
