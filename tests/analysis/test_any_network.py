"""A user's network in any state is measured as the plain one is, and left as it was."""

import copy
import dataclasses
import re
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import spanetv2
from spanetv2.analysis.activation_maps import class_activation_maps
from spanetv2.analysis.filtered import top1
from spanetv2.analysis.jacobian import jacobian_response
from spanetv2.analysis.log_amplitude import relative_log_amplitude
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.analysis.model_study import ModelAnalysis, ModelInput, StudyOptions, analyze_model
from spanetv2.analysis.spam_bank import bank_of, spam_bank
from spanetv2.errors import UserError

pytest.importorskip("pytorch_grad_cam")

OPTIONS = StudyOptions(
    probe_images=2, channels=2, rows=4, radii=(1.0,), heat_map=True, heat_map_size=3, sheet_images=2
)


def spam(img_size: int = 64, **options) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"depths": (1, 1, 1, 1), "init_std": None, "num_classes": 4, "img_size": img_size}
    model = spanetv2.create_model("pico_hybrid", **sizes, **options).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("theta"):
                parameter.normal_(std=2)
    return model


def vit(**options) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_vit", img_size=64, num_classes=4, **options).eval()


def resnet(**options) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=4, **options).eval()


NETWORKS = {"spam": spam, "vit": vit, "resnet": resnet}


def study(model: nn.Module, *, channels: int = 3, size: int = 64) -> ModelAnalysis:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, channels, size, size, generator=generator)
    half = (0.5,) * channels
    subject = ModelInput(
        title="model",
        model=model,
        images=images,
        mean=half,
        std=half,
        targets=torch.tensor([0, 1, 2]),
    )
    return analyze_model(subject, OPTIONS)


@pytest.fixture(scope="module")
def plain() -> dict[str, ModelAnalysis]:
    return {name: study(make()) for name, make in NETWORKS.items()}


def everything(model: nn.Module) -> dict[str, object]:
    """All that a caller could find changed, by value and by identity."""
    modules = list(model.modules())
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "grads": {n: None if p.grad is None else p.grad.clone() for n, p in _named(model)},
        "same grads": {n: id(p.grad) for n, p in _named(model) if p.grad is not None},
        "requires_grad": {n: p.requires_grad for n, p in _named(model)},
        "mode": [module.training for module in modules],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in modules
        ],
    }


def _named(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(model.named_parameters())


def assert_unchanged(model: nn.Module, before: dict[str, object]) -> None:
    torch.testing.assert_close(everything(model), before, rtol=0, atol=0)


def frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


def partly_frozen(model: nn.Module) -> nn.Module:
    list(frozen(model).parameters())[-1].requires_grad_(True)
    return model


def with_gradients(model: nn.Module) -> nn.Module:
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    return model


def partly_training(model: nn.Module) -> nn.Module:
    for module in list(model.modules())[::3]:
        module.training = True
    return model


def compiled_inside(model: nn.Module) -> nn.Module:
    for name, module in list(model.named_modules()):
        if name.endswith(("token_mixer", "attn", "conv2", "norm1")):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, torch.compile(module, backend="eager"))
    return model


def compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model, backend="eager"))


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


STATES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as it is": lambda model: model,
    "frozen": frozen,
    "partly frozen": partly_frozen,
    "with gradients": with_gradients,
    "in training mode": nn.Module.train,
    "partly in training mode": partly_training,
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "compiled inside": compiled_inside,
    "data parallel": nn.DataParallel,
    "in float64": nn.Module.double,
    "in bfloat16": nn.Module.bfloat16,
    "in float16": nn.Module.half,
}
TOLERANCE = {"in float64": 1e-3, "in bfloat16": 0.3, "in float16": 0.05}


