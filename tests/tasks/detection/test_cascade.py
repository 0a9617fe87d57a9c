"""Each part of the cascade against numbers worked out apart from it."""

import copy

import pytest
import torch
from small_detectors import light_detector, rectangles
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops import generalized_box_iou

from spanetv2.tasks.detection.cascade import CascadeRoIHeads, _moved, _Samples

OBJECTS = ([[4.0, 6.0, 30.0, 40.0], [30.0, 20.0, 60.0, 62.0]], [1, 3])
EMPTY = ([], [])


def cascade(**options):
    return light_detector(system="cascade_mask_rcnn", **options)


def losses_of(detector, *scenes, seed=3):
    images, targets = zip(*(rectangles(*scene) for scene in scenes), strict=True)
    torch.manual_seed(seed)
    return detector.train()(images, targets)


def one_stage(detector):
    """A detector whose heads are another's, in a cascade of one."""
    detector = copy.deepcopy(detector)
    detector.roi_heads = CascadeRoIHeads(
        [detector.roi_heads], loss_weights=[1.0], box_loss="smooth_l1", box_loss_weight=1.0
    )
    return detector


# one stage is Mask R-CNN -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torchvision_detector():
    """torchvision's own model on our pyramid, and ours with the same weights."""
    ours = light_detector(num_classes=3)
    o = ours.options
    theirs = MaskRCNN(
        copy.deepcopy(ours.pyramid),
        min_size=o.min_size,
        max_size=o.max_size,
        rpn_anchor_generator=copy.deepcopy(ours.rpn.anchor_generator),
        rpn_head=copy.deepcopy(ours.rpn.head),
        rpn_pre_nms_top_n_train=o.proposals_before_nms_train,
        rpn_pre_nms_top_n_test=o.proposals_before_nms_test,
        rpn_post_nms_top_n_train=o.proposals_train,
        rpn_post_nms_top_n_test=o.proposals_test,
        rpn_batch_size_per_image=o.rpn_samples,
        box_head=copy.deepcopy(ours.roi_heads.box_head),
        box_predictor=copy.deepcopy(ours.roi_heads.box_predictor),
        mask_head=copy.deepcopy(ours.roi_heads.mask_head),
        mask_predictor=copy.deepcopy(ours.roi_heads.mask_predictor),
        box_batch_size_per_image=o.roi_samples,
        box_detections_per_img=o.detections,
        _skip_resize=True,  # in training, where it would draw a size
    )
    return theirs, ours


def test_one_stage_has_torchvisions_losses_and_gradients(torchvision_detector):
    theirs, ours = torchvision_detector
    expected = losses_of(theirs, OBJECTS, EMPTY)
    got = losses_of(one_stage(ours), OBJECTS, EMPTY)
    pairs = {
        "rpn_objectness": "loss_objectness",
        "rpn_box": "loss_rpn_box_reg",
        "stage0_classifier": "loss_classifier",
        "stage0_box": "loss_box_reg",
        "stage0_mask": "loss_mask",
    }
    assert got.keys() == pairs.keys()
    for own, their in pairs.items():
        assert expected[their] > 0
        torch.testing.assert_close(got[own], expected[their], rtol=1e-6, atol=0)
    detector = one_stage(ours)
    sum(losses_of(detector, OBJECTS, EMPTY).values()).backward()
    theirs.zero_grad()
    sum(losses_of(theirs, OBJECTS, EMPTY).values()).backward()
    gradients = {n: p.grad for n, p in detector.named_parameters()}
    for name, parameter in theirs.named_parameters():
        name = name.replace("backbone.backbone.", "pyramid.backbone.")
        name = name.replace("backbone.fpn.", "pyramid.fpn.")
        name = name.replace("roi_heads.", "roi_heads.stages.0.")
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_one_stage_has_torchvisions_detections(torchvision_detector, average):
    theirs, ours = torchvision_detector
    images = [rectangles(*OBJECTS)[0], rectangles([[1.0, 2.0, 50.0, 40.0]], [2], (64, 80))[0]]
    detector = one_stage(ours).eval()
    detector.roi_heads.score_average = average
    with torch.no_grad():
        for mine, other in zip(detector(images), theirs.eval()(images), strict=True):
            assert len(other["boxes"]) == 20
            assert mine.keys() == other.keys()
            # ours resizes with a filter against aliasing; both images are too large for it to act
            for name in mine:
                torch.testing.assert_close(mine[name], other[name], rtol=1e-5, atol=1e-5)


# thresholds --------------------------------------------------------------------------------------


