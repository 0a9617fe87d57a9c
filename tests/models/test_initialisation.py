"""A fresh network learns from images with black, padded or constant parts."""

import pytest
import torch
from torch.nn import functional as F

import spanetv2

FORMS = ("pico_pure", "pico_hybrid")
KINDS = ("margin", "half", "constant zero", "constant", "single pixel")


def images(kind: str, in_chans: int, side: int = 96) -> torch.Tensor:
    x = torch.randn(2, in_chans, side, side, generator=torch.Generator().manual_seed(1)).double()
    if kind == "margin":
        x[..., 2 * side // 3 :, :] = 0
        x[..., 2 * side // 3 :] = 0
    elif kind == "half":
        x[..., : side // 2] = 0
    elif kind == "constant zero":
        x.zero_()
    elif kind == "constant":
        x[:] = 0.7
    elif kind == "single pixel":
        x.zero_()[..., 5, 5] = 1
    return x


def gradient_norm(model: torch.nn.Module, x: torch.Tensor) -> float:
    model.zero_grad()
    F.cross_entropy(model(x), torch.tensor([0, 1])).backward()
    return (
        torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm().item()
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("in_chans", "stem_stride"), [(3, 4), (1, 2), (4, 1)])
def test_gradients_of_images_with_zeros_are_of_the_size_of_others(form, in_chans, stem_stride):
    torch.manual_seed(0)
    options = {"in_chans": in_chans, "stem_stride": stem_stride, "img_size": 48}
    model = spanetv2.create_model(form, num_classes=3, **options).double().eval()
    usual = gradient_norm(model, images("whole", in_chans, 48))
    for kind in KINDS:
        # without a bias in the stem: 1e10 times as large
        assert gradient_norm(model, images(kind, in_chans, 48)) < 5 * usual, kind


@pytest.mark.parametrize("form", FORMS)
def test_it_learns_on_a_black_ground_with_clipped_gradients(form):
    """Two classes of small squares on black, told apart by their place."""
    torch.manual_seed(0)
    options = {"in_chans": 1, "img_size": 32, "stem_stride": 2}
    model = spanetv2.create_model(form, num_classes=2, **options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    labels = torch.arange(16) % 2
    x = torch.zeros(16, 1, 32, 32)
    for i, label in enumerate(labels.tolist()):
        x[i, 0, 4 + i // 4 : 8 + i // 4, 4 + 16 * label : 8 + 16 * label] = 1
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss.item() < 0.1  # log 2 is 0.69


def truncated_normals() -> float:
    """PyTorch's own, of a seed: another algorithm in 2.11."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.init.trunc_normal_(torch.empty(1000), std=0.02).double().abs().sum().item()


@pytest.mark.skipif(
    truncated_normals() != 16.173936488022264, reason="PyTorch draws other weights from a seed"
)
@pytest.mark.parametrize(
    ("form", "total"), [("pico_pure", 70801.90645037992), ("pico_hybrid", 66029.41618215242)]
)
def test_all_weights_but_the_stems_bias_are_what_a_seed_gave_in_0_1(form, total):
    torch.manual_seed(0)
    model = spanetv2.create_model(form, num_classes=3, img_size=64, gate="scaled_sigmoid")
    others = [p for name, p in model.named_parameters() if name != "stem.conv.bias"]
    assert sum(float(p.detach().double().abs().sum()) for p in others) == total


def test_the_stems_bias_is_drawn_as_its_weights_are():
    torch.manual_seed(0)
    for form in ("pico_pure", "s18_pure"):
        conv = spanetv2.create_model(form, num_classes=0).stem.conv
        assert conv.bias.std().item() == pytest.approx(conv.weight.std().item(), rel=0.5)
