"""Streams under loaders, with workers: what each sample's fate is."""

import gc
import io
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
from spanetv2.tasks.classification.data.shards import ShardStream
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset
from tests.support.shards import write_shards

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


def write_stream(folder, spoiled=()):
    samples = []
    for value in range(SHARDS * PER_SHARD):
        content = png(value)
        samples.append((content[:40] if value in spoiled else content, value % 2))
    write_shards(folder, {"train": samples}, each=PER_SHARD)


def value_of(image: Image.Image) -> torch.Tensor:
    value = image.getpixel((0, 0))
    assert isinstance(value, int)
    return torch.tensor(value)


def stream(folder, transform=value_of, *, training=False, on_error: Any = "raise") -> ShardStream:
    spec = DatasetSpec(name="wds", root=str(folder), classes=["even", "odd"])
    source = open_dataset(spec, transform, training=training, batch_size=4, on_error=on_error)
    assert isinstance(source, ShardStream)
    return source


@pytest.mark.parametrize("workers", [0, 2])
def test_eval_loader_gives_every_sample_of_a_stream_once(tmp_path, workers):
    write_stream(tmp_path)
    batches = list(eval_loader(stream(tmp_path), batch_size=4, workers=workers))
    values = torch.cat([values for values, _ in batches])
    targets = torch.cat([targets for _, targets in batches])
    assert sorted(values.tolist()) == list(range(24))
    assert torch.equal(targets, values % 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_train_loader_keeps_its_promised_length_on_a_stream(tmp_path, workers):
    write_stream(tmp_path)
    loader = train_loader(stream(tmp_path, training=True), batch_size=4, seed=0, workers=workers)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    assert all(torch.equal(targets, values % 2) for values, targets in batches)


def test_train_loader_reshuffles_a_stream_by_epoch(tmp_path):
    write_stream(tmp_path)
    loader = train_loader(stream(tmp_path, training=True), batch_size=4, seed=0, workers=1)
    orders = []
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        orders.append([value for values, _ in loader for value in values.tolist()])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(24))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_raises_on_a_damaged_sample_of_a_stream(tmp_path, workers):
    write_stream(tmp_path, spoiled=[13])
    with pytest.raises(ImageError, match=r"train-2\.tar/013\.png: not an image"):
        list(train_loader(stream(tmp_path, training=True), batch_size=4, seed=0, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_counts_skipped_samples_of_a_stream_over_workers(tmp_path, workers):
    write_stream(tmp_path, spoiled=[1, 13, 14])
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

        def set_epoch(self, count):
            pass

        def __iter__(self):
            yield Image.new("L", (2, 2)), 0
            raise OSError("connection lost")

    source = TimmStream(
        Reader(),
        name="far",
        classes=["a"],
        table=[0],
        transform=value_of,
        on_error=on_error,
    )
    with pytest.raises(ImageError, match="far: connection lost"):
        list(eval_loader(source, batch_size=4, on_error=on_error))


def test_train_loader_refuses_uneven_batches_on_a_stream(tmp_path):
    write_stream(tmp_path)
    with pytest.raises(UserError, match="batch of 5 over 2"):
        train_loader(stream(tmp_path, training=True), batch_size=5, seed=0, world=2)


def varied(image: Image.Image) -> torch.Tensor:
    return torch.stack([value_of(image).float(), torch.rand(())])


def after(loader, epoch, batch=0):
    """The batches of an epoch from one on."""
    loader.start(epoch, batch)
    return torch.stack([images for images, _ in loader])


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_stream_loader_goes_on_anywhere_as_if_it_had_not_stopped(tmp_path, workers, persistent):
    write_stream(tmp_path)
    options = {"batch_size": 4, "seed": 0, "workers": workers, "persistent_workers": persistent}
    loader = train_loader(stream(tmp_path, varied, training=True), **options)
    before = torch.get_rng_state()
    whole = [after(loader, epoch) for epoch in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(whole[0][..., 1].sort()[0], whole[1][..., 1].sort()[0])
    for batch in (1, 2, 3, 5):
        loader = train_loader(stream(tmp_path, varied, training=True), **options)
        assert torch.equal(after(loader, 1, batch), whole[1][batch:])
        loader.set_epoch(1)  # as a trainer does; without effect
        loader.set_epoch(0)
        assert torch.equal(torch.stack([images for images, _ in loader]), whole[0])


def test_stream_goes_on_without_decoding_what_it_passes_over(tmp_path):
    write_stream(tmp_path, spoiled=range(1, 24))
    loader = train_loader(stream(tmp_path, training=True), batch_size=4, seed=0)
    loader.start(0, 5)
    with pytest.raises(ImageError):
        list(loader)
    loader.start(0, 6)
    assert list(loader) == []


def test_stream_loaders_of_several_processes_share_the_samples(tmp_path):
    write_stream(tmp_path)
    seen = {"train": [], "eval": []}
    for rank in range(2):
        source = stream(tmp_path, training=True)
        loader = train_loader(source, batch_size=4, seed=0, rank=rank, world=2, workers=2)
        seen["train"] += [value for values, _ in loader for value in values.tolist()]
        loader = eval_loader(stream(tmp_path), batch_size=4, rank=rank, world=2)
        seen["eval"] += [value for values, _ in loader for value in values.tolist()]
    assert sorted(seen["train"]) == sorted(seen["eval"]) == list(range(24))


def test_eval_loader_gives_the_last_samples_of_every_worker(tmp_path):
    # 12 samples of each worker in batches of 5: 6 batches, not the 5 of 24 samples
    write_stream(tmp_path)
    batches = list(eval_loader(stream(tmp_path), batch_size=5, workers=2))
    assert sorted(len(targets) for _, targets in batches) == [2, 2, 5, 5, 5, 5]


def test_train_loader_refuses_more_processes_than_shards(tmp_path):
    write_stream(tmp_path)
    with pytest.raises(
        UserError, match=r"got 6 loading processes for the 4 shards .*data\.workers"
    ):
        train_loader(stream(tmp_path, training=True), batch_size=4, seed=0, world=2, workers=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_says_in_one_line_which_label_has_no_class(tmp_path, workers):
    write_shards(tmp_path, {"train": [(png(value), 2 * value) for value in range(2)]}, each=1)
    source = stream(tmp_path, training=True)
    with pytest.raises(UserError) as caught:
        list(train_loader(source, batch_size=1, seed=0, workers=workers))
    assert str(caught.value) == f"got label 2 at {tmp_path}/train-1.tar/001.png, expected 0 to 1"


def test_stream_names_samples_without_image_or_label(tmp_path):
    for ending, said in (("jpeg2", "no image, expected a member"), ("png", "label None, expected")):
        with tarfile.open(tmp_path / "train-0.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo(f"a.{ending}"))
            if ending != "png":
                label = tarfile.TarInfo("a.cls")
                label.size = 1
                archive.addfile(label, io.BytesIO(b"1"))
        spec = DatasetSpec(name="wds", root=str(tmp_path), split="train-0.tar", classes=["a", "b"])
        with pytest.raises(ImageError, match=rf"train-0\.tar/a: {said}"):
            list(open_dataset(spec))  # pyright: ignore[reportArgumentType]


def test_hugging_face_stream_goes_on_anywhere(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    for value in range(12):
        folder = tmp_path / "data" / "train" / str(value % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{value}.png").write_bytes(png(value))
    spec = DatasetSpec(
        name="hfids", root=str(tmp_path / "data"), num_samples=12, classes=["0", "1"]
    )

    def loader():
        source = open_dataset(spec, varied, training=True, batch_size=4)
        return train_loader(source, batch_size=4, seed=0)

    whole = after(loader(), 1)
    assert len(whole) == 3
    assert torch.equal(after(loader(), 1, 2), whole[2:])
    assert not torch.equal(after(loader(), 0), whole)
