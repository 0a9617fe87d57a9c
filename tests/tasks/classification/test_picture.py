"""Pictures: they are written whole, and they change when, and only where, the data do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.tasks.classification.picture import (
    SheetRow,
    confusion_matrix,
    prediction_sheet,
    training_curves,
)

VERMILION = (0xD5, 0x5E, 0x00)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def count_colour(path: Path, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels(path) - colour).max(axis=-1) <= 2).sum())


def write_metrics(path: Path, *, scale: float = 1.0, steps: int = 40) -> Path:
    lines = ["epoch,lr-AdamW,step,train/loss,val/loss,val/top1"]
    for step in range(steps):
        lines.append(f"{step // 10},{1e-3 * (steps - step)},{step},{scale / (step + 1)},,")
        if step % 10 == 9:
            lines.append(f"{step // 10},,{step},,{scale / (step + 2)},{0.9 - scale / (step + 2)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def tiles(count: int) -> list[Image.Image]:
    return [Image.fromarray(np.full((8, 8), 20 * i % 256, dtype=np.uint8)) for i in range(count)]


def test_training_curves_shows_the_values(tmp_path: Path) -> None:
    first, again, other = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    training_curves(write_metrics(tmp_path / "one.csv"), first)
    training_curves(tmp_path / "one.csv", again)
    training_curves(write_metrics(tmp_path / "two.csv", scale=0.5), other)
    assert np.array_equal(pixels(first), pixels(again))
    assert not np.array_equal(pixels(first), pixels(other))


def test_training_curves_leaves_out_panels_without_data(tmp_path: Path) -> None:
    (tmp_path / "loss.csv").write_text("epoch,step,train/loss\n0,0,2.0\n0,1,1.0\n")
    training_curves(tmp_path / "loss.csv", tmp_path / "loss.png")
    training_curves(write_metrics(tmp_path / "all.csv"), tmp_path / "all.png")
    one, three = pixels(tmp_path / "loss.png").shape[1], pixels(tmp_path / "all.png").shape[1]
    assert three == pytest.approx(3 * one, abs=4)


def test_training_curves_smooths_long_runs_and_survives_gaps(tmp_path: Path) -> None:
    rows = [f"{i // 50},{i},{'nan' if i == 70 else 1 / (i + 1)}" for i in range(200)]
    (tmp_path / "long.csv").write_text("\n".join(["epoch,step,train/loss", *rows]))
    training_curves(tmp_path / "long.csv", tmp_path / "long.png")
    assert (tmp_path / "long.png").stat().st_size > 1000


def test_training_curves_refuses_other_tables(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,age\nx,1\n")
    with pytest.raises(UserError, match=r"expected the metrics\.csv of a training run"):
        training_curves(tmp_path / "x.csv", tmp_path / "x.png")
    with pytest.raises(UserError, match=r"cannot read .*missing\.csv"):
        training_curves(tmp_path / "missing.csv", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_confusion_matrix_shows_where_the_mistakes_are(tmp_path: Path) -> None:
    right = np.diag([5, 5, 5])
    above, below = right.copy(), right.copy()
    above[0, 2] = below[2, 0] = 3
    for name, matrix in (("right", right), ("above", above), ("below", below)):
        confusion_matrix(matrix, ["a", "b", "c"], tmp_path / f"{name}.png")
    plain, upper, lower = (pixels(tmp_path / f"{n}.png") for n in ("right", "above", "below"))
    # True class 0 taken for class 2 lies in the top right of the map, not in the bottom left.
    rows, columns = np.nonzero((plain != upper).any(axis=-1))
    inside = columns < 0.75 * plain.shape[1]  # left of the colour bar
    assert np.median(rows[inside & (rows > 40)]) < np.median(
        np.nonzero((plain != lower).any(-1))[0]
    )
    assert not np.array_equal(upper, lower)


def test_confusion_matrix_draws_a_thousand_classes(tmp_path: Path) -> None:
    confusion_matrix(np.eye(1000), [f"class {i}" for i in range(1000)], tmp_path / "m.png")
    assert max(pixels(tmp_path / "m.png").shape) < 2000


def test_confusion_matrix_of_no_images_is_drawn(tmp_path: Path) -> None:
    confusion_matrix(np.zeros((2, 2)), ["a", "b"], tmp_path / "m.png")
    assert (tmp_path / "m.png").is_file()


def test_confusion_matrix_refuses_a_wrong_number_of_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shape \(3, 3\) for 2 class names"):
        confusion_matrix(np.eye(3), ["a", "b"], tmp_path / "m.png")


def test_prediction_sheet_frames_mistakes_and_shows_them_first(tmp_path: Path) -> None:
    right = [SheetRow(predicted="cat", probability=0.9, true="cat") for _ in range(4)]
    wrong = [*right[:3], SheetRow(predicted="dog", probability=0.6, true="cat")]
    prediction_sheet(tiles(4), right, tmp_path / "right.png")
    prediction_sheet(tiles(4), wrong, tmp_path / "wrong.png")
    assert count_colour(tmp_path / "right.png", VERMILION) == 0
    image = pixels(tmp_path / "wrong.png")
    framed = np.nonzero((np.abs(image - VERMILION).max(axis=-1) <= 2).any(axis=0))[0]
    assert framed.size > 0
    assert framed.max() < 0.3 * image.shape[1]  # the last image was wrong, and came first


def test_prediction_sheet_keeps_to_its_limit(tmp_path: Path) -> None:
    rows = [SheetRow(predicted="x", probability=1.0) for _ in range(30)]
    prediction_sheet(tiles(30), rows, tmp_path / "all.png")
    prediction_sheet(tiles(30), rows, tmp_path / "few.png", limit=8)
    assert pixels(tmp_path / "all.png").shape[0] > 2 * pixels(tmp_path / "few.png").shape[0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_prediction_sheet_takes_images_of_any_mode(tmp_path: Path, mode: str) -> None:
    row = SheetRow(predicted="$a_b$ 猫", probability=0.5, true="猫")
    prediction_sheet([Image.new(mode, (5, 3))], [row], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()


def test_prediction_sheet_refuses_unequal_lists(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got 2 images and 1 rows"):
        prediction_sheet(
            tiles(2), [SheetRow(predicted="x", probability=1.0)], tmp_path / "sheet.png"
        )
    with pytest.raises(UserError, match="expected a number from 0 to 1"):
        SheetRow(predicted="x", probability=1.2)
