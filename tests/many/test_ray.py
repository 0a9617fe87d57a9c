"""Predicting on a Ray cluster of two nodes gives what one process gives, byte by byte."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spanetv2
from spanetv2.errors import ConfigError, UserError
from spanetv2.many.urls import find_sources, read_url
from spanetv2.scenes import SceneSettings, write_scenes
from tests.support.s3_stub import bucket_of

pytest.importorskip("ray")

CLASSIFIER = "spanetv2_pico_pure.fashion_mnist"
SEGMENTER = "spanetv2_pico_pure.scenes_semantic_fpn"
DETECTOR = "spanetv2_pico_pure.scenes_mask_rcnn"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images, below two folders, and a file that is none."""
    data = tmp_path / "scenes"
    write_scenes(data, train=0, val=4, settings=SceneSettings(size=96))
    folder = tmp_path / "photos"
    (folder / "b ü").mkdir(parents=True)
    for i, path in enumerate(sorted((data / "images/validation").iterdir())):
        path.rename(folder / ("b ü" if i % 2 else "") / f"{i}.jpg")
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "grey.png")
    (folder / "broken.png").write_bytes(b"text")
    return folder


def run(*commands: list[str]) -> list[tuple[int, str, str]]:
    """Exit status, standard output and error of commands beside a cluster of two nodes."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    found = subprocess.run(
        [sys.executable, Path(__file__).parent / "ray_nodes.py"],
        input="\n".join(map(json.dumps, commands)),
        env={**os.environ, **keys, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    lines = [line for line in found.stdout.splitlines() if line.startswith("[")]
    return [tuple(json.loads(line)) for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    """All files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_ray_cluster_answers_as_one_process(photos: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    ray = ["--engine", "ray", "--device"]
    with bucket_of(tmp_path) as query:
        # a batch an image to both nodes from paths; all at once to one from an object store
        url, missing = f"s3://bucket/photos{query}", f"s3://bucket/photos/none.png{query}"
        batch = ["--batch-size", "8"]
        plain_and_ray = run(
            ["predict", SEGMENTER, str(photos), "--out", f"{one}/s"],
            ["predict", SEGMENTER, str(photos), "--out", f"{two}/s", *ray, "cpu,cpu"],
            ["predict", DETECTOR, str(photos), f"{photos}/none.png", "--out", f"{one}/d", *batch],
            ["predict", DETECTOR, url, missing, "--out", f"{two}/d", *batch, *ray, "cpu"],
            ["predict", CLASSIFIER, str(photos)],
            ["predict", CLASSIFIER, url, *ray, "auto"],
        )
    for plain, by_ray in zip(plain_and_ray[::2], plain_and_ray[1::2], strict=True):
        assert plain[0] == by_ray[0] == 1, by_ray[2]  # an image cannot be read
        assert plain[1].count("\n") >= 5
        assert named(by_ray[1], tmp_path) == plain[1]
        assert errors(named(by_ray[2], tmp_path)) == errors(plain[2])
    assert f"error: {photos}/none.png: no such file or directory" in errors(plain_and_ray[2][2])
    assert contents(two / "s") == contents(one / "s")
    plain, by_ray = contents(one / "d"), contents(two / "d")
    for files in (plain, by_ray):  # what the images are called is in them, by digests too
        assert len(files.pop("rows/1-of-1.jsonl")) > len(files.pop("manifest.json"))
    assert (
        named(by_ray.pop("results.json").decode(), tmp_path) == plain.pop("results.json").decode()
    )
    assert len(plain) == 5
    assert by_ray == plain


def named(said: str, folder: Path) -> str:
    """With paths of files in the place of URLs."""
    return said.replace("s3://bucket", str(folder))


def errors(said: str) -> list[str]:
    """Lines about single images."""
    lines = said.replace("\r", "\n").splitlines()
    return [line for line in lines if line.startswith("error: ")]


def test_urls_give_the_images_that_paths_give(photos: Path) -> None:
    local = list(find_sources([str(photos), str(photos / "0.jpg")]))
    by_url = list(find_sources([f"{photos.as_uri()}/?x=1", f"{photos.as_uri()}/0.jpg"]))
    assert len(by_url) == len(local) == 7
    for (entry, path), (name, source) in zip(local, by_url, strict=True):
        assert isinstance(name, str)
        assert name.removeprefix("file://") == entry
        assert source.removesuffix("?x=1") == Path(path).as_uri()
        assert read_url(source) == read_url(name) == Path(path).read_bytes()
    with pytest.raises(FileNotFoundError):
        read_url(f"{photos.as_uri()}/nothing.png")
    with pytest.raises(UserError, match=r"got ftpx://a, expected a path, or a URL"):
        list(find_sources(["ftpx://a"]))
    (photos / "empty").mkdir()
    ((failure, _),) = find_sources([(photos / "empty").as_uri()])
    assert failure == (f"{(photos / 'empty').as_uri()}", "a folder without images")


def test_an_address_without_a_cluster_is_refused(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unheard:  # bound, and not listening
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        for told in (address, f"ray://{address}", "127.0.0.1:99999"):
            monkeypatch.setenv("RAY_ADDRESS", told)
            with pytest.raises(UserError, match=f"no Ray cluster answers at {told} .* RAY_ADDRESS"):
                spanetv2.predict(CLASSIFIER, photos, engine="ray")


def test_engines_and_devices_that_are_none_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got s3://a/b, expected .* read with --engine ray"):
        spanetv2.predict(CLASSIFIER, ["cat.jpg", "s3://a/b"])
    with pytest.raises(ConfigError, match="got engine 'slurm', expected local or ray"):
        spanetv2.predict(CLASSIFIER, photos, engine="slurm")
    for device in ("cuda:1", "cpu,cuda", "mps"):
        with pytest.raises(UserError, match=r"got device '.*' with --engine ray, expected auto"):
            spanetv2.predict(CLASSIFIER, photos, engine="ray", device=device)
