"""Streams under loaders, with workers: what each sample's fate is."""

import gc
import io
import json
import tarfile
import warnings
from typing import Any

import pytest
import torch
from PIL import Image

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.loader import eval_loader, train_loader
from spanetv2.tasks.classification.data.readers import TimmStream
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset

pytest.importorskip("webdataset")
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

SHARDS, PER_SHARD = 4, 6


@pytest.fixture(autouse=True)
def third_party_leaks():
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (2, 2), value).save(stream, "PNG")
    return stream.getvalue()


def write_shards(folder, spoiled=()):
    names = [f"s-{shard}.tar" for shard in range(SHARDS)]
    for shard, name in enumerate(names):
        with tarfile.open(folder / name, "w") as archive:
            for i in range(PER_SHARD):
                value = shard * PER_SHARD + i
                content = png(value)
                for ending, data in (
                    ("png", content[:40] if value in spoiled else content),
                    ("cls", str(value % 2).encode()),
                ):
                    info = tarfile.TarInfo(f"{value:03}.{ending}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    split = {
        "name": "train",
        "num_samples": SHARDS * PER_SHARD,
        "filenames": names,
        "shard_lengths": [PER_SHARD] * SHARDS,
    }
    (folder / "_info.json").write_text(json.dumps({"splits": {"train": split}}))


def value_of(image: Image.Image) -> torch.Tensor:
    value = image.getpixel((0, 0))
    assert isinstance(value, int)
    return torch.tensor(value)


def stream(folder, *, training=False, on_error: Any = "raise") -> TimmStream:
    spec = DatasetSpec(name="wds", root=str(folder), classes=["even", "odd"])
    source = open_dataset(spec, value_of, training=training, batch_size=4, on_error=on_error)
    assert isinstance(source, TimmStream)
    return source


@pytest.mark.parametrize("workers", [0, 2])
def test_eval_loader_gives_every_sample_of_a_stream_once(tmp_path, workers):
    write_shards(tmp_path)
    batches = list(eval_loader(stream(tmp_path), batch_size=4, workers=workers))
    values = torch.cat([values for values, _ in batches])
    targets = torch.cat([targets for _, targets in batches])
    assert sorted(values.tolist()) == list(range(24))
    assert torch.equal(targets, values % 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_train_loader_keeps_its_promised_length_on_a_stream(tmp_path, workers):
    write_shards(tmp_path)
    loader = train_loader(stream(tmp_path, training=True), batch_size=4, seed=0, workers=workers)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    assert all(torch.equal(targets, values % 2) for values, targets in batches)


def test_train_loader_reshuffles_a_stream_by_epoch(tmp_path):
    write_shards(tmp_path)
    source = stream(tmp_path, training=True)
    loader = train_loader(source, batch_size=4, seed=0, workers=1)
    orders = []
    for epoch in (0, 1, 0):
        source.set_epoch(epoch)
        orders.append([value for values, _ in loader for value in values.tolist()])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(24))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_raises_on_a_damaged_sample_of_a_stream(tmp_path, workers):
    write_shards(tmp_path, spoiled=[13])
    with pytest.raises(ImageError, match="webdataset error"):
        list(train_loader(stream(tmp_path, training=True), batch_size=4, seed=0, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_counts_skipped_samples_of_a_stream_over_workers(tmp_path, workers):
    write_shards(tmp_path, spoiled=[1, 13, 14])
    source = stream(tmp_path, on_error="skip")
    loader = eval_loader(source, batch_size=4, workers=workers, on_error="skip")
    assert sum(len(batch.batch[1]) for batch in loader) == 21
    assert source.skipped == 3


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_eval_loader_does_not_take_a_broken_stream_for_its_end(tmp_path, on_error):
    class Reader:
        num_samples = 9

        def set_loader_cfg(self, num_workers):
            pass

        def __iter__(self):
            yield Image.new("L", (2, 2)), 0
            raise OSError("connection lost")

    source = TimmStream(
        Reader(),
        name="far",
        reader_classes=["a"],
        classes=None,
        transform=value_of,
        on_error=on_error,
    )
    with pytest.raises(ImageError, match="far: connection lost"):
        list(eval_loader(source, batch_size=4, on_error=on_error))


def test_train_loader_refuses_uneven_batches_on_a_stream(tmp_path):
    write_shards(tmp_path)
    with pytest.raises(UserError, match="batch of 5 over 2"):
        train_loader(stream(tmp_path, training=True), batch_size=5, seed=0, world=2)
