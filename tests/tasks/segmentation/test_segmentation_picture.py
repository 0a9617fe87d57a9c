import numpy as np
from PIL import Image

from spanetv2.tasks.segmentation.picture import label_image, overlay, sheet, with_legend

PALETTE = [(0, 0, 200), (200, 0, 0), (0, 200, 0)]
LABELS = np.array([[0, 0, 1], [1, 255, 1]], dtype=np.uint8)


def test_label_image_keeps_its_values_in_a_file(tmp_path):
    image = label_image(LABELS, PALETTE)
    image.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == "P"
        assert np.array_equal(np.asarray(read), LABELS)
        colours = np.asarray(read.convert("RGB"))
    assert colours[0, 2].tolist() == [200, 0, 0]
    assert colours[1, 1].tolist() == [0, 0, 0]


def test_overlay_mixes_colours_and_leaves_the_rest():
    image = Image.new("L", (3, 2), 100)
    mixed = np.asarray(overlay(image, LABELS, PALETTE, strength=0.5)).astype(int)
    assert mixed[0, 0].tolist() == [50, 50, 150]
    assert mixed[1, 0].tolist() == [150, 50, 50]
    assert mixed[1, 1].tolist() == [100, 100, 100]


def test_legend_lists_the_classes_that_occur():
    labels = np.zeros((120, 160), dtype=np.uint8)
    labels[:, :40] = 2
    image = overlay(Image.new("RGB", (160, 120), "white"), labels, PALETTE)
    result = with_legend(image, labels, ["sea", "fire", "grass"], PALETTE)
    assert result.height == 120
    assert np.array_equal(np.asarray(result)[:, :160], np.asarray(image))
    panel = np.asarray(result)[:, 160:].reshape(-1, 3)
    seen = {tuple(map(int, pixel)) for pixel in panel}
    assert PALETTE[0] in seen
    assert PALETTE[2] in seen
    assert PALETTE[1] not in seen
    squares = np.asarray(result)[:, 160:]
    first, second = (
        (squares == colour).all(-1).any(1).argmax() for colour in (PALETTE[0], PALETTE[2])
    )
    assert first < second  # largest first


def test_legend_of_many_classes_fits():
    labels = np.arange(40 * 200, dtype=np.int64).reshape(40, 200) % 150
    palette = [(i, 255 - i, 0) for i in range(150)]
    image = Image.new("RGB", (200, 40))
    result = with_legend(
        image, labels.astype(np.uint8), [f"class {i}" for i in range(150)], palette
    )
    assert result.size[1] == 40
    assert result.size[0] > 400


def test_sheet_shows_image_truth_and_prediction(tmp_path):
    truth = np.zeros((40, 60), dtype=np.uint8)
    truth[:, 30:] = 1
    rows = [(Image.new("RGB", (60, 40), "white"), truth, 1 - truth)] * 2
    sheet(rows, ["sea", "fire", "grass"], PALETTE, tmp_path / "new" / "s.png", height=80)
    with Image.open(tmp_path / "new" / "s.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    row = pixels[24 + 40]
    blue, red = [38, 38, 208], [208, 38, 38]  # 0.85 of the colour over white
    middle = [row[8 + 128 + x] for x in (30, 90)]
    right = [row[8 + 256 + x] for x in (30, 90)]
    assert row[8 + 60].tolist() == [255, 255, 255]
    for got, expected in zip([*middle, *right], [blue, red, red, blue], strict=True):
        assert np.abs(got - expected).max() <= 2
