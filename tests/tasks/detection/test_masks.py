import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from spanetv2.tasks.detection.masks import decode_mask, encode_masks, encode_pixels, mask_windows

SIZE = (50, 70)
BOXES = torch.tensor(
    [
        [10.3, 5.6, 40.2, 30.9],
        [0.0, 0.0, 70.0, 50.0],
        [60.5, 40.5, 70.0, 50.0],
        [33.0, 20.0, 33.4, 20.3],
        [0.0, 12.0, 9.9, 49.5],
    ]
)


@pytest.fixture
def masks():
    return torch.rand(len(BOXES), 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_masks_are_put_where_torchvision_puts_them(masks):
    expected = paste_masks_in_image(masks, BOXES, SIZE)[:, 0] >= 0.5
    got = np.stack([decode_mask(mask) for mask in encode_masks(masks, BOXES, SIZE)])
    assert expected.flatten(1).any(1)[[0, 1, 2, 4]].all()
    np.testing.assert_array_equal(got, expected.numpy())


def test_windows_are_no_larger_than_their_boxes_and_a_border(masks):
    for (top, left, window), box in zip(mask_windows(masks, BOXES, SIZE), BOXES, strict=True):
        width, height = (box[2:] - box[:2]).tolist()
        assert window.shape[0] <= 1.1 * height + 3
        assert window.shape[1] <= 1.1 * width + 3
        assert top + window.shape[0] <= SIZE[0]
        assert left + window.shape[1] <= SIZE[1]


def test_a_mask_in_a_huge_image_costs_its_box():
    size = (30_000, 40_000)
    boxes = torch.tensor([[100.0, 200.0, 180.0, 260.0]])
    [(top, left, window)] = mask_windows(torch.ones(1, 1, 28, 28), boxes, size)
    assert window.size < 10_000
    assert (top, left) == (197, 97)


def test_pixels_and_run_lengths_are_the_same_thing():
    masks = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)) > 0.7
    encoded = encode_pixels(masks.to(torch.uint8))
    assert [mask["size"] for mask in encoded] == [list(SIZE)] * 3
    assert all(isinstance(mask["counts"], str) for mask in encoded)
    np.testing.assert_array_equal(np.stack([decode_mask(m) for m in encoded]), masks.numpy())
    assert encode_pixels(torch.zeros(0, *SIZE)) == []
    assert encode_masks(torch.zeros(0, 1, 28, 28), torch.zeros(0, 4), SIZE) == []
