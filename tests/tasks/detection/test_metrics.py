"""COCO's figures, against pycocotools on the same annotations and results files."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.tasks.detection.masks import encode_pixels
from spanetv2.tasks.detection.metrics import DetectionMeter
from spanetv2.tasks.detection.results import coco_results

CATEGORY_IDS = [3, 7, 90, 4]  # with gaps, and not in order
SIZE = (160, 200)


def target_of(rng, count, crowds=0):
    """Ellipses of all three of COCO's sizes."""
    boxes = []
    for _ in range(count):
        side = rng.choice([12, 40, 120]) * rng.uniform(0.8, 1.2, 2)
        corner = rng.uniform(0, np.maximum(np.array(SIZE[::-1]) - side, 1))
        boxes.append([*corner, *np.minimum(corner + side, SIZE[::-1])])
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = ellipses(boxes)
    return {
        "boxes": boxes,
        "labels": torch.tensor(rng.integers(1, 4, count), dtype=torch.int64),
        "masks": masks,
        "iscrowd": torch.tensor([int(i < crowds) for i in range(count)], dtype=torch.int64),
        "area": masks.flatten(1).sum(1).float(),
    }


def ellipses(boxes):
    rows, columns = torch.meshgrid(*map(torch.arange, SIZE), indexing="ij")
    x1, y1, x2, y2 = (edge[:, None, None] for edge in boxes.unbind(1))
    u = (columns + 0.5 - (x1 + x2) / 2) / (x2 - x1).clamp(min=1)
    v = (rows + 0.5 - (y1 + y2) / 2) / (y2 - y1).clamp(min=1)
    return (u**2 + v**2 <= 0.25).to(torch.uint8)


