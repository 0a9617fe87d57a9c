"""Wrong values from Python are one clear UserError each, before anything is done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import spanetv2
from spanetv2.errors import UserError

WEIGHTS = "spanetv2_pico_pure.fashion_mnist"
NO_PATHS: list[Any] = [None, 3, "", [3], [""], []]


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    told = str(caught.value)
    assert "\n" not in told
    for word in ("got", "expected", *words):
        assert word in told


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.new("L", (28, 28)).save(path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        *({"workers": value} for value in (-1, 1.5, "a", None, True, 10**30)),
        *({"batch_size": value} for value in (0, 1.5, "a", True)),
        *({"max_pixels": value} for value in (0, 1.5, "a")),
        *({"top_k": value} for value in (0, "a")),
        {"json": 3},
    ],
)
def test_predict_and_evaluate_refuse_odd_options(options: dict[str, Any], image: Path) -> None:
    ((name, value),) = options.items()
    refused(lambda: spanetv2.predict(WEIGHTS, image, **options), name, repr(value))
    if name not in ("max_pixels", "top_k"):
        refused(lambda: spanetv2.evaluate(WEIGHTS, image.parent, **options), repr(value), name)


@pytest.mark.parametrize("value", [None, 3, ""])
def test_checkpoints_that_are_no_path_are_refused(value: Any, image: Path) -> None:
    for call in (
        spanetv2.load_model,
        spanetv2.from_pretrained,
        lambda path: spanetv2.predict(path, image),
        lambda path: spanetv2.evaluate(path, image.parent),
    ):
        refused(lambda call=call: call(value), "a checkpoint", "a run folder")


@pytest.mark.parametrize("value", NO_PATHS)
def test_paths_that_are_none_are_refused(value: Any) -> None:
    refused(lambda: spanetv2.predict(WEIGHTS, value), "paths")
    refused(lambda: spanetv2.merge(value), "folders")


def test_evaluate_tells_places_that_cannot_be_written(image: Path) -> None:
    below = image / "figures.json"  # a file is no folder
    with pytest.raises(UserError, match="a part of the path is a file, not a folder"):
        spanetv2.evaluate(WEIGHTS, image.parent, json=below)


@pytest.mark.parametrize("value", [None, 3, ""])
def test_train_refuses_what_is_no_task_or_configuration(value: Any, tmp_path: Path) -> None:
    refused(lambda: spanetv2.train(value), "task")
    out = tmp_path / "run"
    refused(lambda: spanetv2.train("classification", 3, out=out), "configuration 3")  # pyright: ignore
    refused(lambda: spanetv2.train("classification", overrides=3, out=out), "overrides 3")  # pyright: ignore
    refused(lambda: spanetv2.train("classification", "digits", out=3), "out")  # pyright: ignore
    refused(lambda: spanetv2.train("classification", "digits", extend=0, out=out), "extend 0")
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_classes", value) for value in (-1, 1.5, "a", True)),
        *(("in_chans", value) for value in (0, -1, 1.5)),
        *(("drop_path_rate", value) for value in (-0.5, 1, 2, float("nan"), "a")),
        ("drop_rate", 2),
    ],
)
def test_create_model_refuses_sizes_that_no_network_has(name: str, value: Any) -> None:
    for model in ("pico_pure", "test_resnet"):
        refused(lambda model=model: spanetv2.create_model(model, **{name: value}), name)
    if name != "drop_rate":
        refused(lambda: spanetv2.SPANetV2((1,), (8,), ("spam",), (False,), **{name: value}), name)


def test_create_model_refuses_other_kinds_of_names_and_stems() -> None:
    for value in (None, 3):
        refused(lambda value=value: spanetv2.create_model(value), "model")  # pyright: ignore
    refused(lambda: spanetv2.create_model("pico_pure", stem_stride=3), "stem_stride")
    refused(lambda: spanetv2.create_model("pico_pure", global_pool="x"), "global_pool")
