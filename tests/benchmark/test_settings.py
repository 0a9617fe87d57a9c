import pytest

from spanetv2.benchmark.settings import MODES, Settings, full_label, split_label
from spanetv2.deploy.runtimes import RUNTIMES
from spanetv2.errors import UserError


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("pico_pure", ("pico_pure", None)),
        ("spanetv2_pico_pure@optimized", ("spanetv2_pico_pure", "optimized")),
        ("resnet18", ("resnet18", None)),
        ("upernet:s18_pure@maps", ("upernet:s18_pure", "maps")),
        ("hf-hub:me/x@v1", ("hf-hub:me/x@v1", None)),
        ("hf-hub:me/x@v1@fused", ("hf-hub:me/x@v1", "fused")),
        ("hf-hub:me/x@maps", ("hf-hub:me/x", "maps")),
    ],
)
def test_split_label_gives_name_and_how(label, expected):
    assert split_label(label) == expected


def test_split_label_leaves_paths_with_an_at_sign_whole(tmp_path):
    folder = tmp_path / "run@night"
    folder.mkdir()
    assert split_label(str(folder)) == (str(folder), None)
    assert split_label(f"{folder}@maps") == (str(folder), "maps")


def test_full_label_names_the_model_in_full():
    assert full_label("pico_pure@products") == "spanetv2_pico_pure@products"
    assert full_label("resnet18") == "resnet18"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("pico_pur", "did you mean pico_pure"),
        ("pico_pure@onnx", "expected pico_pure with --mode onnxruntime"),
        ("pico_pure@fast", "got 'pico_pure@fast', expected one of reference, "),
        ("resnet18@reference", "@reference is for SPANetV2 variants only"),
    ],
)
def test_full_label_refuses_what_it_does_not_know(label, message):
    with pytest.raises(UserError, match=message):
        full_label(label)


def test_settings_take_short_names_of_dtypes():
    assert Settings(dtypes=("bf16", "float32")).dtypes == ("bfloat16", "float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": ("fast",)}, r"got modes \['fast'\], expected some of eager, compiled"),
        ({"passes": ("forward",)}, "expected some of inference, training"),
        ({"dtypes": ("int4",)}, "expected some of float32, bfloat16, float16, int8"),
        ({"models": ()}, "got no models"),
        ({"models": ("a", "a")}, "got models a, a, expected each once"),
        ({"batches": (0,)}, r"got batches \(0,\), expected numbers of 1 or more"),
        ({"rounds": 0}, "got rounds 0"),
        ({"threads": 0}, "got threads 0"),
        ({"modes": ("graphs",)}, "got mode graphs on cpu, expected a GPU"),
        ({"warmup": -1}, "got warmup -1"),
        ({"reference": "resnet18"}, "got reference 'resnet18', expected one of those measured"),
    ],
)
def test_settings_name_a_bad_value(changes, message):
    with pytest.raises(UserError, match=message):
        Settings(**changes)


def test_settings_compare_with_the_usual_peer_or_the_first():
    assert Settings().reference == "convformer_s18"
    assert Settings(models=("local", "sepconv")).reference == "sepconv"
    assert Settings(models=("resnet18", "resnet34")).reference == "resnet18"
    heads = ("mask_rcnn:s18_pure", "mask_rcnn:convformer_s18")
    assert Settings(models=heads).reference == "mask_rcnn:convformer_s18"
    assert Settings(models=("resnet18", "resnet34"), reference="resnet34").reference == "resnet34"


def test_cells_leave_out_what_a_label_cannot_do():
    settings = Settings(
        models=("pico_pure", "pico_pure@optimized"),
        modes=tuple(mode for mode in MODES if mode != "graphs"),  # which need a GPU
        dtypes=("float32", "bfloat16", "int8"),
        sizes=(32, 64),
    )
    inference = settings.cells("inference")
    exported = [cell for cell in inference if cell.mode in RUNTIMES]
    assert {(cell.model, cell.mode, cell.dtype) for cell in exported} == {
        *(("pico_pure", "onnxruntime", dtype) for dtype in ("float32", "int8")),
        *(("pico_pure", "openvino", dtype) for dtype in ("float32", "bfloat16", "int8")),
    }
    assert len(inference) == 2 * (2 * 3 * 2 + 5)
    training = settings.cells("training")
    assert {(cell.model, cell.mode) for cell in training} == {
        ("pico_pure", "eager"),
        ("pico_pure", "compiled"),
    }
