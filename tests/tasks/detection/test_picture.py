import numpy as np
import pytest
import torch
from PIL import Image

from spanetv2.drawing import save_picture
from spanetv2.errors import UserError
from spanetv2.tasks.detection.picture import class_colour, draw_objects, sheet

BOX = torch.tensor([[100.0, 200.0, 300.0, 400.0]])
LABEL = torch.tensor([2])
NAMES = ["cat", "dög"]


def pixels(picture):
    return np.array(picture).astype(int)


def test_masks_boxes_and_names_are_drawn_where_they_belong():
    grey = Image.new("RGB", (500, 600), (128, 128, 128))
    plain = pixels(draw_objects(grey, BOX, LABEL, NAMES))
    whole = pixels(
        draw_objects(
            grey,
            BOX,
            LABEL,
            NAMES,
            scores_N=torch.tensor([0.97]),
            masks_N1MM=torch.ones(1, 1, 28, 28),
        )
    )
    colour = np.array(class_colour(2))
    assert (plain[300, 100] == colour).all()  # the box's left edge
    assert (plain[300, 200] == 128).all()  # nothing inside without a mask
    mixed = 0.55 * 128 + 0.45 * colour
    np.testing.assert_allclose(whole[300, 200], mixed, atol=1)
    assert (whole[500, 200] == 128).all()
    assert (whole[198, 101] == colour).all()  # the name's background, above the box
    names = [(image[180:200, 100:300] == colour).all(-1).sum() for image in (plain, whole)]
    assert names[1] > names[0]  # with a score it is longer


def test_annotated_masks_are_drawn_pixel_by_pixel():
    mask = torch.zeros(1, 600, 500, dtype=torch.uint8)
    mask[0, 250:300, 150:200] = 1
    black = Image.new("RGB", (500, 600))
    picture = pixels(draw_objects(black, BOX, LABEL, NAMES, pixels_NHW=mask))
    inside = (picture[230:380, 120:280].sum(-1) > 0).nonzero()
    assert (inside[0].min() + 230, inside[0].max() + 230) == (250, 299)
    assert (inside[1].min() + 120, inside[1].max() + 120) == (150, 199)


def test_the_first_object_is_on_top():
    boxes = torch.tensor([[50.0, 50, 400, 400], [50.0, 50, 400, 400]])
    masks = torch.ones(2, 1, 28, 28)
    white = Image.new("RGB", (500, 500), "white")
    picture = pixels(draw_objects(white, boxes, torch.tensor([1, 2]), NAMES, masks_N1MM=masks))
    expected = 0.55 * (0.55 * 255 + 0.45 * np.array(class_colour(2)))
    np.testing.assert_allclose(
        picture[200, 200], expected + 0.45 * np.array(class_colour(1)), atol=1
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [((3, 5), (192, 320)), ((320, 100), (320, 100)), ((16_000, 4_000), (1600, 400))],
)
def test_pictures_of_tiny_and_huge_images_can_be_read(size, expected):
    image = torch.zeros(3, size[1], size[0], dtype=torch.uint8)
    box = torch.tensor([[0.0, 0.0, *size]])
    masks = torch.ones(1, 1, 28, 28)
    picture = draw_objects(image, box, LABEL, NAMES, masks_N1MM=masks)
    assert picture.size == expected
    assert (pixels(picture)[expected[1] // 2, expected[0] // 2] > 0).any()


def test_nothing_found_leaves_the_image_as_it_is():
    image = torch.randint(0, 256, (3, 400, 500), dtype=torch.uint8)
    none = torch.zeros(0, dtype=torch.int64)
    picture = draw_objects(
        image, torch.zeros(0, 4), none, NAMES, masks_N1MM=torch.zeros(0, 1, 2, 2)
    )
    np.testing.assert_array_equal(pixels(picture), image.permute(1, 2, 0).numpy())


def test_labels_without_names_are_refused():
    with pytest.raises(UserError, match="labels 3 to 3 and 2 names"):
        draw_objects(Image.new("RGB", (9, 9)), BOX, torch.tensor([3]), NAMES)


def test_a_sheet_holds_all_pictures(tmp_path):
    rows = [[Image.new("RGB", (400, 100), "red"), Image.new("RGB", (50, 60), "blue")]] * 3
    page = sheet(rows, cell=100)
    assert page.size == (2 * 108 + 8, 3 * 108 + 8)
    colours = {tuple(c) for c in pixels(page).reshape(-1, 3).tolist()}
    assert {(255, 0, 0), (0, 0, 255), (255, 255, 255)} <= colours
    save_picture(page, tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as saved:
        assert saved.size == page.size
    with pytest.raises(UserError, match="no picture"):
        sheet([])


def test_neighbouring_classes_have_different_colours():
    colours = np.array([class_colour(label) for label in range(1, 81)])
    assert len({tuple(c) for c in colours.tolist()}) > 75
    assert np.abs(np.diff(colours, axis=0)).sum(1).min() > 60
