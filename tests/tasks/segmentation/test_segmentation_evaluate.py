import json

import pytest
import segmentation_data
import torch
from torch import nn

from spanetv2.data.images import Failure, ImageError
from spanetv2.data.loader import PartialBatch, eval_batches
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset
from spanetv2.tasks.segmentation.data.transforms import EvalTransform, Preprocessing, collate_views
from spanetv2.tasks.segmentation.evaluate import evaluate
from spanetv2.tasks.segmentation.inference import Inference

PLAIN = Preprocessing(size=None, mean=(0.0,) * 3, std=(1.0,) * 3)


class ByColour(nn.Module):
    """The class whose colour is nearest: right everywhere, but that it takes ``wrong`` for 0."""

    def __init__(self, wrong=()):
        super().__init__()
        self.colours = torch.tensor(segmentation_data.COLOURS).float() / 255
        self.wrong = list(wrong)

    def forward(self, x_BCHW):
        assert not self.training
        scores = -(x_BCHW[:, None] - self.colours[None, :, :, None, None]).square().sum(2)
        for k in self.wrong:
            scores[:, k] -= 9
        return scores


def loader(root, *, scales=(1.0,), preprocessing=PLAIN, on_error="raise", batch_size=2):
    source = open_dataset(
        DatasetSpec(root=str(root), split="val"), EvalTransform(preprocessing, scales)
    )
    return eval_batches(source, batch_size=batch_size, collate=collate_views, on_error=on_error)


@pytest.fixture
def root(tmp_path):
    return segmentation_data.write(tmp_path / "d", counts=(1, 5))


def measured(root, model=None, **options):
    inference = options.pop("inference", None)
    scales = inference.scales if inference else (1.0,)
    preprocessing = options.pop("preprocessing", PLAIN)
    given = {key: options.pop(key) for key in ("on_error", "batch_size") if key in options}
    return evaluate(
        model or ByColour(),
        loader(root, scales=scales, preprocessing=preprocessing, **given),
        classes=options.pop("classes", segmentation_data.NAMES),
        preprocessing=preprocessing,
        inference=inference,
        **options,
    )


def test_evaluate_counts_what_is_right(root):
    result = measured(root)
    assert (result.images, result.failed, result.miou) == (5, 0, 1.0)
    result = measured(root, ByColour(wrong=[1]))
    labels = [segmentation_data.scene(100 + i)[1] for i in range(5)]
    counts = [sum(int((x == k).sum()) for x in labels) for k in range(3)]
    ground = counts[0] / (counts[0] + counts[1])
    assert result.per_class[0].iou == pytest.approx(ground)
    assert result.per_class[1].iou == 0
    assert result.miou == pytest.approx((ground + 0 + 1) / 3)
    assert result.pixel_accuracy == pytest.approx((counts[0] + counts[2]) / sum(counts))
    assert [row.pixels for row in result.per_class] == counts


@pytest.mark.parametrize(
    "inference",
    [Inference(window=10, stride=7), Inference(scales=(1.0, 2.0), flip=True)],
    ids=["windows", "scales"],
)
def test_evaluate_by_windows_and_scales(root, inference):
    assert measured(root, inference=inference).miou > 0.95


def test_evaluate_at_the_size_of_the_label_maps(root):
    settings = Preprocessing(size=(20, 15), mean=(0.0,) * 3, std=(1.0,) * 3)
    result = measured(root, preprocessing=settings)
    assert sum(row.pixels for row in result.per_class) == 5 * 24 * 32
    assert 0.6 < result.miou < 1


def test_evaluate_takes_images_of_different_sizes(root):
    segmentation_data.write(root / "more", counts=(1, 1), size=(31, 20))
    for kind in ("images", "masks"):
        (root / "more" / kind / "val" / "scene_0.png").rename(root / kind / "val" / "zzz.png")
    result = measured(root, batch_size=3)
    assert (result.images, result.miou) == (6, 1.0)


def test_evaluate_maps_labels_to_outputs(root):
    names = ["sky", "green", "ground", "red"]

    class Other(ByColour):
        def forward(self, x):
            ground, red, green = super().forward(x).unbind(1)
            return torch.stack([ground - 9, green, ground, red], dim=1)

    result = measured(root, Other(), classes=names, mapping=[2, 3, 1])
    assert result.miou == 1
    assert result.per_class[0].iou is None
    assert measured(root, Other(), classes=names).miou < 0.5


def test_evaluate_leaves_out_and_reports_damaged_files(root):
    bad = root / "masks" / "val" / "scene_2.png"
    bad.write_bytes(b"text")
    result = measured(root, on_error="skip")
    assert (result.images, result.failed) == (4, 1)
    assert [f.path for f in result.failures] == [str(bad)]
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain["failures"] == [{"path": str(bad), "reason": result.failures[0].reason}]
    assert [row["class"] for row in plain["classes"]] == segmentation_data.NAMES
    assert plain["miou"] == 1
    with pytest.raises(ImageError, match="not a label image"):
        measured(root)


def test_evaluate_without_anything_to_read_is_an_error():
    nothing = [PartialBatch(None, [Failure("a.png", "an empty file")])]
    with pytest.raises(UserError, match="got no images to evaluate"):
        evaluate(ByColour(), nothing, classes=segmentation_data.NAMES, preprocessing=PLAIN)


def test_evaluate_keeps_examples_and_the_models_mode(root):
    model = ByColour(wrong=[2]).train()
    result = measured(root, model, examples=3)
    assert model.training
    assert len(result.examples) == 3
    for i, example in enumerate(result.examples):
        pixels, labels = segmentation_data.scene(100 + i)
        assert torch.equal(example.image.permute(1, 2, 0), torch.tensor(pixels))
        assert torch.equal(example.truth, torch.tensor(labels))
        assert torch.equal(example.predicted, torch.tensor(labels * (labels != 2)))
