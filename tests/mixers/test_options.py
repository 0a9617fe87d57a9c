"""A mixer is a name with options, or a class of one's own."""

import json

import pytest
import torch
from torch import Tensor, nn

from spanetv2 import create_model, load_model, load_weights, save_weights
from spanetv2.errors import UserError
from spanetv2.mixers import MIXERS, read_mixers
from spanetv2.mixers.table import SHORT_NAMES
from spanetv2.models.block import Block
from spanetv2.models.weights.record import read_record
from spanetv2.models.weights.save import save_state_dict

ONE_SIZE = {"name": "spam", "kernels": [3, 3, 3, 3], "spectral": False}


class Shift(nn.Module):
    """A mixer as a user may write it: every token becomes a multiple of its left neighbour."""

    def __init__(self, dim: int, grid: tuple[int, int], *, steps: int = 1, proj_drop: float = 0.0):
        super().__init__()
        self.grid, self.steps, self.proj_drop = grid, steps, proj_drop
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.scale * x_BHWC.roll(self.steps, dims=2)


def network(*mixers, **options) -> nn.Module:
    torch.manual_seed(0)
    return create_model(
        "pico_pure",
        in_chans=1,
        img_size=28,
        stem_stride=2,
        depths=[1] * 4,
        dims=[16, 16, 32, 32],
        mixers=list(mixers) * (4 // len(mixers)),
        **{"num_classes": 3, **options},
    )


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_a_name_of_version_0_1_is_a_name_with_options(name: str) -> None:
    blocks = []
    for mixer in (name, SHORT_NAMES[name]):
        torch.manual_seed(0)
        blocks.append(
            Block(
                32,
                (9, 9),
                mixer=mixer,
                head_order="concatenated",
                gate="scaled_sigmoid",
                residual_scale=True,
            )
        )
    short, written = (block.state_dict() for block in blocks)
    assert list(short) == list(written)
    assert all(torch.equal(short[key], written[key]) for key in short)
    x = torch.randn(1, 9, 9, 32)
    y = blocks[0](x)
    assert y.std() > 0.1
    assert torch.equal(y, blocks[1](x))


def test_options_reach_the_mixer() -> None:
    model = network(ONE_SIZE, {"name": "attention", "head_width": 8}, gate="scaled_sigmoid")
    spam, attention = (model.stages[i].blocks[0].token_mixer for i in (0, 1))
    assert spam.kernels == [3, 3, 3, 3]
    assert spam.spectral_filter is None
    assert attention.num_heads == 2
    plain = network("spam", gate="scaled_sigmoid").stages[0].blocks[0].token_mixer
    assert plain.kernels == [3, 5, 7, 9]
    assert plain.gate == "scaled_sigmoid"


def test_options_go_through_a_file(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    mixer = {**ONE_SIZE, "kernels": (3, 3, 3, 9)}
    model = network(mixer, "spam_no_srf").eval()
    save_weights(model, path)
    recorded = {**ONE_SIZE, "kernels": [3, 3, 3, 9]}
    assert read_record(path)["model_kwargs"]["mixers"] == [recorded, "spam_no_srf"] * 2
    again, _ = load_model(path)
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
    assert model.architecture == again.architecture


def test_a_file_of_version_0_1_is_read(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    model = network("spam_3", "mixed_attention_16").eval()
    record = {
        "model_name": "spanetv2_pico_pure",
        "model_kwargs": {
            "num_classes": 3,
            "in_chans": 1,
            "img_size": [28, 28],
            "stem_stride": 2,
            "head_order": "interleaved",
            "gate": "sigmoid",
            "depths": [1, 1, 1, 1],
            "dims": [16, 16, 32, 32],
            "mixers": ["spam_3", "mixed_attention_16", "spam_3", "mixed_attention_16"],
        },
    }
    save_state_dict(model.state_dict(), path, record)
    again, _ = load_model(path)
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


def test_a_name_without_options_is_the_name(tmp_path) -> None:
    model = create_model("pico_pure", num_classes=3, img_size=32, mixers=[{"name": "spam"}] * 4)
    save_weights(model, tmp_path / "weights.safetensors")
    assert "mixers" not in read_record(tmp_path / "weights.safetensors")["model_kwargs"]


def test_a_class_is_a_mixer() -> None:
    model = network({"name": Shift, "steps": 2}, Shift, proj_drop_rate=0.25)
    first, second = (model.stages[i].blocks[0].token_mixer for i in (0, 1))
    assert isinstance(first, Shift)
    assert (first.grid, first.steps, first.proj_drop) == ((14, 14), 2, 0.25)
    assert (second.grid, second.steps) == ((7, 7), 1)
    model(torch.randn(2, 1, 28, 28)).square().sum().backward()
    assert first.scale.grad.abs().sum() > 0


def test_a_class_is_given_again_to_read_its_file(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    model = network({"name": Shift, "steps": 2}).eval()
    model.stages[0].blocks[0].token_mixer.scale.data.uniform_()
    save_weights(model, path)
    json.dumps(model.architecture)
    with pytest.raises(UserError, match=r"got mixers .*Shift.*, expected some of spam, .*given ag"):
        load_model(path)
    again = create_model("pico_pure", path, mixers=[{"name": Shift, "steps": 2}] * 4).eval()
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
    load_weights(network({"name": Shift, "steps": 2}), path)


def test_a_class_with_a_name_in_the_table_reads_from_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(MIXERS, "shift", Shift)
    model = network({"name": "shift", "steps": 3}).eval()
    save_weights(model, tmp_path / "weights.safetensors")
    again, _ = load_model(tmp_path / "weights.safetensors")
    assert again.stages[3].blocks[0].token_mixer.steps == 3


def test_a_class_that_takes_any_option_gets_it() -> None:
    class Loose(nn.Identity):
        def __init__(self, dim: int, grid: tuple[int, int], **options: object) -> None:
            super().__init__()
            self.options = options

    (mixer,) = read_mixers([{"name": Loose, "depth": 2}])
    assert mixer.build(4, (2, 2), gate="sigmoid", proj_drop=0.1).options == {"depth": 2}


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        (
            "mlp",
            r"got mixers \['mlp'\], expected some of spam, mixed_attention, attention, sepconv",
        ),
        (7, r"got mixers \[7\], expected some of spam"),
        (dict, r"got mixers \[<class 'dict'>\], expected some of spam"),
        ({"kernels": [3, 3, 3, 3]}, r"got mixer {'kernels': .*}, expected a 'name' beside"),
        (
            {"name": "spam", "kernel": 3, "spectral": False},
            r"got options \['kernel'\] of mixer spam, expected some of kernels, spectral, modul",
        ),
        ({"name": "spam_3", "width": 3}, r"got options \['width'\] of mixer spam_3, expected some"),
        ({"name": "pooling", "size": 5}, r"got options \['size'\] of mixer pooling, expected none"),
        (
            {"name": Shift, "dim": 5},
            r"got options \['dim'\] of mixer .*Shift, expected some of steps",
        ),
        (
            {"name": "spam", "gate": "sigmoid"},
            "got option 'gate' of mixer spam, expected it of the",
        ),
        ({"name": "spam", "kernels": 3}, "got kernels=3, expected 4 odd numbers, one per head"),
        ({"name": "spam", "kernels": "3579"}, "got kernels='3579', expected 4 odd numbers"),
        ({"name": "attention", "head_width": 0}, "got head_width=0, expected a positive number"),
    ],
)
def test_what_no_mixer_has_is_refused_in_a_line(mixer, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        network(mixer)
    assert "\n" not in str(error.value)
