"""The study of one model and its report: all parts, and a marked gap for each that is missing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

import spanetv2
from spanetv2.analysis.cue_conflict import CueImage
from spanetv2.analysis.model_report import LAB, write_report
from spanetv2.analysis.model_study import ModelAnalysis, ModelInput, StudyOptions, analyze_model
from spanetv2.errors import UserError

pytest.importorskip("pytorch_grad_cam")

OPTIONS = StudyOptions(
    probe_images=2, channels=2, rows=3, radii=(0.5, 1.5), heat_map=True, heat_map_size=3
)
PICTURES = (
    "log_amplitude.png",
    "mixer_response.png",
    "attention_response.png",
    "mixers_by_depth.png",
    "spam_bank.png",
    "filtered_accuracy.png",
    "heat_map.png",
    "shape_bias.png",
    "activation_maps.png",
)


def subject(*, labelled: bool = True, title: str = "pico") -> ModelInput:
    torch.manual_seed(0)
    model = spanetv2.create_model("pico_hybrid", num_classes=3, img_size=48, stem_stride=2)
    return ModelInput(
        title=title,
        model=model.eval(),
        images=torch.randn(5, 3, 48, 48),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        targets=torch.tensor([0, 1, 2, 0, 1]) if labelled else None,
        classes=["ant", "bee", "cow"],
        # Every category is a shape once, so that any answer fits some cue.
        cue_images=[
            CueImage("a", "cat", "dog"),
            CueImage("b", "dog", "cat"),
            CueImage("c", "car", "cat"),
        ],
        load=lambda path: torch.full((3, 48, 48), float(ord(path))),
        class_names=["cat", "dog", "car"],
    )


@pytest.fixture(scope="module")
def analysis() -> ModelAnalysis:
    return analyze_model(subject(), OPTIONS)


def test_analyze_model_fills_every_part(analysis: ModelAnalysis) -> None:
    assert analysis.gaps == []
    assert len(analysis.responses) == len(analysis.amplitudes) == 9
    assert [r.kind for r in analysis.attention] == ["attention map"] * 5
    assert len(analysis.bank) == 4
    assert analysis.filtered is not None
    assert analysis.filtered.values.shape == (2, 2)
    assert analysis.heat_map is not None
    assert analysis.heat_map.values.shape == (3, 3)
    assert analysis.bias is not None
    assert analysis.bias.images == 3
    assert analysis.cams is not None
    assert analysis.cams.images.shape == (5, 48, 48, 3)
    assert analysis.cams.true == ["ant", "bee", "cow", "ant", "bee"]
    assert set(analysis.cams.explained) <= {"ant", "bee", "cow"}


def test_write_report_makes_pictures_tables_and_one_page(
    analysis: ModelAnalysis, tmp_path: Path
) -> None:
    page = write_report([analysis], tmp_path, about={"seed": 0})
    assert page == tmp_path / "index.html"
    for name in PICTURES:
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5, name
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == len(PICTURES)
    assert 'src="http' not in text
    assert "Every part could be made" in text
    with (tmp_path / "mixer_response.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    first = analysis.responses[0].radial()
    assert {row["model"] for row in rows} == {"pico"}
    assert len({(row["mixer"], row["kind"]) for row in rows}) == 14
    assert float(rows[0]["value"]) == first.values[0, 0]
    found = json.loads((tmp_path / "analysis.json").read_text())
    assert found["about"] == {"seed": 0}
    model = found["models"][0]
    assert len(model["jacobian"]) == 9
    assert model["jacobian"][0]["radial"] == first.to_dict()
    assert model["shape_bias"]["per_category"]["dims"] == ["category", "decision"]
    for name in ("log_amplitude", "spam_bank", "filtered_accuracy", "heat_map", "shape_bias"):
        assert (tmp_path / f"{name}.csv").stat().st_size > 50
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("undrawn")
def test_missing_labels_and_classes_are_marked_gaps(tmp_path: Path) -> None:
    bare = ModelInput(**{**vars(subject(labelled=False)), "class_names": ["a", "b", "c"]})
    found = analyze_model(bare, OPTIONS)
    assert {gap.part for gap in found.gaps} == {
        "accuracy under filtered input",
        "Fourier heat map",
        "cue-conflict shape bias",
    }
    assert found.accuracy is None
    assert found.cams is not None
    assert found.cams.true is None
    text = write_report([found], tmp_path).read_text(encoding="utf-8")
    assert "the images have no labels" in text
    assert "got a model of 3 classes" in text
    assert not (tmp_path / "filtered_accuracy.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_model_without_maps_still_gets_its_accuracy(tmp_path: Path) -> None:
    class Flat(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), nn.Linear(3 * 48 * 48, 3))

    found = analyze_model(
        ModelInput(**{**vars(subject()), "model": Flat().eval(), "title": "flat"}), OPTIONS
    )
    assert [gap.part for gap in found.gaps] == ["token mixers", "class activation maps"]
    assert "without a token mixer" in found.gaps[0].reason
    assert found.accuracy is not None
    assert found.amplitudes == []
    assert write_report([found], tmp_path).is_file()
    assert not (tmp_path / "mixer_response.png").exists()


def test_grids_too_small_to_show_a_wave_are_gaps() -> None:
    """16 x 16 pixels end in a map of 1 x 1."""
    small = ModelInput(**{**vars(subject()), "images": torch.randn(5, 3, 16, 16), "cue_images": ()})
    found = analyze_model(small, OPTIONS)
    reasons = {gap.part: gap.reason for gap in found.gaps}
    assert reasons["stages.3.blocks.0.token_mixer"] == "a 1 x 1 grid holds the constant only"
    assert "no diagonal wave" in reasons["relative log-amplitude of stages.2.blocks.0"]
    assert min(min(r.grid) for r in [*found.responses, *found.attention]) == 2
    assert {block.stage for block in found.amplitudes} == {1, 2}
    assert found.cams is not None
    assert found.cams.block == "stages.1.blocks.1"
    assert found.heat_map is not None


def test_models_of_different_kinds_share_a_report(analysis: ModelAnalysis, tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2)
    other = analyze_model(
        ModelInput(
            title="vit",
            model=vit.eval(),
            images=torch.randn(3, 3, 32, 32),
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
        ),
        OPTIONS,
    )
    assert other.attention[0].row_sum == pytest.approx(16 / 17, abs=0.05)
    text = write_report([analysis, other], tmp_path).read_text(encoding="utf-8")
    assert ">vit<" in text
    assert (tmp_path / "activation_maps_2.png").is_file()
    assert not (tmp_path / "spam_bank_2.png").exists()


def test_bad_input_is_refused(analysis: ModelAnalysis, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected at least one and none twice"):
        write_report([analysis, analysis], tmp_path)
    with pytest.raises(UserError, match="expected at least one"):
        write_report([], tmp_path)
    empty = ModelInput(**{**vars(subject()), "images": torch.zeros(0, 3, 48, 48)})
    with pytest.raises(UserError, match=r"expected \(B, C, H, W\), B > 0"):
        analyze_model(empty)
    assert list(tmp_path.iterdir()) == []


def test_report_links_to_the_page_that_lies_beside_it(
    analysis: ModelAnalysis, tmp_path: Path
) -> None:
    command = "spanetv2 explore net --out lab.html"
    text = write_report([analysis], tmp_path, explore=command).read_text(encoding="utf-8")
    assert command in text
    assert "<a href" not in text
    (tmp_path / LAB).write_text("page")
    text = write_report([analysis], tmp_path, explore=command).read_text(encoding="utf-8")
    assert '<a href="lab.html">' in text
