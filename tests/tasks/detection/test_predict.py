import numpy as np
import pytest
import torch
from PIL import Image
from small_detectors import light_detector

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.tasks.detection.masks import decode_mask
from spanetv2.tasks.detection.predict import Prediction, predict, read_pixels


@pytest.fixture
def detector():
    return light_detector(score_threshold=0.0)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a", (40, 60)), ("b", (1, 1)), ("c", (300, 4)), ("d", (64, 64))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    return tmp_path


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (2, 2)])
def test_predict_gives_every_file_in_order(detector, folder, batch_size, workers):
    (folder / "bb.png").write_bytes(b"")
    results = list(predict(detector, [folder], score=0, batch_size=batch_size, workers=workers))
    assert [str(r.path)[len(str(folder)) + 1 :] for r in results] == [
        *("a.png", "b.png", "bb.png", "c.png", "d.png"),
    ]
    assert results[2] == Failure(str(folder / "bb.png"), "an empty file")
    for result in results[:2] + results[3:]:
        assert isinstance(result, Prediction)
        pixels = read_pixels(result.path)
        assert torch.equal(result.image, pixels)
        with torch.no_grad():
            [expected] = detector([pixels.float() / 255])
        assert len(result.boxes)
        if batch_size == 1:  # larger ones are padded to one size, which the network sees
            assert torch.equal(result.boxes, expected["boxes"])
            assert torch.equal(result.scores, expected["scores"])
            masks = np.stack([decode_mask(mask) for mask in result.found().masks or []])
            np.testing.assert_array_equal(masks, (expected["masks"][:, 0] >= 0.5).numpy())


def test_predict_leaves_out_low_scores(detector, folder):
    [whole] = predict(detector, [folder / "a.png"], score=0)
    middle = float(whole.scores.median())
    [part] = predict(detector, [folder / "a.png"], score=middle)
    assert 0 < len(part.scores) < len(whole.scores)
    assert len(part.masks) == len(part.boxes) == len(part.scores)
    assert (part.scores >= middle).all()


def test_grey_and_transparent_images_become_three_colours(tmp_path):
    Image.new("L", (5, 4), 128).save(tmp_path / "grey.png")
    pixels = read_pixels(str(tmp_path / "grey.png"))
    assert pixels.shape == (3, 4, 5)
    assert pixels.dtype == torch.uint8
    assert (pixels == 128).all()


@pytest.mark.parametrize("options", [{"score": 1.5}, {"batch_size": 0}, {"workers": -1}])
def test_predict_refuses_settings_out_of_range(detector, folder, options):
    with pytest.raises(UserError, match="expected 0 to 1"):
        next(predict(detector, [folder], **options))
