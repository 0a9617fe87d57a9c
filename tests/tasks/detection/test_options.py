import json

import pytest

from spanetv2.errors import UserError
from spanetv2.tasks.detection.options import CascadeStage, DetectorOptions


def test_options_survive_json():
    options = DetectorOptions(
        system="cascade_mask_rcnn",
        fpn_channels=32,
        cascade_ious=(0.4, 0.6),
        cascade_stds=((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1)),
        cascade_weights=(1.0, 0.3),
        anchor_ratios=(1.0,),
    )
    assert DetectorOptions(**json.loads(json.dumps(options.to_dict()))) == options
    assert options.stages[1] == CascadeStage(iou=0.6, stds=(0.05, 0.05, 0.1, 0.1), loss_weight=0.3)


def test_the_defaults_are_the_published_cascade():
    options = DetectorOptions(system="cascade_mask_rcnn")
    assert [stage.iou for stage in options.stages] == [0.5, 0.6, 0.7]
    assert [stage.loss_weight for stage in options.stages] == [1.0, 0.5, 0.25]
    assert [stage.stds for stage in options.stages] == [
        (0.1, 0.1, 0.2, 0.2),
        (0.05, 0.05, 0.1, 0.1),
        (0.033, 0.033, 0.067, 0.067),
    ]
    assert (options.box_loss, options.box_loss_weight) == ("giou", 10.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": "yolo"}, "system is 'yolo', expected one of mask_rcnn"),
        ({"fpn_channels": 0}, "fpn_channels is 0, expected 1 to 65536"),
        ({"nms": 0.0}, "nms is 0.0, expected above 0"),
        ({"anchor_sizes": (8, 16)}, "expected five sides"),
        ({"cascade_ious": (0.5, 0.6)}, "expected as many as cascade_stds and cascade_weights"),
        (
            {"cascade_ious": (0.5, 0.6, 1.0)},
            "cascade_ious is 1.0, expected a number between 0 and 1",
        ),
        ({"cascade_stds": ((0.1, 0.1),) * 3}, "expected four positive numbers"),
        ({"cascade_weights": (1.0, 0.5, -1.0)}, "cascade_weights is -1.0, expected 0 or more"),
        ({"min_size": 900, "max_size": 800}, "min_size is 900, expected at most max_size"),
        ({"std": (0.0, 1.0, 1.0)}, "expected positive numbers"),
    ],
)
def test_options_refuse_what_makes_no_detector(changes, message):
    with pytest.raises(UserError, match=message):
        DetectorOptions(**changes)