def assert_close(found: ModelAnalysis, expected: ModelAnalysis, tolerance: float) -> None:
    """Every part is there; spectra differ by no more than a share of their root mean square."""
    assert [gap.part for gap in found.gaps] == [gap.part for gap in expected.gaps]
    for part in ("responses", "attention", "amplitudes", "bank"):
        assert len(getattr(found, part)) == len(getattr(expected, part))
    pairs = [
        (one.gain2, other.gain2)
        for one, other in zip(
            [*found.responses, *found.attention],
            [*expected.responses, *expected.attention],
            strict=True,
        )
    ]
    for part, field in (("amplitudes", "curve"), ("bank", "curves")):
        pairs += [
            (getattr(one, field).values, getattr(other, field).values)
            for one, other in zip(getattr(found, part), getattr(expected, part), strict=True)
        ]
    assert found.cams is not None
    assert expected.cams is not None
    assert len(pairs) > 3
    for values, right in pairs:
        error = np.sqrt(np.mean((values - right) ** 2) / np.mean(right**2))
        assert error <= tolerance
        assert np.abs(right).max() > 0
    for part in ("accuracy", "filtered", "heat_map", "cams"):
        assert getattr(found, part) is not None
    if tolerance == 0:
        np.testing.assert_array_equal(found.cams.maps, expected.cams.maps)
        assert found.accuracy == expected.accuracy


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_in_any_state_is_measured_and_left(
    name: str, state: str, plain: dict[str, ModelAnalysis]
) -> None:
    model = STATES[state](NETWORKS[name]())
    before = everything(model)
    found = study(model)
    assert_unchanged(model, before)
    assert_close(found, plain[name], TOLERANCE.get(state, 0))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_measure_leaves_a_network_in_training_as_it_was(name: str) -> None:
    model = with_gradients(NETWORKS[name]().train())
    images, before = torch.randn(2, 3, 64, 64), everything(model)
    calls, _ = record_calls(model, find_mixers(model), images)
    assert_unchanged(model, before)
    first, second = (jacobian_response(calls[0], images=1, rows=4) for _ in range(2))
    np.testing.assert_array_equal(first.gain2, second.gain2)
    relative_log_amplitude(model, calls, images)
    top1(model, images, torch.tensor([0, 1]))
    for method in ("grad_cam", "score_cam"):
        class_activation_maps(model, calls, images[:1], method=method)
    assert_unchanged(model, before)


def test_parameters_of_inference_mode_are_measured(plain: dict[str, ModelAnalysis]) -> None:
    with torch.inference_mode():
        model = vit()
    assert_close(study(model), plain["vit"], 0)
    with torch.inference_mode():
        assert_close(study(vit()), plain["vit"], 0)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_channels_is_measured(name: str, channels: int) -> None:
    found = study(NETWORKS[name](in_chans=channels), channels=channels)
    assert found.cams is not None
    generator = torch.Generator().manual_seed(1)
    pixels = (torch.randn(3, channels, 64, 64, generator=generator)[:2] * 0.5 + 0.5).clamp(0, 1)
    shown = pixels[:, :3] if channels >= 3 else pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    np.testing.assert_allclose(found.cams.images, shown.permute(0, 2, 3, 1), atol=1e-6)
    assert found.heat_map is not None
    assert found.responses


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [64, 160])
def test_optimised_copy_is_measured_as_its_original(size: int, dtype: torch.dtype) -> None:
    original = spam(size)
    model = spanetv2.optimize_for_inference(original).to(dtype)
    expected, found = study(original, size=size), study(model, size=size)
    # On grids of at most 8 x 8 tokens kernels and gates are one matrix: stage 2 of 64 pixels.
    lost = ["filters of stages.1.blocks.0.token_mixer"] if size == 64 else []
    assert [gap.part for gap in found.gaps if "filters" in gap.part] == lost
    tolerance = 1e-3 if dtype == torch.float32 else 0.1
    for one, other in zip(found.responses, expected.responses, strict=True):
        # The norm's weights moved into the mixer, but in a fresh network they are 1.
        assert np.sqrt(np.mean((one.gain2 / other.gain2 - 1) ** 2)) < (
            tolerance if dtype == torch.float32 else 1
        )
    for one in found.bank:
        other = next(bank for bank in expected.bank if bank.name == one.name)
        np.testing.assert_allclose(one.curves.values, other.curves.values, rtol=tolerance)
        assert other.curves.values[:, 1].std() > 0.001  # the gates are not flat
    assert len(found.bank) == len(expected.bank) - len(lost)
    assert found.cams is not None
    assert found.accuracy is not None


