"""A state dict that records nothing is read at the size its filters were made for."""

import logging

import pytest
import torch

import spanetv2
from spanetv2.models.weights import describe
from spanetv2.ops.spectral_rescale import half_spectrum

SIZES = [
    (4, (32, 36)),
    (4, (36, 32)),
    (4, (224, 228)),
    (4, (228, 224)),
    (4, (64, 96)),
    (4, (100, 64)),
    (4, (20, 100)),
    (4, (52, 52)),
    (2, (30, 34)),
    (1, (17, 18)),
    (1, (9, 33)),
]


@pytest.mark.parametrize("mixers", [None, ["identity", "spam", "spam", "attention"]])
@pytest.mark.parametrize(("stride", "size"), SIZES)
def test_bare_state_dict_gives_the_outputs_it_was_saved_with(
    tmp_path, caplog, stride, size, mixers
) -> None:
    torch.manual_seed(0)
    options = {"num_classes": 3, "img_size": size, "stem_stride": stride, "init_std": None}
    if mixers is not None:
        options |= {"mixers": mixers, "depths": (1, 1, 1, 1), "dims": (24, 48, 96, 128)}
    name = "pico_pure"
    model = spanetv2.create_model(name, **options).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("theta"):
                parameter.normal_(std=3)
    grid, halves = model.stem.output_grid(*size), {}
    for stage in range(4):
        key = f"stages.{stage}.blocks.0.token_mixer.spectral.theta"
        if key in model.state_dict():
            halves[stage] = half_spectrum(grid)
            assert model.state_dict()[key].shape[1:] == half_spectrum(grid)
        grid = ((grid[0] + 1) // 2, (grid[1] + 1) // 2)
    assert len(halves) >= 2
    found = describe(model.state_dict())
    if mixers is None:
        torch.save(model.state_dict(), tmp_path / "bare.pth")
        with caplog.at_level(logging.WARNING):
            again, _ = spanetv2.load_model(tmp_path / "bare.pth")
        assert "resized" not in caplog.text
        x = torch.randn(2, 3, *size)
        with torch.no_grad():
            assert torch.equal(again(x), model(x))
    again = spanetv2.create_model(name, **{**options, "img_size": found.img_size})
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def test_square_sizes_stay_square() -> None:
    for side in (8, 28, 32, 52, 64, 96, 100, 224, 256, 300):
        model = spanetv2.create_model("pico_pure", num_classes=2, img_size=side)
        assert describe(model.state_dict()).img_size == (side // 4 * 4, side // 4 * 4)


def test_filters_that_no_image_fits_are_read_from_the_first() -> None:
    state = spanetv2.create_model("pico_pure", num_classes=2, img_size=64).state_dict()
    for key in state:
        if key.startswith("stages.3") and key.endswith("theta"):
            state[key] = torch.zeros(128, 5, 3)
    assert describe(state).img_size == (64, 64)
