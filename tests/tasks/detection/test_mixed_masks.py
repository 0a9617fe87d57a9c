"""Objects that have no mask: what they teach, and what is measured of them."""

import pytest
import torch
from small_detectors import light_detector, rectangles

from spanetv2.tasks.detection.metrics import DetectionMeter

SIZE = (64, 64)
OBJECTS = ([[4.0, 6.0, 30.0, 40.0], [30.0, 20.0, 60.0, 62.0]], [1, 3])
SYSTEMS = ("mask_rcnn", "cascade_mask_rcnn")


def losses_of(system: str, *targets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    detector = light_detector(system=system)
    image, _ = rectangles(*OBJECTS)
    torch.manual_seed(3)
    return detector([image] * len(targets), targets)


def with_masks(*given: bool, noise: int = 0) -> dict[str, torch.Tensor]:
    """The target where only some objects have a mask."""
    _, target = rectangles(*OBJECTS)
    has_mask = torch.tensor(given)
    masks = target["masks"].clone()
    masks[~has_mask] = noise
    return {**target, "masks": masks, "has_mask": has_mask}


@pytest.mark.parametrize("system", SYSTEMS)
def test_saying_that_all_objects_have_masks_changes_nothing(system):
    _, plain = rectangles(*OBJECTS)
    assert losses_of(system, with_masks(True, True)) == losses_of(system, plain)


@pytest.mark.parametrize("system", SYSTEMS)
def test_objects_without_a_mask_teach_class_and_box_alone(system):
    _, plain = rectangles(*OBJECTS)
    whole = losses_of(system, plain)
    part, noisy = (losses_of(system, with_masks(True, False, noise=n)) for n in (0, 1))
    assert part == noisy  # whatever is where their masks would be
    for name, value in whole.items():
        assert (part[name] == value) == (not name.endswith("mask")), name
        assert value.isfinite()
    none = losses_of(system, with_masks(False, False))
    assert all(value.item() == 0 for name, value in none.items() if name.endswith("mask"))
    # an image whose objects have masks beside one whose objects have none
    both = losses_of(system, plain, with_masks(False, False))
    sum(both.values()).backward()  # type: ignore[union-attr]


def target(masks: torch.Tensor | None = None, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    boxes = torch.tensor([[4.0, 4.0, 24.0, 24.0], [30.0, 30.0, 60.0, 60.0]])
    found = {"boxes": boxes, "labels": torch.tensor([1, 2]), **more}
    if masks is not None:
        found["masks"] = masks
    return found


def discs(inside: float = 1.0) -> torch.Tensor:
    return torch.full((2, 1, 28, 28), inside)


def figures(result, wanted):
    meter = DetectionMeter(2)
    meter.update([result], [wanted], [SIZE])
    return meter.compute()


def test_boxes_of_all_and_masks_of_those_that_have_one_are_measured():
    masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
    masks[0, 4:24, 4:24] = 1
    mixed = target(masks, has_mask=torch.tensor([True, False]))
    found = {**target(), "scores": torch.tensor([0.9, 0.8]), "masks": discs()}
    metrics = figures(found, mixed)
    assert metrics.box.ap == metrics.mask.ap == 1
    assert [row.objects for row in metrics.per_class] == [1, 1]
    assert [row.box_ap for row in metrics.per_class] == [1, 1]
    assert [row.mask_ap for row in metrics.per_class] == [1, None]
    # where the second is not found boxes are worse, and masks are not
    first = {name: value[:1] for name, value in found.items()}
    metrics = figures(first, mixed)
    assert metrics.box.ap == pytest.approx(0.5)
    assert metrics.mask.ap == 1
    # its mask, of which nothing is known, is no mistake
    wrong = {**found, "masks": discs()}
    wrong["masks"][1, :, 14:] = 0
    wrong["labels"] = torch.tensor([1, 1])
    same = {**mixed, "labels": torch.tensor([1, 1])}
    assert figures({**wrong, "scores": torch.tensor([0.8, 0.9])}, same).mask.ap == 1
    # one beside all objects is
    aside = {**found, "boxes": found["boxes"] + torch.tensor([[0.0], [0.0]])}
    aside["boxes"] = torch.cat([found["boxes"][:1], torch.tensor([[30.0, 2.0, 60.0, 20.0]])])
    aside |= {"labels": torch.tensor([1, 1]), "scores": torch.tensor([0.8, 0.9])}
    assert figures(aside, same).mask.ap == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("given", [None, torch.zeros(2, *SIZE, dtype=torch.uint8)])
def test_without_a_mask_in_the_data_only_boxes_are_measured(given):
    more = {} if given is None else {"has_mask": torch.tensor([False, False])}
    found = {**target(), "scores": torch.tensor([0.9, 0.8]), "masks": discs()}
    metrics = figures(found, target(given, **more))
    assert metrics.mask is None
    assert metrics.box.ap == 1
    assert metrics.per_class[0].mask_ap is None
