import pytest
import torch

from spanetv2.benchmark.memory import cpu_peak, run_and_watch
from spanetv2.benchmark.networks import build, network_step
from spanetv2.benchmark.settings import Cell
from spanetv2.benchmark.timing import Step
from spanetv2.deploy.runtimes import RUNTIMES
from spanetv2.errors import UserError
from spanetv2.mixers import SpectralRescale


def need(runtime):
    for package in ("onnx", "onnxscript", "onnxruntime", runtime):
        pytest.importorskip(package)


def cell(model="pico_pure", **changes):
    fields = {"mode": "eager", "work": "inference", "dtype": "float32", "batch": 2, "size": 64}
    return Cell(model=model, **{**fields, **changes})


def step_of(model="pico_pure", **changes):
    return network_step(cell(model, **changes), device="cpu", channels_last=False)


@pytest.mark.parametrize("how", ["reference", "products", "optimized"])
def test_network_step_gives_the_same_outputs_on_every_path(how):
    expected = step_of().run()
    assert expected.shape == (2, 1000)
    assert expected.std() > 1e-3
    got = step_of(f"pico_pure@{how}").run()
    assert not torch.equal(got, expected) or how == "products"
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_network_step_sets_the_path_of_every_filter(monkeypatch):
    models = []
    monkeypatch.setattr(
        "spanetv2.benchmark.networks.build",
        lambda name, size: models.append(build(name, size)) or models[-1],
    )
    step_of("pico_pure@reference")
    filters = [m for m in models[0].modules() if isinstance(m, SpectralRescale)]
    assert {module.implementation for module in filters} == {"reference"}
    assert len(filters) == 9


@pytest.mark.parametrize("mode", RUNTIMES)
@pytest.mark.parametrize("model", ["pico_pure", "resnet10t"])
def test_network_step_runs_exported_networks(model, mode):
    need(mode)
    expected = step_of(model).run()
    got = step_of(model, mode=mode).run()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("mode", "dtype", "most"),
    [("onnxruntime", "int8", 0.2), ("openvino", "int8", 0.2), ("openvino", "bfloat16", 0.05)],
)
def test_network_step_runs_exported_networks_in_fewer_bits(mode, dtype, most):
    need(mode)
    expected = step_of().run()
    got = step_of(mode=mode, dtype=dtype).run()
    error = (got - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    # without its instructions OpenVINO computes in float32
    least = 0.0 if dtype == "bfloat16" else 1e-3
    assert least <= error < most


@pytest.mark.parametrize("mode", RUNTIMES)
def test_network_step_refuses_runtimes_on_a_gpu(mode):
    with pytest.raises(UserError, match=f"got {mode} on cuda, expected --device cpu"):
        network_step(cell("pico_pure", mode=mode), device="cuda", channels_last=False)


def test_network_step_casts_in_inference():
    expected = step_of().run()
    got = step_of(dtype="bfloat16").run()
    assert got.dtype == torch.bfloat16
    error = (got.float() - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert error < 0.05


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_network_step_trains_float32_weights_and_tidies_gradients(dtype, monkeypatch):
    models = []
    monkeypatch.setattr(
        "spanetv2.benchmark.networks.build",
        lambda name, size: models.append(build(name, size)) or models[-1],
    )
    step = step_of(work="training", dtype=dtype)
    loss = step.run()
    assert loss.item() == pytest.approx(torch.tensor(1000.0).log().item(), rel=0.5)
    parameters = list(models[0].parameters())
    assert all(p.dtype == torch.float32 and p.grad is not None for p in parameters)
    assert sum(p.grad.abs().sum() for p in parameters) > 0
    assert step.parameters == sum(p.numel() for p in parameters)
    step.tidy()
    assert all(p.grad is None for p in parameters)


def test_network_step_builds_any_timm_model_at_any_size():
    step = step_of("swin_tiny_patch4_window7_224", size=96, batch=1)
    assert step.run().shape == (1, 1000)


def test_network_step_keeps_channels_last(monkeypatch):
    models = []
    monkeypatch.setattr(
        "spanetv2.benchmark.networks.build",
        lambda name, size: models.append(build(name, size)) or models[-1],
    )
    network_step(cell(), device="cpu", channels_last=True)
    weight = models[0].stem.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_cpu_peak_of_a_network_grows_with_the_batch():
    small, large = (
        cpu_peak(cell(batch=batch, size=96), channels_last=False, threads=1) for batch in (2, 16)
    )
    # The largest map of a block: 16 images, 24 x 24 tokens, 4 x 24 channels, float32.
    assert large > 16 * 24**2 * 96 * 4 / 2**20
    assert large > small


def test_cpu_peak_says_what_failed():
    with pytest.raises(UserError, match=r"the process that measures memory .* failed: .*UserError"):
        cpu_peak(cell("nothing"), channels_last=False, threads=1)


def test_run_and_watch_measures_what_a_run_takes():
    def take():
        return torch.ones(2**24).sum()

    peak = run_and_watch(Step(run=take, tidy=lambda: None, parameters=0))
    assert 60 < peak < 80  # the kernel counts in steps
