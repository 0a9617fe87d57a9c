import gc
import gzip
import io
import json
import tarfile
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.folder import FolderSource
from spanetv2.tasks.classification.data.readers import TorchvisionSource
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset
from spanetv2.tasks.classification.data.stream import StreamSource


def png(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(stream, "PNG")
    return stream.getvalue()


def write(path, colour=(1, 2, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(colour))


def opened(**values) -> ImageSource:
    source = open_dataset(DatasetSpec(**values))
    assert isinstance(source, ImageSource)
    return source


@pytest.fixture
def third_party_leaks():
    """webdataset leaves shards open when a stream is left; collect that here."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def streamed(transform=None, training=False, on_error: Any = "raise", **values) -> StreamSource:
    source = open_dataset(
        DatasetSpec(**values), transform, training=training, on_error=on_error, batch_size=2
    )
    assert isinstance(source, StreamSource)
    return source


@pytest.fixture
def pets(tmp_path):
    for split, count in (("train", 3), ("validation", 1)):
        for label, name in enumerate(["cat10", "cat2", "dog"]):
            for i in range(count):
                write(tmp_path / split / name / f"{i}.png", (label, i, 7))
    return tmp_path


def test_folder_gives_images_and_labels_in_natural_order(pets):
    source = opened(root=str(pets), split="train")
    assert source.classes == ["cat2", "cat10", "dog"]
    assert len(source) == 9
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    image, label = source[5]
    assert (image.getpixel((0, 0)), label) == ((0, 2, 7), 1)
    assert source.location(5) == str(pets / "train" / "cat10" / "2.png")


@pytest.mark.parametrize("split", ["val", "valid", "validation"])
def test_folder_finds_a_split_by_its_synonyms(pets, split):
    assert len(opened(root=str(pets), split=split)) == 3


def test_folder_accepts_the_split_folder_itself(pets):
    assert len(opened(root=str(pets / "train"), split="val")) == 9


def test_folder_never_takes_all_splits_for_a_missing_one(pets):
    with pytest.raises(UserError, match=r"no 'test' folder .* there is train, validation"):
        opened(root=str(pets), split="test")


def test_folder_takes_images_further_down_as_of_the_class_at_the_top(tmp_path):
    write(tmp_path / "dog" / "2021" / "june" / "a.png")
    write(tmp_path / "dog" / "b.png")
    write(tmp_path / "ünïcode 1" / "c d.PNG")
    source = opened(root=str(tmp_path))
    assert source.classes == ["dog", "ünïcode 1"]
    assert [source[i][1] for i in range(3)] == [0, 0, 1]


def test_folder_maps_a_subset_of_classes_by_name(pets):
    for name in ("cat2", "cat10"):
        (pets / "validation" / name / "0.png").unlink()
    source = opened(root=str(pets), split="val", classes=["cat2", "cat10", "dog", "eel"])
    assert source.classes == ["cat2", "cat10", "dog", "eel"]
    assert [source[i][1] for i in range(len(source))] == [2]


def test_folder_reads_class_names_from_a_file(pets, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("dog\ncat2\n\ncat10\n", encoding="utf-8")
    source = opened(root=str(pets), class_file=str(names))
    assert source.classes == ["dog", "cat2", "cat10"]
    assert [source[i][1] for i in (0, 3, 6)] == [1, 2, 0]


def test_folder_refuses_unknown_classes(pets):
    with pytest.raises(UserError, match=r"unknown classes 'cat10' in .*only the 2 known ones"):
        opened(root=str(pets), classes=["cat2", "dog"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "with no images in sub-folders"),
        (["readme.txt"], "with no images in sub-folders"),
        (["a.png", "b/c.png"], "image 'a.png' directly in"),
    ],
)
def test_folder_refuses_wrong_layouts(tmp_path, files, message):
    for name in files:
        write(tmp_path / name)
    with pytest.raises(UserError, match=message):
        open_dataset(DatasetSpec(root=str(tmp_path)), training=True)


def test_folder_leaves_out_empty_classes_in_evaluation(tmp_path):
    write(tmp_path / "b" / "x.png")
    (tmp_path / "a").mkdir()
    source = opened(root=str(tmp_path))
    assert (source.classes, source[0][1]) == (["b"], 0)


def test_folder_refuses_a_missing_root(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        opened(root=str(tmp_path / "none"))
    with pytest.raises(UserError, match="got no data folder"):
        opened()


def test_folder_ignores_hidden_entries_and_links_in_circles(tmp_path):
    write(tmp_path / "a" / "x.png")
    write(tmp_path / "a" / "._x.png")
    write(tmp_path / "a" / ".checkpoints" / "x.png")
    write(tmp_path / ".cache" / "y.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    assert len(opened(root=str(tmp_path))) == 1


def test_folder_raises_on_a_damaged_image_and_names_it(pets):
    path = pets / "train" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:-30])
    source = opened(root=str(pets))
    with pytest.raises(ImageError, match=str(path)):
        source[7]


def test_folder_equals_torchvision_and_timm_on_wordnet_names(tmp_path):
    from timm.data.readers.reader_image_folder import ReaderImageFolder
    from torchvision.datasets import ImageFolder

    for name in ("n02123045", "n01440764", "n15075141", "n01443537"):
        for i in range(2):
            write(tmp_path / name / f"{name}_{i}.JPEG")
    ours = FolderSource(tmp_path)
    theirs = ImageFolder(str(tmp_path))
    reader = ReaderImageFolder(str(tmp_path))
    assert ours.classes == theirs.classes == list(reader.class_to_idx)
    assert [(ours.location(i), ours[i][1]) for i in range(8)] == theirs.samples


def test_digits_is_a_fixed_stratified_split():
    train, val = opened(name="digits"), opened(name="digits", split="val")
    assert (len(train), len(val)) == (1437, 360)
    assert train.classes == list("0123456789")
    assert val.labels is not None
    assert np.bincount(val.labels).min() >= 34
    again = opened(name="digits", split="val")
    assert all(val[i][0].tobytes() == again[i][0].tobytes() for i in range(0, 360, 40))
    image, _ = train[0]
    assert (image.mode, image.size) == ("L", (8, 8))
    assert max(np.asarray(train[i][0]).max() for i in range(20)) == 255


def test_digits_parts_hold_every_image_once():
    from sklearn.datasets import load_digits

    parts = [opened(name="digits"), opened(name="digits", split="val")]
    pixels = [np.asarray(part[i][0]).tobytes() for part in parts for i in range(len(part))]
    whole = np.rint(load_digits().images * 15.9375).astype(np.uint8)  # type: ignore[attr-defined]
    assert sorted(pixels) == sorted(image.tobytes() for image in whole)


def idx(array: np.ndarray) -> bytes:
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + shape + array.astype(np.uint8).tobytes()


@pytest.fixture(params=[True, False])
def fashion(request, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path if request.param else tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(exist_ok=True, parents=True)
    for prefix, count in (("train", 6), ("t10k", 4)):
        for kind, values in (
            ("images-idx3", rng.integers(0, 256, (count, 28, 28))),
            ("labels-idx1", np.arange(count)),
        ):
            name = f"{prefix}-{kind}-ubyte"
            if request.param:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
            else:
                (folder / name).write_bytes(idx(values))
    return tmp_path


def test_fashion_mnist_reads_idx_files(fashion):
    expected = np.random.default_rng(0).integers(0, 256, (6, 28, 28))
    train = opened(name="fashion_mnist", root=str(fashion))
    assert (len(train), len(opened(name="fashion_mnist", root=str(fashion), split="val"))) == (6, 4)
    image, label = train[3]
    assert np.array_equal(np.asarray(image), expected[3])
    assert (label, train.classes[label]) == (3, "Dress")


@pytest.mark.parametrize(
    ("fashion", "name"),
    [(True, "fashion_mnist"), (False, "fashion_mnist"), (False, "torch/fashion_mnist")],
    indirect=["fashion"],
)
def test_sets_without_validation_images_declare_their_test_images(fashion, name):
    val, test, train = (
        opened(name=name, root=str(fashion), split=split) for split in ("valid", "testing", "train")
    )
    assert (val.split_note, test.split_note, train.split_note) == ("its test images", "", "")
    assert (len(val), len(test), len(train)) == (4, 4, 6)
    assert all(val[i][0].tobytes() == test[i][0].tobytes() for i in range(4))
    with pytest.raises(UserError, match=f"split 'tset' of {name}, expected train, val or test"):
        opened(name=name, root=str(fashion), split="tset")


def test_fashion_mnist_says_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(UserError, match="dataset-fashion-mnist"):
        opened(name="fashion_mnist", root=str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x" * 99)[:-4])
    with pytest.raises(UserError, match="fetch it again"):
        opened(name="fashion_mnist", root=str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x" * 99))
    with pytest.raises(UserError, match="expected an IDX file"):
        opened(name="fashion_mnist", root=str(tmp_path))
    with pytest.raises(UserError, match="split 'all'"):
        opened(name="fashion_mnist", split="all")


def add(archive: tarfile.TarFile, name: str, content: bytes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("layout", ["one", "split", "per class"])
def test_tar_reads_images_and_classes(tmp_path, layout):
    folder = tmp_path / "train" if layout == "per class" else tmp_path
    folder.mkdir(exist_ok=True)
    if layout == "per class":
        for label, name in enumerate(["ant", "bee"]):
            with tarfile.open(folder / f"{name}.tar", "w") as archive:
                add(archive, "0.png", png((label, 0, 0)))
                add(archive, "1.png", png((label, 1, 0)))
    else:
        with tarfile.open(tmp_path / "train.tar", "w") as archive:
            for label, name in enumerate(["ant", "bee"]):
                for i in range(2):
                    add(archive, f"{name}/{i}.png", png((label, i, 0)))
    root = tmp_path / "train.tar" if layout == "one" else tmp_path
    source = opened(name="tar", root=str(root))
    assert source.classes == ["ant", "bee"]
    items = [source[i] for i in range(4)]
    found = [(image.getpixel((0, 0))[:2], label) for image, label in items]
    assert found == [((0, 0), 0), ((0, 1), 0), ((1, 0), 1), ((1, 1), 1)]
    mapped = opened(name="tar", root=str(root), classes=["bee", "cow", "ant"])
    assert [mapped[i][1] for i in range(4)] == [2, 2, 0, 0]


def test_tar_is_read_by_forked_workers_after_the_parent_read_it(tmp_path):
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        for i in range(40):
            add(archive, f"{'ab'[i % 2]}/{i:02}.png", png((i, 0, 0)))
    source = opened(name="tar", root=str(tmp_path / "data.tar"))
    source.transform = lambda image: image.getpixel((0, 0))[0]
    expected = [source[i][0] for i in range(40)]
    loader = DataLoader(source, batch_size=4, num_workers=2)
    assert [int(v) for batch, _ in loader for v in batch] == expected


def test_tar_names_a_damaged_image(tmp_path):
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        add(archive, "a/good.png", png((0, 0, 0)))
        add(archive, "a/bad.png", png((0, 0, 0))[:44])
    source = opened(name="tar", root=str(tmp_path / "data.tar"))
    with pytest.raises(ImageError, match=r"data\.tar/.*bad\.png: damaged"):
        source[0]


def test_tar_refuses_what_is_no_tar(tmp_path):
    with pytest.raises(UserError, match=r"expected a \.tar file"):
        opened(name="tar", root=str(tmp_path / "none.tar"))
    (tmp_path / "x.tar").write_bytes(b"not a tar")
    with pytest.raises(UserError, match="no readable images"):
        opened(name="tar", root=str(tmp_path / "x.tar"))


def test_torchvision_sets_keep_names_and_labels():
    from torchvision.datasets import FakeData

    fake = FakeData(size=3, image_size=(3, 8, 8), num_classes=2)
    fake.classes = ["yes", ("no", "nay")]  # type: ignore[attr-defined]
    source = TorchvisionSource(fake, name="torch/fake", classes=None)
    assert source.classes == ["yes", "no, nay"]
    assert [source[i][1] for i in range(3)] == [int(fake[i][1]) for i in range(3)]
    assert source[0][0].tobytes() == fake[0][0].tobytes()


def test_torchvision_says_how_to_get_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"cannot open torch/cifar10 in .*allow the download"):
        opened(name="torch/cifar10", root=str(tmp_path))
    with pytest.raises(UserError, match="cannot open torch/nothing"):
        opened(name="torch/nothing", root=str(tmp_path))


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "pets"
    for label, name in enumerate(["ant", "bee"]):
        for i in range(3):
            write(folder / "train" / name / f"{i}.png", (label, i, 9))
    return folder


def test_hfds_reads_a_local_folder(hub_folder):
    pytest.importorskip("datasets")
    source = opened(name="hfds", root=str(hub_folder))
    assert source.classes == ["ant", "bee"]
    found = {(source[i][0].getpixel((0, 0)), source[i][1]) for i in range(len(source))}
    assert found == {((label, i, 9), label) for label in range(2) for i in range(3)}
    mapped = opened(name="hfds", root=str(hub_folder), classes=["bee", "ant"])
    assert sorted(mapped[i][1] for i in range(6)) == [0, 0, 0, 1, 1, 1]
    assert mapped[0][1] != source[0][1]


def test_hfids_streams_a_local_folder(hub_folder):
    pytest.importorskip("datasets")
    source = streamed(name="hfids", root=str(hub_folder), num_samples=6, classes=["ant", "bee"])
    assert source.classes == ["ant", "bee"]
    found = {(image.getpixel((0, 0)), label) for image, label in source}
    assert found == {((label, i, 9), label) for label in range(2) for i in range(3)}


def test_hfds_says_what_it_cannot_open(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="cannot open hfds/"):
        opened(name="hfds", root=str(tmp_path / "empty"))


@pytest.fixture
def shards(tmp_path):
    for shard in range(2):
        with tarfile.open(tmp_path / f"s-{shard}.tar", "w") as archive:
            for i in range(4):
                key = f"{shard}{i}"
                add(archive, f"{key}.png", png((shard, i, 5)))
                add(archive, f"{key}.cls", str(i % 2).encode())
    lengths = {"shard_lengths": [4, 4], "filenames": ["s-0.tar", "s-1.tar"]}
    info = {"splits": {"train": {"name": "train", "num_samples": 8, **lengths}}}
    (tmp_path / "_info.json").write_text(json.dumps(info))
    return tmp_path


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_wds_streams_every_sample_once(shards, third_party_leaks):
    pytest.importorskip("webdataset")
    source = streamed(name="wds", root=str(shards), classes=["even", "odd"])
    assert isinstance(source, StreamSource)
    assert len(source) == 8
    found = [(image.getpixel((0, 0)), label) for image, label in source]
    assert found == [((shard, i, 5), i % 2) for shard in range(2) for i in range(4)]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_wds_shuffles_by_epoch(shards, third_party_leaks):
    pytest.importorskip("webdataset")
    orders = []
    for epoch in (0, 0, 1):
        source = streamed(
            lambda image: image.getpixel((0, 0)),
            training=True,
            name="wds",
            root=str(shards),
            classes=["even", "odd"],
        )
        source.begin(epoch)
        orders.append([image for image, _ in source])
    assert orders[0] == orders[1]
    assert all(len(set(order)) == 8 for order in orders)


def damage(shards):
    with tarfile.open(shards / "s-1.tar", "w") as archive:
        for key, content in (("x", png((1, 1, 1))[:40]), ("y", png((9, 9, 9)))):
            add(archive, f"{key}.png", content)
            add(archive, f"{key}.cls", b"0")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_wds_raises_on_a_damaged_sample(shards, third_party_leaks):
    pytest.importorskip("webdataset")
    damage(shards)
    source = streamed(name="wds", root=str(shards), classes=["even", "odd"])
    with pytest.raises(ImageError, match=r"s-1\.tar/x\.png: not an image"):
        list(source)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_wds_counts_damaged_samples_when_skipping(shards, caplog, third_party_leaks):
    pytest.importorskip("webdataset")
    damage(shards)
    source = streamed(on_error="skip", name="wds", root=str(shards), classes=["even", "odd"])
    assert len(list(source)) == 5
    assert source.skipped == 1
    assert "skipped" in caplog.text


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_wds_needs_class_names_and_right_labels(shards, third_party_leaks):
    pytest.importorskip("webdataset")
    with pytest.raises(UserError, match="does not name its classes"):
        streamed(name="wds", root=str(shards))
    with pytest.raises(UserError, match=r"got label 1 at .*expected 0 to 0"):
        list(streamed(name="wds", root=str(shards), classes=["only"]))


def test_open_dataset_refuses_unknown_names_and_double_classes(tmp_path):
    with pytest.raises(UserError, match="got data set 'imagenet'"):
        opened(name="imagenet")
    with pytest.raises(UserError, match="none twice"):
        opened(name="digits", classes=["a", "a"])
    with pytest.raises(UserError, match="only one of them"):
        opened(name="digits", classes=["a"], class_file="x.txt")
    with pytest.raises(UserError, match=r"cannot read .*expected a class name on each line"):
        opened(name="digits", class_file=str(tmp_path / "none.txt"))


def test_open_dataset_reorders_digits_by_class_names():
    order = list("9876543210")
    source, plain = opened(name="digits", classes=order), opened(name="digits")
    assert [source[i][1] for i in range(20)] == [9 - plain[i][1] for i in range(20)]
    assert torch.equal(torch.tensor(source[3][1]), torch.tensor(9 - plain[3][1]))
