import pytest
import torch
from small_detectors import light_detector, rectangles

from spanetv2.errors import UserError
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions

SYSTEMS = ["mask_rcnn", "cascade_mask_rcnn"]
SCENES = [
    rectangles([[4.0, 6.0, 30.0, 40.0], [30.0, 20.0, 60.0, 62.0]], [1, 3]),
    rectangles([[10.0, 10.0, 50.0, 40.0]], [2], (48, 80)),
]
IMAGES, TARGETS = map(list, zip(*SCENES, strict=True))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("backbone", ["pico_pure", "pico_hybrid"])
def test_every_parameter_gets_a_gradient(system, backbone):
    # all anchors, so that there are some of each level
    detector = light_detector(system=system, backbone=backbone, rpn_samples=2000)
    sum(detector(IMAGES, TARGETS).values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "size", [(64, 64), (1, 1), (3, 700), (900, 2), (50, 333)], ids=lambda s: f"{s[0]}x{s[1]}"
)
def test_detections_lie_inside_images_of_any_shape(system, size):
    detector = light_detector(system=system, score_threshold=0.0).eval()
    with torch.no_grad():
        [result] = detector([torch.rand(3, *size)])
    count = len(result["boxes"])
    assert result["masks"].shape == (count, 1, *size)
    assert result["labels"].shape == result["scores"].shape == (count,)
    boxes = result["boxes"]
    assert boxes.isfinite().all()
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([size[1], size[0], size[1], size[0]]) + 1e-3).all()
    assert (result["scores"].diff() <= 0).all()
    assert set(result["labels"].tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_tiny_first_image_does_not_spoil_later_ones(system):
    image = torch.rand(3, 64, 64)
    fresh = light_detector(system=system).eval()
    used = light_detector(system=system).eval()
    with torch.no_grad():
        used([torch.rand(3, 200, 2)])
        expected, got = fresh([image])[0], used([image])[0]
    assert len(expected["boxes"])
    torch.testing.assert_close(got, expected)


def test_a_batch_gives_what_its_images_give():
    detector = light_detector(system="cascade_mask_rcnn").eval()
    images = [torch.rand(3, 64, 64), torch.rand(3, 64, 64)]
    with torch.no_grad():
        together = detector(torch.stack(images))
        apart = [detector([image])[0] for image in images]
    for both, one in zip(together, apart, strict=True):
        torch.testing.assert_close(both["boxes"], one["boxes"], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(both["scores"], one["scores"], rtol=1e-4, atol=1e-5)


class FixedHeads(torch.nn.Module):
    """Heads that find the same box in every image."""

    def forward(self, features, proposals, image_shapes):
        self.image_shapes = image_shapes
        return [{"boxes": torch.tensor([[8.0, 16.0, 32.0, 60.0]])} for _ in image_shapes], {}


def test_images_are_resized_and_boxes_come_back_in_their_own_pixels():
    detector = light_detector(min_size=64, max_size=100).eval()
    detector.roi_heads = FixedHeads()
    sizes = [(192, 192), (64, 80), (50, 200), (10, 15)]
    results = detector.detect([torch.rand(3, *size) for size in sizes])
    assert detector.roi_heads.image_shapes == [(64, 64), (64, 80), (25, 100), (64, 96)]
    expected = [[24, 48, 96, 180], [8, 16, 32, 60], [16, 32, 64, 120], [1.25, 2.5, 5, 9.375]]
    for result, box in zip(results, expected, strict=True):
        torch.testing.assert_close(result["boxes"], torch.tensor([box], dtype=torch.float32))


def test_crowds_are_left_out_of_training():
    detector = light_detector()
    image, target = SCENES[0]
    with_crowd = {
        "boxes": torch.cat([target["boxes"], torch.tensor([[0.0, 0.0, 64.0, 64.0]])]),
        "labels": torch.tensor([1, 3, 2]),
        "masks": torch.cat([target["masks"], torch.ones(1, 64, 64, dtype=torch.uint8)]),
        "iscrowd": torch.tensor([0, 0, 1]),
    }
    torch.manual_seed(0)
    expected = detector([image], [target])
    torch.manual_seed(0)
    got = detector([image], [with_crowd])
    assert got == expected


def test_a_detector_without_masks_learns_from_boxes():
    detector = light_detector(masks=False)
    target = {k: v for k, v in TARGETS[0].items() if k != "masks"}
    losses = detector(IMAGES[:1], [target])
    assert losses.keys() == {"rpn_objectness", "rpn_box", "classifier", "box"}
    assert detector.eval()(IMAGES[:1])[0].keys() == {"boxes", "labels", "scores"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.tensor([1, 4])}, "labels 1 to 4, expected 1 to 3"),
        ({"labels": torch.tensor([1])}, r"expected \(N, 4\) and \(N,\)"),
        ({"boxes": torch.tensor([[1.0, 1, 1, 5], [0, 0, 5, 5]])}, "box without area"),
        ({"masks": torch.zeros(2, 5, 5)}, "masks of .5, 5. pixels for an image of"),
        ({"masks": None}, "detector with masks=False"),
    ],
)
def test_targets_that_do_not_fit_are_refused(change, message):
    target = {k: v for k, v in {**TARGETS[0], **change}.items() if v is not None}
    with pytest.raises(UserError, match=message):
        light_detector()(IMAGES[:1], [target])


def test_training_without_targets_is_refused():
    with pytest.raises(UserError, match="got targets for none of 2 images"):
        light_detector()(IMAGES)


def test_weights_that_are_not_finite_are_an_error_and_not_an_empty_result():
    detector = light_detector().eval()
    with torch.no_grad():
        next(detector.pyramid.parameters())[0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        detector(IMAGES)


@pytest.mark.parametrize("system", SYSTEMS)
def test_mixed_precision_keeps_boxes_and_losses_in_float32(system):
    detector = light_detector(system=system)
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector(IMAGES, TARGETS)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = detector.pyramid(torch.rand(1, 3, 64, 64))
        logits, deltas = detector.rpn.head(list(features.values()))
        anchors = detector.rpn.anchor_generator(
            type("Images", (), {"image_sizes": [(64, 64)]}), list(features.values())
        )
    assert features["0"].dtype == torch.bfloat16
    assert {x.dtype for x in (*logits, *deltas, *anchors)} == {torch.float32}


def test_anchors_lie_at_the_strides_of_the_levels():
    detector = light_detector(anchor_ratios=(1.0,))
    # 96 rows: the fifth level has 2 of them, 48 pixels apart by torchvision's guess
    features = detector.pyramid.eval()(torch.zeros(1, 3, 96, 96))
    images = type("Images", (), {"image_sizes": [(96, 96)]})
    [anchors] = detector.rpn.anchor_generator(images, list(features.values()))
    coarsest = anchors[-4:]
    centres = (coarsest[:, :2] + coarsest[:, 2:]) / 2
    assert centres.tolist() == [[0, 0], [64, 0], [0, 64], [64, 64]]


def test_the_paper_detector_has_its_settings():
    with torch.device("meta"):
        detector = create_detector("s18_pure", 80, DetectorOptions(system="cascade_mask_rcnn"))
    assert detector.rpn._post_nms_top_n == {"training": 1000, "testing": 1000}
    assert detector.rpn._pre_nms_top_n == {"training": 2000, "testing": 1000}
    assert detector.transform.min_size == (800,)
    assert detector.transform.max_size == 1333
    with pytest.raises(UserError, match="num_classes=0"):
        create_detector("pico_pure", 0)