def test_bank_of_an_optimised_copy_says_what_it_cannot_tell() -> None:
    model = spanetv2.optimize_for_inference(spam())
    calls, _ = record_calls(model, find_mixers(model), torch.randn(1, 3, 64, 64))
    with pytest.raises(UserError, match=r"stages\.1\.blocks\.0\.token_mixer of an optimised"):
        spam_bank(calls)
    with pytest.raises(UserError, match=r"\(attention\), expected a SPAM mixer"):
        bank_of(calls[-1])


class Output(nn.Module):
    """A network whose logits come in something else."""

    def __init__(self, network: nn.Module, pack: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.network, self.pack = network, pack

    def forward(self, x: Tensor) -> object:
        return self.pack(self.network(x))


@dataclasses.dataclass
class Named:
    logits: Tensor


@pytest.mark.parametrize(
    "pack",
    [lambda y: (y, y * 0), lambda y: [y], lambda y: {"logits": y}, Named],
    ids=["tuple", "list", "dict", "object"],
)
def test_wrapped_logits_are_found(
    pack: Callable[[Tensor], object], plain: dict[str, ModelAnalysis]
) -> None:
    assert_close(study(Output(vit(), pack)), plain["vit"], 0)


def headless() -> nn.Module:
    model = spam()
    model.reset_classifier(0)
    return model


def unpooled() -> nn.Module:
    model = spam()
    model.reset_classifier(4, global_pool="")
    return model


def broken_head() -> nn.Module:
    model = vit()
    nn.init.constant_(model.get_classifier().weight, float("nan"))
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (headless, r"without a classifier \(num_classes=0\)"),
        (unpooled, r"got outputs \(\d, 4, 2, 2\) for"),
        (broken_head, "outputs are not finite"),
    ],
)
def test_what_has_no_logits_keeps_its_spectra(make: Callable[[], nn.Module], reason: str) -> None:
    found = study(make())
    assert found.responses
    assert found.amplitudes
    assert found.accuracy is None
    gaps = {gap.part: gap.reason for gap in found.gaps}
    for part in ("accuracy under filtered input", "Fourier heat map"):
        assert re.search(reason, gaps[part])


class Stubborn(nn.Module):
    """A network that refuses batches of three with an error of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential()
        self.block.token_mixer = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 3:
            raise LookupError("three images are too many")
        return self.head(self.block(x).mean((2, 3)))


def test_an_error_of_the_network_costs_one_part() -> None:
    found = study(Stubborn())
    gaps = {gap.part: gap.reason for gap in found.gaps}
    assert gaps["relative log-amplitude"] == "three images are too many"
    assert found.responses
    assert found.cams is not None


def test_a_network_that_does_not_run_is_one_gap() -> None:
    found = study(spam(), channels=5)
    (gap,) = found.gaps
    assert gap.part == "the network"
    assert gap.reason.startswith("it does not run on images of 5 x 64 x 64 (")
    assert not found.responses


def test_outputs_that_are_not_there_are_not_explained() -> None:
    model = vit()
    images = torch.randn(2, 3, 64, 64)
    calls, _ = record_calls(model, find_mixers(model), images)
    for wrong in ([0, 4], [-1, 0], [0]):
        with pytest.raises(UserError, match="expected one per image from 0 to 3"):
            class_activation_maps(model, calls, images, torch.tensor(wrong))


def test_a_copy_measures_like_its_original() -> None:
    """The state that ``everything`` compares is all there is: a copy of it gives the same."""
    model = resnet().train()
    twin = copy.deepcopy(model)
    study(model)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(x), twin(x), rtol=0, atol=0)
