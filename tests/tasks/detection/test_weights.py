import pytest
import torch
from small_detectors import light_detector

import spanetv2
from spanetv2.errors import UserError
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.detection.weights import load_detector, save_detector, start_from

CLASSES = ["cat", "dög", "n01440764"]


@pytest.mark.parametrize("system", ["mask_rcnn", "cascade_mask_rcnn"])
def test_a_saved_detector_comes_back_whole(tmp_path, system):
    detector = light_detector(system=system, backbone="pico_hybrid").eval()
    path = tmp_path / "weights.safetensors"
    save_detector(detector, path, classes=CLASSES, category_ids=[1, 5, 90], extra={"box_ap": 0.5})
    again, record = load_detector(tmp_path)
    assert not again.training
    assert again.options == detector.options
    assert record.classes == CLASSES
    assert record.extra["category_ids"] == [1, 5, 90]
    assert record.extra["box_ap"] == 0.5
    assert record.model_name == "spanetv2_pico_hybrid"
    image = torch.rand(3, 64, 64)
    with torch.no_grad():
        expected, got = detector([image])[0], again([image])[0]
    assert len(expected["boxes"])
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_detector_on_another_backbone_comes_back(tmp_path):
    detector = light_detector(backbone="pico_pure")
    from spanetv2.tasks.detection.model import create_detector

    detector = create_detector("resnet10t", 3, detector.options, drop_path_rate=0.1)
    save_detector(detector, tmp_path / "weights.safetensors", classes=CLASSES)
    again, record = load_detector(tmp_path / "weights.safetensors")
    assert record.model_name == "resnet10t"
    for name, value in detector.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_test_settings_can_be_changed(tmp_path):
    save_detector(light_detector(), tmp_path / "w.safetensors", classes=CLASSES)
    detector, _ = load_detector(tmp_path / "w.safetensors", score_threshold=0.0, detections=7)
    assert detector.options.score_threshold == detector.roi_heads.score_thresh == 0.0
    assert detector.roi_heads.detections_per_img == 7


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match="got 2 class names, expected 3"):
        save_detector(light_detector(), path, classes=CLASSES[:2])
    with pytest.raises(UserError, match="got 1 category ids, expected 3"):
        save_detector(light_detector(), path, classes=CLASSES, category_ids=[1])
    assert not path.exists()
    spanetv2.save_weights(spanetv2.create_model("pico_pure", num_classes=3), path)
    with pytest.raises(UserError, match="task 'classification', expected a detector"):
        load_detector(path)
    detector = light_detector()
    save_detector(detector, path, classes=CLASSES)
    record = read_checkpoint(path)
    del record.state_dict["rpn.head.cls_logits.bias"]
    with pytest.raises(UserError, match=r"do not fit .*rpn.head.cls_logits.bias"):
        load_detector(record)
    record = read_checkpoint(path)
    record.extra["detector"]["future"] = 1
    with pytest.raises(UserError, match="newer version"):
        load_detector(record)


def test_classification_tools_refuse_a_detector(tmp_path):
    save_detector(light_detector(), tmp_path / "w.safetensors", classes=CLASSES)
    with pytest.raises(UserError, match="detection"):
        spanetv2.load_model(tmp_path / "w.safetensors")


@pytest.mark.parametrize("system", ["mask_rcnn", "cascade_mask_rcnn"])
def test_training_goes_on_from_a_detector_of_other_classes(tmp_path, system):
    save_detector(light_detector(system=system), tmp_path / "w.safetensors", classes=CLASSES)
    record = read_checkpoint(tmp_path / "w.safetensors")
    new = light_detector(num_classes=5, system=system)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    kept = start_from(new, record)
    assert len(kept) == 6 * (1 if system == "mask_rcnn" else 3)
    for name, value in new.state_dict().items():
        expected = before[name] if name in kept else record.state_dict[name]
        assert torch.equal(value, expected), name
    same = light_detector(system=system)
    assert start_from(same, record) == []
    with pytest.raises(UserError, match="weights of another detector"):
        start_from(light_detector(system=system, fpn_channels=24), record)