def result_of(rng, target, extra=3):
    """Objects seen badly: moved, some as another class, some twice, some not, some invented."""
    count = len(target["labels"])
    seen = rng.random(count + count // 2) < 0.85
    index = np.concatenate([np.arange(count), rng.integers(0, max(count, 1), count // 2)])[seen]
    boxes = target["boxes"][index]
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    boxes = boxes + torch.tensor(rng.normal(0, 0.06, boxes.shape), dtype=torch.float32) * sides
    corners = torch.tensor(rng.uniform(0, 100, (extra, 2)), dtype=torch.float32)
    boxes = torch.cat([boxes, torch.cat([corners, corners + 30], 1)]).clamp(min=0)
    boxes[:, 0::2].clamp_(max=SIZE[1])
    boxes[:, 1::2].clamp_(max=SIZE[0])
    boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    labels = torch.cat([target["labels"][index], torch.ones(extra, dtype=torch.int64)])
    labels = torch.where(torch.tensor(rng.random(len(labels)) < 0.1), 2, labels)
    scores = torch.tensor(rng.integers(1, 20, len(labels)) / 20, dtype=torch.float32)  # with ties
    order = scores.argsort(descending=True, stable=True)
    masks = torch.ones(len(labels), 1, 28, 28)
    edge = torch.linspace(-0.5, 0.5, 28)
    masks[:, 0] = ((edge[:, None] ** 2 + edge**2) <= 0.25).float()
    return {
        "boxes": boxes[order],
        "labels": labels[order],
        "scores": scores[order],
        "masks": masks,
    }


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    targets = [target_of(rng, int(n), crowds=int(n > 5)) for n in rng.integers(0, 9, 40)]
    return [(target, result_of(rng, target)) for target in targets]


def meter_of(images, **options):
    meter = DetectionMeter(4, **options)
    for target, result in images:
        meter.update([result], [target], [SIZE])
    return meter


def coco_files(images, meter, folder):
    annotations, results = [], []
    for image_id, (target, _) in enumerate(images, start=100):
        for i, mask in enumerate(encode_pixels(target["masks"])):
            x1, y1, x2, y2 = target["boxes"][i].tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY_IDS[target["labels"][i] - 1],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": target["area"][i].item(),
                    "iscrowd": target["iscrowd"][i].item(),
                    "segmentation": mask,
                }
            )
        results += coco_results(meter.found[image_id - 100], image_id, CATEGORY_IDS)
    record = {
        "info": {},
        "images": [
            {"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(100, 100 + len(images))
        ],
        "annotations": annotations,
        "categories": [{"id": own, "name": f"c{own}"} for own in CATEGORY_IDS],
    }
    for name, content in (("annotations", record), ("results", results)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / "annotations.json", folder / "results.json"


def pycocotools_figures(annotations, results, kind):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO(str(annotations))
        rows = json.loads(results.read_text())
        if kind == "segm":
            # or it would tell small from large masks by the sizes of their boxes
            rows = [{k: v for k, v in row.items() if k != "bbox"} for row in rows]
        evaluation = COCOeval(true, true.loadRes(rows), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    per_class = {
        category: precision[:, :, k].mean()
        for k, category in enumerate(evaluation.params.catIds)
        if (precision[:, :, k] > -1).all()
    }
    return evaluation.stats, per_class


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_all_figures_are_pycocotools(images, tmp_path, kind):
    meter = meter_of(images)
    metrics = meter.compute()
    files = coco_files(images, meter, tmp_path)
    expected, per_class = pycocotools_figures(*files, kind)
    got = metrics.box if kind == "bbox" else metrics.mask
    numbers = [getattr(got, name) for name in got.__dataclass_fields__]
    assert len(numbers) == 12
    assert all(0.05 < number < 0.98 for number in numbers), numbers
    np.testing.assert_allclose(numbers, expected, rtol=0, atol=1e-6)
    assert len(per_class) == 3
    for label, category in enumerate(CATEGORY_IDS):
        row = metrics.per_class[label]
        ap = row.box_ap if kind == "bbox" else row.mask_ap
        assert ap == pytest.approx(per_class.get(category), abs=1e-6)


def test_counts_leave_crowds_out(images):
    metrics = meter_of(images).compute()
    single = [int((target["iscrowd"] == 0).sum()) for target, _ in images]
    assert metrics.images == len(images)
    assert metrics.objects == sum(single) < sum(len(t["labels"]) for t, _ in images)
    assert metrics.detections == sum(len(result["labels"]) for _, result in images)
    assert sum(row.objects for row in metrics.per_class) == metrics.objects
    assert metrics.per_class[3].objects == 0
    assert metrics.per_class[3].box_ap is None


def test_boxes_alone_are_measured_alike(images):
    both, boxes = meter_of(images).compute(), meter_of(images, masks=False).compute()
    assert boxes.mask is None
    # sizes of detections are those of boxes in one and of masks in the other
    for name in ("ap", "ap50", "ap75", "ar1", "ar10", "ar100"):
        assert getattr(boxes.box, name) == pytest.approx(getattr(both.box, name), abs=1e-6)
    assert boxes.per_class[0].mask_ap is None


def test_perfect_and_empty_results():
    rng = np.random.default_rng(1)
    target = target_of(rng, 4)
    perfect = {
        **{name: target[name] for name in ("boxes", "labels")},
        "scores": torch.ones(4),
    }
    meter = DetectionMeter(4, masks=False)
    meter.update([perfect], [target], [SIZE])
    assert meter.compute().box.ap == pytest.approx(1)
    nothing = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "scores": torch.zeros(0),
        "masks": torch.zeros(0, 1, 28, 28),
    }
    meter = DetectionMeter(4)
    meter.update([nothing], [target], [SIZE])
    metrics = meter.compute()
    assert metrics.box.ap == metrics.mask.ap == 0
    empty = target_of(rng, 0)
    meter = DetectionMeter(4)
    meter.update([nothing], [empty], [SIZE])
    assert meter.compute().box.ap is None


def test_a_meter_without_images_or_with_numbers_that_are_none_is_an_error(images):
    with pytest.raises(UserError, match="no images to evaluate"):
        DetectionMeter(4).compute()
    target, result = images[0]
    meter = DetectionMeter(4, masks=False)
    meter.update([{**result, "scores": result["scores"] * float("nan")}], [target], [SIZE])
    with pytest.raises(UserError, match="not finite"):
        meter.compute()


def test_results_leave_out_categories_without_an_id(images):
    found = meter_of(images[:1]).found[0]
    whole = coco_results(found, 5, [1, 2, 3, 4], file_name="a.jpg")
    part = coco_results(found, 5, [None, 2, 3, 4])
    assert len(part) == int((found.labels != 1).sum()) < len(whole) == len(found.labels)
    assert {row["image_id"] for row in whole} == {5}
    assert {row["file_name"] for row in whole} == {"a.jpg"}
    with pytest.raises(UserError, match="expected at most 1"):
        coco_results(found, 5, [1])
