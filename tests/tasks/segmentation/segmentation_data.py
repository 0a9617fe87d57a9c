"""Small data sets in both layouts: coloured rectangles, whose colour tells their class."""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ["ground", "red", "green"]
COLOURS = np.array([[40, 40, 40], [220, 30, 30], [30, 200, 30]], dtype=np.uint8)


def scene(seed: int, size: tuple[int, int] = (24, 32)) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) and its labels (H, W): ground, with a red and a green rectangle."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, dtype=np.uint8)
    for label in (1, 2):
        top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
        labels[top : top + size[0] // 3, left : left + size[1] // 3] = label
    return COLOURS[labels], labels


def write(root: Path, *, ade: bool = False, counts=(4, 2), size=(24, 32)) -> Path:
    """Write a data set and give its folder."""
    masks, splits = (
        ("annotations", ("training", "validation")) if ade else ("masks", ("train", "val"))
    )
    for split, count in zip(splits, counts, strict=True):
        for kind in ("images", masks):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            image, labels = scene(100 * splits.index(split) + i, size)
            Image.fromarray(image).save(root / "images" / split / f"scene_{i}.png")
            if ade:
                labels = labels + 1
                labels[0, :3] = 0
            Image.fromarray(labels).save(root / masks / split / f"scene_{i}.png")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root
