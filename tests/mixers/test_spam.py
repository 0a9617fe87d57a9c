"""SPAM against a second, plain writing of its definition; and its spectral filter's memory."""

import copy
import pickle
import sys
import threading

import pytest
import torch
import torch.nn.functional as F

from spanetv2.errors import UserError
from spanetv2.mixers import SPAM, SpectralRescale

ORDERS = ["interleaved", "concatenated"]


def _by_definition(mixer: SPAM, x: torch.Tensor, order: str) -> torch.Tensor:
    """Step by step in float64, channels first, every channel and group on its own."""
    mixer, x = copy.deepcopy(mixer).double(), x.double()
    _, H, W, C = x.shape
    query = F.gelu(x @ mixer.query.weight.T)
    context = x @ mixer.context.weight.T
    size = C // 4
    mixed = []
    for channel in range(C):
        conv = mixer.local_convs[channel // size]
        assert isinstance(conv, torch.nn.Conv2d)
        assert conv.bias is not None
        kernel = conv.weight[channel % size][None]
        plane = context[..., channel][:, None]
        mixed.append(
            F.conv2d(plane, kernel, padding=kernel.shape[-1] // 2) + conv.bias[channel % size]
        )
    y = torch.cat(mixed, 1)
    slope = 1.0 if mixer.spectral.alpha is None else mixer.spectral.alpha
    gain = torch.sigmoid(slope * mixer.spectral.theta)
    y = torch.fft.irfft2(torch.fft.rfft2(y) * gain, s=(H, W))
    grouped, norm, mix = mixer.proj[0], mixer.proj[1], mixer.proj[3]
    outputs = []
    for group in range(size):
        if order == "interleaved":
            seen = [head * size + group for head in range(4)]
        else:
            seen = [4 * group + i for i in range(4)]
        weight = grouped.weight[8 * group : 8 * group + 8, :, 0, 0]
        outputs.append(torch.einsum("oi,bihw->bohw", weight, y[:, seen]))
    z = torch.cat(outputs, 1)
    mean = z.mean((1, 2, 3), keepdim=True)
    variance = z.var((1, 2, 3), keepdim=True, unbiased=False)
    z = (z - mean) / (variance + 1e-5).sqrt()
    z = F.gelu(z * norm.weight[:, None, None] + norm.bias[:, None, None])
    scale = torch.einsum("oi,bihw->bhwo", mix.weight[:, :, 0, 0], z)
    return (query * scale) @ mixer.out.weight.T


def _randomize(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5


@pytest.mark.parametrize("gate", ["sigmoid", "scaled_sigmoid"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("grid", [(7, 7), (6, 9)])
def test_spam_is_the_definition(order, gate, grid):
    mixer = SPAM(16, grid, head_order=order, gate=gate).eval()
    _randomize(mixer)
    x = torch.randn(2, *grid, 16)
    expected = _by_definition(mixer, x, order)
    error = torch.linalg.norm(mixer(x).double() - expected) / torch.linalg.norm(expected)
    assert error < 1e-5
    other = _by_definition(mixer, x, ORDERS[order == ORDERS[0]])
    assert torch.linalg.norm(other - expected) / torch.linalg.norm(expected) > 0.1


def test_spam_is_initialised_as_published():
    torch.manual_seed(0)
    mixer = SPAM(64, (56, 56), gate="scaled_sigmoid")
    assert abs(mixer.spectral.theta.std().item() - 0.02) < 1e-3
    assert mixer.spectral.alpha is not None
    assert mixer.spectral.alpha.item() == 1
    assert [
        conv.kernel_size[0] for conv in mixer.local_convs if isinstance(conv, torch.nn.Conv2d)
    ] == [3, 5, 7, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 18}, "got dim=18, expected a multiple of 4"),
        ({"head_order": "mixed"}, "got head_order='mixed'"),
        ({"gate": "relu"}, "got gate='relu'"),
        ({"grid": (0, 4)}, "got a grid of 0 x 4 tokens"),
    ],
)
def test_spam_refuses_bad_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        SPAM(**{"dim": 16, "grid": (7, 7), **arguments})


def test_state_dict_tells_head_orders_apart():
    with pytest.raises(RuntimeError, match="grouped_interleaved"):
        SPAM(16, (7, 7), head_order="interleaved").load_state_dict(
            SPAM(16, (7, 7), head_order="concatenated").state_dict()
        )


class TestKeptGain:
    """In evaluation the gain is made once, and again whenever it would differ."""

    @pytest.fixture
    def layer(self) -> SpectralRescale:
        return SpectralRescale(4, (14, 14), gate="scaled_sigmoid").eval()

    @pytest.fixture
    def made(self, layer, monkeypatch) -> list[tuple[int, int]]:
        calls: list[tuple[int, int]] = []
        original = layer.gain

        def gain(height: int, width: int) -> torch.Tensor:
            calls.append((height, width))
            return original(height, width)

        monkeypatch.setattr(layer, "gain", gain)
        return calls

    def test_kept_between_calls(self, layer, made):
        x = torch.randn(1, 4, 20, 20)
        with torch.no_grad():
            first, second = layer(x), layer(x)
        with torch.inference_mode():
            third = layer(x)
        assert made == [(20, 20)]
        assert torch.equal(first, second)
        assert torch.equal(first, third)

    def test_follows_grid_parameters_and_dtype(self, layer, made):
        x = torch.randn(1, 4, 20, 20)
        with torch.no_grad():
            before = layer(x)
            layer(torch.randn(1, 4, 21, 20))
            assert made == [(20, 20), (21, 20)]
            layer.theta.add_(3.0)
            assert not torch.allclose(layer(x), before)
            layer.alpha.mul_(0.5)
            halved = layer(x)
            assert len(made) == 4
            layer.bfloat16()
            assert layer(x.bfloat16()).dtype == torch.bfloat16
            assert len(made) == 5
            layer.float()
            torch.testing.assert_close(layer(x), halved, rtol=2e-2, atol=2e-2)

    def test_follows_an_optimiser_step(self, layer):
        x = torch.randn(1, 4, 14, 14)
        with torch.no_grad():
            before = layer(x)
        optimizer = torch.optim.SGD(layer.parameters(), lr=1e3)
        layer(x).square().sum().backward()
        optimizer.step()
        with torch.no_grad():
            assert not torch.allclose(layer(x), before)

    def test_follows_data_after_eval(self, layer):
        x = torch.randn(1, 4, 14, 14)
        with torch.no_grad():
            before = layer(x)
            layer.theta.data.fill_(5.0)
            layer.eval()
            assert not torch.allclose(layer(x), before)

    def test_follows_every_change_of_the_values(self, layer):
        """Also those that PyTorch does not count."""
        x = torch.randn(1, 4, 14, 14)

        def in_place():
            layer.theta.data.mul_(-1)

        def by_vector():
            vector = torch.nn.utils.parameters_to_vector(layer.parameters())
            torch.nn.utils.vector_to_parameters(vector + 1, layer.parameters())

        def by_another_storage():
            layer.theta.data = torch.randn_like(layer.theta)

        def by_numpy():
            layer.theta.detach().numpy()[:] = 3

        with torch.no_grad():
            for change in (in_place, by_vector, by_another_storage, by_numpy):
                before = layer(x)
                change()
                after = layer(x)
                assert not torch.allclose(after, before), change.__name__
                layer.eval()  # forgets
                assert torch.equal(layer(x), after)

    def test_threads_with_other_grids_get_their_own(self, layer):
        """Two grids that broadcast against each other: a mix-up would raise or go unnoticed."""
        inputs = [torch.randn(1, 4, *grid) for grid in ((1, 2), (2, 2), (14, 14), (20, 14))]
        with torch.no_grad():
            expected = [layer(x) for x in inputs]
        wrong, errors = [], []

        def work(which):
            with torch.inference_mode():
                for _ in range(400):
                    try:
                        if not torch.equal(layer(inputs[which]), expected[which]):
                            wrong.append(which)
                    except RuntimeError as error:
                        errors.append(str(error))

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(i % 4,)) for i in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        assert (wrong, errors) == ([], [])

    def test_keeps_a_few_grids_only(self, layer):
        with torch.no_grad():
            for side in range(2, 12):
                layer(torch.randn(1, 4, side, side))
        assert len(layer._kept) == 4

    def test_gradients_are_never_cut(self, layer):
        x = torch.randn(1, 4, 20, 20)
        with torch.no_grad():
            layer(x)
        layer(x).sum().backward()
        assert layer.theta.grad is not None
        assert layer.theta.grad.abs().sum() > 0

    def test_copies_do_not_share_it(self, layer):
        x = torch.randn(1, 4, 20, 20)
        with torch.no_grad():
            expected = layer(x)
            for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
                assert twin._kept == {}
                assert torch.equal(twin(x), expected)


def test_set_grid_keeps_the_filter():
    layer = SpectralRescale(4, (14, 14)).eval()
    layer.theta.data.normal_()
    layer.theta.requires_grad_(False)
    x = torch.randn(1, 4, 20, 17)
    before = layer(x)
    layer.set_grid((20, 17))
    assert layer.theta.shape == (4, 20, 9)
    assert not layer.theta.requires_grad
    torch.testing.assert_close(layer(x), before)
