import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.tasks.classification.predict import Prediction, predict


class Colour(nn.Module):
    """Gives the mean of each colour channel as logits."""

    def forward(self, x_BCHW):
        return 9 * x_BCHW.mean(dim=(2, 3))


def to_tensor(image: Image.Image) -> torch.Tensor:
    pixels = np.array(image.convert("RGB").resize((4, 4)), dtype=np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)


def touch(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def picture(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 5), colour).save(path)
    return str(path)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_predict_keeps_order_and_reports_each_problem(tmp_path, workers, batch_size):
    paths = [
        picture(tmp_path / "0.png", "red"),
        touch(tmp_path / "1.jpg"),
        picture(tmp_path / "2.png", "blue"),
        touch(tmp_path / "3.jpg", b"text"),
        str(tmp_path / "4.png"),
        picture(tmp_path / "5.png", "lime"),
    ]
    (tmp_path / "6").mkdir()
    results = list(
        predict(
            Colour(),
            [*paths, tmp_path / "6"],
            transform=to_tensor,
            top_k=2,
            batch_size=batch_size,
            workers=workers,
        )
    )
    assert [result.path for result in results] == [*paths, str(tmp_path / "6")]
    kinds = [result.indices[0] if isinstance(result, Prediction) else "-" for result in results]
    assert kinds == [0, "-", 2, "-", "-", 1, "-"]
    assert [result.reason[:12] for result in results if isinstance(result, Failure)] == [
        "an empty fil",
        "not an image",
        "no such file",
        "a folder wit",
    ]


def test_predict_gives_probabilities_best_first(tmp_path):
    path = picture(tmp_path / "a.png", (255, 0, 128))
    (result,) = predict(Colour(), [path], transform=to_tensor, top_k=10)
    assert isinstance(result, Prediction)
    assert result.indices == [0, 2, 1]
    expected = torch.tensor([9.0, 9 * 128 / 255, 0.0]).softmax(0)
    torch.testing.assert_close(torch.tensor(result.probabilities), expected)


def test_predict_refuses_outputs_that_are_not_finite(tmp_path):
    class Broken(nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3)) * float("nan")

    path = picture(tmp_path / "a.png", "red")
    with pytest.raises(UserError, match=r"a\.png are not finite"):
        list(predict(Broken(), [path], transform=to_tensor))


@pytest.mark.parametrize("options", [{"top_k": 0}, {"batch_size": 0}, {"workers": -1}])
def test_predict_refuses_settings_out_of_range(options):
    with pytest.raises(UserError, match="expected at least"):
        list(predict(Colour(), [], transform=to_tensor, **options))


def test_predict_needs_no_more_memory_for_more_files(tmp_path):
    path = picture(tmp_path / "a.png", "red")

    def peak(count):
        tracemalloc.start()
        results = predict(Colour(), (path for _ in range(count)), transform=to_tensor, batch_size=8)
        assert sum(isinstance(result, Prediction) for result in results) == count
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(80)  # imports and caches
    # what is kept of a file takes more than 100 bytes
    assert peak(800) < peak(80) + 60_000
