import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from spanetv2.data.images import Failure, ImageError
from spanetv2.data.loader import PartialBatch
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.loader import eval_loader
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset
from spanetv2.tasks.classification.evaluate import evaluate

CLASSES = ["red", "green", "blue"]


class Colour(nn.Module):
    def forward(self, x_BCHW):
        assert not self.training
        assert torch.is_inference_mode_enabled()
        return 9 * x_BCHW.mean(dim=(2, 3))


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image, dtype=np.float32) / 255).permute(2, 0, 1)


@pytest.fixture
def folder(tmp_path):
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for i, colour in enumerate((name, name, "red")):
            Image.new("RGB", (4, 4), "lime" if colour == "green" else colour).save(
                tmp_path / name / f"{i}.png"
            )
    return tmp_path


def loader(folder, *, classes=CLASSES, on_error: Any = "raise", workers=0):
    source = open_dataset(DatasetSpec(root=str(folder), classes=classes), to_tensor)
    return eval_loader(source, batch_size=2, on_error=on_error, workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluate_counts_what_is_right(folder, workers):
    result = evaluate(Colour(), loader(folder, workers=workers), classes=CLASSES)
    assert (result.images, result.failed, result.failures) == (9, 0, [])
    assert result.top1 == pytest.approx(7 / 9)
    assert result.top5 == 1
    assert result.confusion is not None
    assert result.confusion.tolist() == [[3, 0, 0], [1, 2, 0], [1, 0, 2]]
    right, wrong = torch.tensor([9.0, 0.0, 0.0]).log_softmax(0)[:2].neg().tolist()
    assert result.loss == pytest.approx((7 * right + 2 * wrong) / 9, rel=1e-5)
    assert result.seconds > 0
    assert result.images_per_second == pytest.approx(9 / result.seconds)


def test_evaluate_maps_labels_to_outputs(folder):
    natural = loader(folder, classes=None)  # blue, green, red
    result = evaluate(Colour(), natural, classes=CLASSES, mapping=[2, 1, 0])
    assert result.top1 == pytest.approx(7 / 9)
    assert evaluate(Colour(), natural, classes=CLASSES).top1 < 0.5


def test_evaluate_leaves_out_and_reports_damaged_images(folder):
    bad = folder / "green" / "1.png"
    bad.write_bytes(b"")
    result = evaluate(Colour(), loader(folder, on_error="skip"), classes=CLASSES)
    assert (result.images, result.failed) == (8, 1)
    assert result.failures == [Failure(str(bad), "an empty file")]
    assert result.top1 == pytest.approx(6 / 8)
    with pytest.raises(ImageError, match="an empty file"):
        evaluate(Colour(), loader(folder), classes=CLASSES)


def test_evaluate_without_a_readable_image_is_an_error():
    nothing = PartialBatch(None, [Failure("a.png", "an empty file")])
    with pytest.raises(UserError, match="no images to evaluate"):
        evaluate(Colour(), [nothing], classes=CLASSES)


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_leaves_the_model_in_its_mode(folder, training):
    model = Colour().train(training)
    evaluate(model, loader(folder), classes=CLASSES)
    assert model.training is training


def test_evaluation_result_is_json(folder):
    bad = folder / "green" / "1.png"
    bad.write_bytes(b"")
    result = evaluate(Colour(), loader(folder, on_error="skip"), classes=CLASSES)
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain["top1"] == result.top1
    assert plain["confusion_matrix"] == [[3, 0, 0], [1, 1, 0], [1, 0, 2]]
    assert plain["failures"] == [{"path": str(bad), "reason": "an empty file"}]
    assert plain["most_confused"] == [
        {"true": "green", "predicted": "red", "images": 1},
        {"true": "blue", "predicted": "red", "images": 1},
    ]
    blue = plain["classes"][2]
    assert blue["class"] == "blue"
    assert (blue["images"], blue["predicted"], blue["top1"]) == (3, 2, pytest.approx(2 / 3))


def test_evaluation_result_of_many_classes_stays_small(folder):
    names = [*CLASSES, *(f"c{i}" for i in range(500))]

    class Wide(nn.Module):
        def forward(self, x):
            return torch.cat([9 * x.mean(dim=(2, 3)), x.new_zeros(len(x), 500) - 1], dim=1)

    plain = evaluate(Wide(), loader(folder), classes=names).to_json()
    assert "confusion_matrix" not in plain
    assert [row["class"] for row in plain["classes"]] == CLASSES
    assert len(plain["most_confused"]) == 2