def test_each_stage_matches_at_its_own_overlap():
    detector = cascade()
    true = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    # the same height and a smaller width: the overlap is the ratio of widths
    widths = [49.0, 51.0, 59.0, 61.0, 69.0, 71.0]
    proposals = torch.tensor([[0.0, 0.0, width, 100.0] for width in widths])
    found = []
    for stage in detector.roi_heads.stages:
        _, labels = stage.assign_targets_to_proposals([proposals], [true], [torch.tensor([2])])
        found.append(labels[0].tolist())
    assert found == [[0, 2, 2, 2, 2, 2], [0, 0, 0, 2, 2, 2], [0, 0, 0, 0, 0, 2]]


def test_objects_are_candidates_of_every_stage_and_not_handed_on():
    detector = cascade()
    stage = detector.roi_heads.stages[0]
    _, target = rectangles(*OBJECTS)
    proposals = [torch.tensor([[3.0, 5.0, 31.0, 42.0], [0.0, 0.0, 5.0, 5.0]])]
    torch.manual_seed(0)
    samples = _Samples(stage, proposals, [target])
    assert samples.labels[0].tolist() == [1, 0, 1, 3]
    assert samples.added[0].tolist() == [False, False, True, True]
    torch.testing.assert_close(samples.matched_boxes[0][[0, 2, 3]], target["boxes"][[0, 0, 1]])
    refined = samples.refined(torch.zeros(4, 4), torch.zeros(4, 16), [(64, 64)])
    torch.testing.assert_close(refined[0], proposals[0])


# decoding ----------------------------------------------------------------------------------------


def test_each_stage_decodes_with_its_own_deviations():
    boxes = [torch.tensor([[20.0, 20.0, 30.0, 40.0]])]
    deltas = torch.zeros(1, 16)
    deltas[0, 4 * 2 : 4 * 3] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    for stage, (centre, side) in zip(
        cascade().roi_heads.stages, [(0.1, 0.2), (0.05, 0.1), (0.033, 0.067)], strict=True
    ):
        moved = _moved(stage, boxes, deltas, torch.tensor([2]), [(64, 64)])[0][0]
        x, y = 25 + centre * 10, 30 - centre * 20
        w = 10 * torch.tensor(side).exp().item()
        h = 20 * torch.tensor(-side).exp().item()
        expected = torch.tensor([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5)
        # deltas of another class do nothing
        other = _moved(stage, boxes, deltas, torch.tensor([1]), [(64, 64)])[0]
        torch.testing.assert_close(other, boxes[0])


def test_refined_boxes_follow_the_objects_class_or_the_best_one_and_stay_inside():
    stage = cascade().roi_heads.stages[0]
    _, target = rectangles([[4.0, 6.0, 30.0, 40.0]], [1])
    proposals = [torch.tensor([[4.0, 6.0, 29.0, 40.0], [40.0, 40.0, 60.0, 60.0]])]
    samples = _Samples(stage, proposals, [target])
    assert samples.labels[0].tolist() == [1, 0, 1]
    logits = torch.tensor([[0.0, 0.0, 9.0, 0.0], [9.0, 0.0, 0.0, 1.0], [0.0, 9.0, 0.0, 0.0]])
    deltas = torch.zeros(3, 4, 4)
    deltas[:, 1, 0] = 1.0  # class 1: a tenth of the width to the right
    deltas[:, 2, 0] = -1.0
    deltas[:, 3, 0] = 5.0  # class 3: half the width to the right
    first, second = samples.refined(logits, deltas.flatten(1), [(64, 64)])[0]
    # the object's class is 1, whatever scores best; background takes the best class but itself
    torch.testing.assert_close(first, torch.tensor([6.5, 6.0, 31.5, 40.0]))
    torch.testing.assert_close(second, torch.tensor([50.0, 40.0, 64.0, 60.0]))


class Fixed(nn.Module):
    """A predictor that says the same of every box."""

    def __init__(self, logits, delta_x):
        super().__init__()
        self.logits = torch.tensor(logits)
        self.delta_x = delta_x

    def forward(self, x):
        deltas = torch.zeros(len(x), 4, 4)
        deltas[:, :, 0] = self.delta_x
        return self.logits.expand(len(x), -1), deltas.flatten(1)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_test_time_boxes_go_through_all_stages_and_scores_are_averaged(average):
    detector = cascade(masks=False, score_average=average).eval()
    rows = [[0.0, 3.0, 1.0, 0.0], [1.0, 2.0, 3.0, 0.0], [0.0, 4.0, 0.0, 2.0]]
    for stage, logits in zip(detector.roi_heads.stages, rows, strict=True):
        stage.box_predictor = Fixed(logits, 1.0)
    proposals = [torch.tensor([[10.0, 10.0, 30.0, 30.0]])]
    features = detector.pyramid(torch.zeros(1, 3, 64, 64))
    [result], _ = detector.roi_heads(features, proposals, [(64, 64)])
    shift = 20 * (0.1 + 0.05 + 0.033)
    best = result["scores"].argmax()
    assert result["labels"][best] == 1
    torch.testing.assert_close(
        result["boxes"][best], torch.tensor([10 + shift, 10.0, 30 + shift, 30.0])
    )
    table = torch.tensor(rows)
    expected = table.mean(0).softmax(0) if average == "logits" else table.softmax(1).mean(0)
    torch.testing.assert_close(result["scores"][best], expected[1])


def test_masks_are_the_mean_of_all_stages_probabilities():
    detector = cascade(score_threshold=0.0).eval()
    features = detector.pyramid(torch.rand(1, 3, 64, 64))
    proposals = [torch.tensor([[10.0, 10.0, 30.0, 30.0], [5.0, 20.0, 60.0, 60.0]])]
    with torch.no_grad():
        [result], _ = detector.roi_heads(features, proposals, [(64, 64)])
        boxes, labels = [result["boxes"]], result["labels"]
        masks = []
        for stage in detector.roi_heads.stages:
            pooled = stage.mask_roi_pool(features, boxes, [(64, 64)])
            logits = stage.mask_predictor(stage.mask_head(pooled))
            masks.append(logits[torch.arange(len(labels)), labels].sigmoid())
    assert len(labels) > 3
    assert (masks[0] - masks[1]).abs().max() > 1e-3
    torch.testing.assert_close(result["masks"][:, 0], sum(masks) / 3)


# losses ------------------------------------------------------------------------------------------


def test_stages_weigh_one_half_and_a_quarter():
    whole = losses_of(cascade(cascade_weights=(1.0, 1.0, 1.0)), OBJECTS)
    got = losses_of(cascade(), OBJECTS)
    assert len(got) == 2 + 3 * 3
    for name, loss in got.items():
        stage = int(name[5]) if name.startswith("stage") else 0
        torch.testing.assert_close(loss, whole[name] * 0.5**stage, rtol=1e-6, atol=0)
        assert loss > 0, name


def test_the_box_loss_is_ten_times_giou_over_all_sampled_boxes():
    heads = cascade().roi_heads
    stage = heads.stages[1]
    _, target = rectangles(*OBJECTS)
    near = target["boxes"] + torch.tensor([1.0, -1.0, 2.0, 1.0])
    far = torch.tensor([[0.0, 0.0, 9.0, 9.0], [50.0, 0.0, 60.0, 9.0], [0.0, 50.0, 9.0, 60.0]])
    samples = _Samples(stage, [torch.cat([near, far])], [target])
    assert samples.labels[0].tolist() == [1, 3, 0, 0, 0, 1, 3]
    deltas = torch.randn(7, 4, 4, generator=torch.Generator().manual_seed(0))
    got = heads._box_loss(stage, deltas.flatten(1), samples)
    total = 0.0
    for i in (0, 1, 5, 6):
        x1, y1, x2, y2 = samples.boxes[0][i].tolist()
        dx, dy, dw, dh = deltas[i, samples.labels[0][i]] * torch.tensor([0.05, 0.05, 0.1, 0.1])
        x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        w, h = (x2 - x1) * dw.exp(), (y2 - y1) * dh.exp()
        box = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])[None]
        total += 1 - generalized_box_iou(box, samples.matched_boxes[0][i][None])[0, 0]
    torch.testing.assert_close(got, 10 * total / 7)


