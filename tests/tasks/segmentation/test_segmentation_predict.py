import numpy as np
import pytest
import segmentation_data
import torch
from PIL import Image
from torch import nn

from spanetv2.data.images import Failure
from spanetv2.tasks.segmentation.data.transforms import Preprocessing
from spanetv2.tasks.segmentation.inference import Inference
from spanetv2.tasks.segmentation.predict import FolderWriter, predict

PLAIN = Preprocessing(size=None, mean=(0.0,) * 3, std=(1.0,) * 3)
PALETTE = [tuple(map(int, colour)) for colour in segmentation_data.COLOURS]


class ByColour(nn.Module):
    def __init__(self):
        super().__init__()
        self.colours = torch.tensor(segmentation_data.COLOURS).float() / 255
        self.sizes = []

    def forward(self, x_BCHW):
        assert not self.training
        self.sizes.append(tuple(x_BCHW.shape))
        return -(x_BCHW[:, None] - self.colours[None, :, :, None, None]).square().sum(2)


def write(folder, count, size=(24, 32)):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(segmentation_data.scene(i, size)[0]).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_predict_gives_labels_at_the_images_size(tmp_path, batch_size, workers):
    folder = write(tmp_path / "in", 4)
    write(tmp_path / "in", 1, size=(30, 21))  # the first one has another size than the others
    model = ByColour().train()
    settings = {"preprocessing": PLAIN, "batch_size": batch_size, "workers": workers}
    found = list(predict(model, [folder], **settings))
    assert [entry.path for entry in found] == [str(folder / f"{i}.png") for i in range(4)]
    for i, entry in enumerate(found):
        size = (24, 32) if i else (30, 21)
        assert np.array_equal(entry.labels, segmentation_data.scene(i, size)[1])
        assert entry.image.size == size[::-1]


def test_predict_shows_same_sized_images_together(tmp_path):
    model = ByColour()
    list(predict(model, [write(tmp_path / "in", 4)], preprocessing=PLAIN, batch_size=3))
    assert model.sizes == [(3, 3, 24, 32), (1, 3, 24, 32)]


def test_predict_by_windows_sees_nothing_larger(tmp_path):
    model = ByColour()
    folder = write(tmp_path / "in", 1)
    settings = Inference(window=10)
    (entry,) = predict(model, [folder], preprocessing=PLAIN, inference=settings)
    assert np.array_equal(entry.labels, segmentation_data.scene(0)[1])
    assert {size[2:] for size in model.sizes} == {(10, 10)}


def test_predict_reports_what_cannot_be_read(tmp_path):
    folder = write(tmp_path / "in", 2)
    (folder / "0b.png").write_bytes(b"text")
    found = list(predict(ByColour(), [folder, tmp_path / "no.png"], preprocessing=PLAIN))
    assert [isinstance(entry, Failure) for entry in found] == [False, True, False, True]
    assert found[1].path == str(folder / "0b.png")
    assert found[3].reason == "no such file or directory"


def test_writer_makes_label_images_and_overlays(tmp_path):
    found = predict(
        ByColour(), [write(tmp_path / "a", 1), write(tmp_path / "b", 2)], preprocessing=PLAIN
    )
    writer = FolderWriter(tmp_path / "out", classes=segmentation_data.NAMES, palette=PALETTE)
    written = [writer.write(*row) for row in zip(found, ("0", "0-2", "1"), strict=True)]
    names = [entry.labels.name for entry in written]
    assert names == ["0.png", "0-2.png", "1.png"]
    for entry, seed in zip(written, (0, 0, 1), strict=True):
        labels = segmentation_data.scene(seed)[1]
        with Image.open(entry.labels) as image:
            assert np.array_equal(np.asarray(image), labels)
        with Image.open(entry.overlay) as image:
            assert image.height == 24
            assert image.width > 32
        counts = np.bincount(labels.ravel(), minlength=3) / labels.size
        assert entry.shares == pytest.approx(
            {
                name: share
                for name, share in zip(segmentation_data.NAMES, counts, strict=True)
                if share
            }
        )
        assert list(entry.shares.values()) == sorted(entry.shares.values(), reverse=True)
    assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == [
        *("0-2.jpg", "0-2.png", "0.jpg", "0.png", "1.jpg", "1.png")
    ]
