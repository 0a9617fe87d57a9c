"""Predicting on a Ray cluster of two nodes gives what one process gives, byte by byte."""

import json
import os
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


def run(*commands: list[str]) -> list[list]:
    """Exit status, standard output and error of commands beside a cluster of two nodes."""
    found = subprocess.run(
        [sys.executable, Path(__file__).parent / "ray_nodes.py"],
        input="\n".join(map(json.dumps, commands)),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("[")]


def contents(folder: Path) -> dict[str, bytes]:
    """All files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_ray_cluster_answers_as_one_process(photos: Path, tmp_path: Path) -> None:
    commands = []
    for weights in (SEGMENTER, DETECTOR):
        for engine in (["local"], ["ray", "--device", "cpu,cpu"]):
            out = str(tmp_path / f"{weights[-3:]}-{engine[0]}")
            given = ["predict", weights, str(photos), "--out", out, "--engine", *engine]
            commands.append(given)
    url = photos.as_uri()
    for place, engine in ((str(photos), "local"), (url, "ray")):
        missing = f"{place}/missing.png"
        given = ["predict", CLASSIFIER, place, missing, "--batch-size", "4", "--engine", engine]
        commands.append(given)
    *others, (one_status, one, one_said), (two_status, two, two_said) = run(*commands)
    for weights, first, second in zip("fn", others[::2], others[1::2], strict=False):
        assert first[0] == second[0] == 1, second[2]  # an image cannot be read
        assert first[1] == second[1], weights
    for name in (SEGMENTER[-3:], DETECTOR[-3:]):
        files = contents(tmp_path / f"{name}-local")
        assert len(files) > 6
        assert contents(tmp_path / f"{name}-ray") == files
    assert (one_status, two_status) == (1, 1), two_said
    assert len(one.splitlines()) == 5 * 5
    told = [said.replace("%20", " ").replace("%C3%BC", "ü") for said in (two, two_said)]
    assert told[0].replace(url, str(photos)) == one
    assert (
        told[1].replace(url, str(photos)).replace("\r", "\n").splitlines()[-1]
        == (one_said.replace("\r", "\n").splitlines()[-1])
    )
    assert f"error: {url}/missing.png: no such file or directory" in two_said


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


def test_engines_and_devices_that_are_none_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got engine 'slurm', expected local or ray"):
        spanetv2.predict(CLASSIFIER, photos, engine="slurm")
    for device in ("cuda:1", "cpu,cuda", "mps"):
        with pytest.raises(UserError, match=r"got device '.*' with --engine ray, expected auto"):
            spanetv2.predict(CLASSIFIER, photos, engine="ray", device=device)