def test_a_stage_learns_nothing_through_the_boxes_of_the_one_before():
    detector = cascade()
    losses = losses_of(detector, OBJECTS)
    earlier = detector.roi_heads.stages[0].box_predictor.bbox_pred.weight
    own = detector.roi_heads.stages[1].box_predictor.bbox_pred.weight
    none, some = torch.autograd.grad(losses["stage1_box"], [earlier, own], allow_unused=True)
    assert none is None
    assert some.abs().sum() > 0


def test_images_without_objects_have_finite_losses_and_teach_that_nothing_is_there():
    detector = cascade()
    losses = losses_of(detector, EMPTY, EMPTY)
    assert all(torch.isfinite(loss) for loss in losses.values())
    for i in range(3):
        assert losses[f"stage{i}_classifier"] > 0
        assert losses[f"stage{i}_box"] == losses[f"stage{i}_mask"] == 0
    sum(losses.values()).backward()
    # every parameter takes part, or several processes would wait for it for ever
    assert [n for n, p in detector.named_parameters() if p.grad is None] == []


def test_the_box_heads_are_as_published():
    detector = light_detector(system="cascade_mask_rcnn", box_convs=4)
    for stage in detector.roi_heads.stages:
        convs = [m for m in stage.box_head.modules() if isinstance(m, nn.Conv2d)]
        assert [(c.kernel_size, c.bias) for c in convs] == [((3, 3), None)] * 4
        norms = [m for m in stage.box_head.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(norms) == 4
        assert sum(isinstance(m, nn.Linear) for m in stage.box_head.modules()) == 1
        assert stage.box_predictor.bbox_pred.out_features == 4 * 4
    assert len({id(stage.mask_head) for stage in detector.roi_heads.stages}) == 3
