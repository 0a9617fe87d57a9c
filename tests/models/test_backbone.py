"""The contract of every variant, collected from the table; and options that variants share."""

import copy

import pytest
import timm
import torch

import spanetv2
from spanetv2 import VARIANTS, SPANetV2, UserError
from spanetv2.mixers import SpectralRescale
from spanetv2.models.costs import count_parameters, multiply_adds

SMALL = [name for name, variant in VARIANTS.items() if not variant.published]
PUBLISHED = [name for name, variant in VARIANTS.items() if variant.published]
# Small enough to run in every test, and with every kind of mixer between them.
TINY = {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 32), "num_classes": 5, "img_size": 64}
FORMS = {
    "pure": ("spam", "spam", "spam", "spam"),
    "hybrid": ("spam", "spam", "mixed_attention", "attention"),
}


def tiny(form: str = "hybrid", **options) -> SPANetV2:
    torch.manual_seed(0)
    return SPANetV2(mixers=FORMS[form], **{**TINY, **options})


def relative(got: torch.Tensor, expected: torch.Tensor) -> float:
    assert torch.isfinite(got).all()
    difference = torch.linalg.norm(got.double() - expected.double())
    return (difference / torch.linalg.norm(expected.double())).item()


@pytest.mark.parametrize("name", VARIANTS)
def test_complexity_equals_the_table(name):
    variant = VARIANTS[name]
    with torch.device("meta"):
        model = spanetv2.create_model(name)
    assert round(count_parameters(model) / 1e6, 3) == variant.params
    gmacs = multiply_adds(model, (1, 3, 224, 224)).products / 1e9  # published: without the FFT
    assert abs(gmacs / variant.gmacs - 1) < 0.01, gmacs


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name):
    model = spanetv2.create_model(name, num_classes=7, img_size=64, gate="scaled_sigmoid").train()
    model(torch.randn(2, 3, 96, 64)).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
@pytest.mark.parametrize("in_chans", [1, 3, 5])
@pytest.mark.parametrize("form", FORMS)
def test_any_input_size(form, in_chans, stem_stride):
    model = tiny(form, in_chans=in_chans, stem_stride=stem_stride).eval()
    for size in ((64, 64), (65, 31), (8, 40), (7, 7)):
        x = torch.randn(2, in_chans, *size)
        logits = model(x)
        assert logits.shape == (2, 5)
        torch.testing.assert_close(logits[:1], model(x[:1]), rtol=1e-4, atol=1e-6)


def test_smallest_input_is_named():
    with pytest.raises(UserError, match="got images of 2 x 64 pixels, expected at least 3 x 3"):
        tiny(img_size=(2, 64))


@pytest.mark.parametrize("form", FORMS)
def test_set_input_size_keeps_outputs(form):
    model = tiny(form).eval()
    for module in model.modules():
        if isinstance(module, SpectralRescale):
            torch.nn.init.normal_(module.theta)
    x = torch.randn(2, 3, 96, 80)
    with torch.no_grad():
        expected = model(x)
        model.set_input_size((96, 80))
        assert model.img_size == (96, 80)
        theta = model.get_parameter("stages.0.blocks.0.token_mixer.spectral.theta")
        assert theta.shape == (8, 24, 11)
        torch.testing.assert_close(model(x), expected)
        model.set_input_size(None)
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_half_precision_without_autocast(form, dtype):
    model = tiny(form).eval()
    for size in ((64, 64), (56, 72)):
        x = torch.randn(4, 3, *size)
        with torch.no_grad():
            expected = model.forward_features(x)
            half = copy.deepcopy(model).to(dtype)
            got = half.forward_features(x.to(dtype))
            assert got.dtype == half(x.to(dtype)).dtype == dtype
            assert relative(got, expected) < {torch.bfloat16: 0.03, torch.float16: 0.004}[dtype]
    half.train()(x.to(dtype)).float().square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in half.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_grad_checkpointing_changes_no_number(form):
    gradients = []
    for enable in (False, True):
        model = tiny(form, drop_path_rate=0.5, proj_drop_rate=0.1, depths=(2, 1, 2, 1)).train()
        model.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        loss = model(torch.linspace(-1, 1, 4 * 3 * 64 * 64).reshape(4, 3, 64, 64)).square().sum()
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    for without, with_ in zip(*gradients, strict=True):
        assert torch.equal(without, with_)


@pytest.mark.parametrize("form", FORMS)
def test_compile_forward_and_backward_in_one_graph(form):
    torch._dynamo.reset()
    model = tiny(form).eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        assert relative(compiled(x), model(x)) < 1e-5
    model.train()
    compiled(x).square().sum().backward()
    compiled_grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    model(x).square().sum().backward()
    eager_grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(compiled_grads) == len(eager_grads) == len(list(model.parameters()))
    for got, expected in zip(compiled_grads, eager_grads, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)


# Inductor says that it calls the FFT as it is; nothing else may be said.
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex")
def test_compile_with_inductor():
    torch._dynamo.reset()
    model = tiny("hybrid", dims=(8, 8, 32, 32)).eval()
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert relative(compiled(x), model(x)) < 1e-5
    compiled(x).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_initial_weights_follow_the_variant():
    for name, expected in (("s18_pure", 0.02), ("pico_pure", 96**-0.5)):
        model = spanetv2.create_model(name)
        weight = model.get_parameter("stages.2.blocks.1.mlp.fc1.weight")
        assert abs(weight.std().item() / expected - 1) < 0.03, name
        biases = (p for n, p in model.named_parameters() if n.endswith("bias"))
        assert [b.shape for b in biases if b.any()] == [model.stem.conv.bias.shape], name
        fc2 = model.get_parameter("head.fc.fc2.weight")
        assert abs(fc2.std().item() / (0.02 if expected == 0.02 else 512**-0.5) - 1) < 0.03, name


def test_drop_path_grows_linearly():
    model = tiny(depths=(1, 2, 1, 1), drop_path_rate=0.4)
    rates = [
        getattr(block.drop_path1, "drop_prob", 0.0)
        for stage in model.stages
        for block in stage.blocks
    ]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("form", FORMS)
def test_intermediates_and_feature_norms(form):
    model = tiny(form, feature_norms=True).eval()
    for norm in model.feature_norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        last, maps = model.forward_intermediates(x)
        torch.testing.assert_close(last, model.forward_features(x))
        for stage, (y, norm) in enumerate(zip(maps, model.feature_norms, strict=True)):
            assert y.shape == (2, TINY["dims"][stage], 16 >> stage, 16 >> stage)
            scaled = y.permute(0, 2, 3, 1) / norm.weight
            torch.testing.assert_close(
                scaled.mean(-1), torch.zeros(2, 16 >> stage, 16 >> stage), atol=1e-5, rtol=0
            )
        nhwc = model.forward_intermediates(
            x, indices=[-1], output_fmt="NHWC", intermediates_only=True
        )
        torch.testing.assert_close(nhwc[0].permute(0, 3, 1, 2), maps[-1])
        plain = tiny(form).eval().forward_intermediates(x, intermediates_only=True)
        torch.testing.assert_close(plain[-1], last)
    with pytest.raises(UserError, match="output_fmt='NLC'"):
        model.forward_intermediates(x, output_fmt="NLC")


def test_features_only_through_timm_has_norms_that_train():
    model = timm.create_model(
        "spanetv2_pico_pure", features_only=True, out_indices=(1, 3), img_size=64
    )
    maps = model(torch.randn(1, 3, 64, 64))
    assert [tuple(y.shape) for y in maps] == [(1, 48, 8, 8), (1, 128, 2, 2)]
    assert model.feature_info.channels() == [48, 128]
    assert model.feature_info.reduction() == [8, 32]
    sum(y.square().sum() for y in maps).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


def test_head_composes_and_resets():
    model = tiny(global_pool="avgmax").double().eval()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        pooled = model.forward_head(model.forward_features(x), pre_logits=True)
        assert pooled.shape == (2, model.head_hidden_size)
        torch.testing.assert_close(model.get_classifier()(pooled), model(x))
        model.reset_classifier(9)
        assert model(x).shape == (2, 9)
        assert not model.head.fc.training
        model.reset_classifier(0)
        torch.testing.assert_close(model(x), pooled)
        model.reset_classifier(0, "")
        assert model(x).shape == (2, 32, 2, 2)
    with pytest.raises(ValueError, match="got global_pool='mean'"):
        model.reset_classifier(3, "mean")


def test_layer_groups_follow_depth():
    from timm.optim import param_groups_layer_decay

    model = tiny(depths=(1, 2, 1, 1))
    groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.5, verbose=False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {
        names[id(parameter)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert set(scales) == set(names.values())
    assert scales["head.fc.fc2.weight"] == (1, 0.05)
    order = [
        "stem.conv.weight",
        "stages.0.blocks.0.mlp.fc1.weight",
        "stages.1.blocks.0.mlp.fc1.weight",
        "stages.1.blocks.1.mlp.fc1.weight",
        "stages.3.blocks.0.mlp.fc1.weight",
        "head.fc.fc1.weight",
    ]
    values = [scales[name][0] for name in order]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert scales["stages.1.downsample.conv.weight"][0] == scales[order[2]][0]
    assert scales["stages.0.blocks.0.norm1.weight"][1] == 0


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="not_an_argument"):
        timm.create_model("spanetv2_pico_pure", not_an_argument=1)
    with pytest.raises(UserError, match="got mixers"):
        SPANetV2(mixers=("spam", "spam", "spam", "pool"))
    with pytest.raises(UserError, match="expected one of each per stage"):
        SPANetV2(depths=(1, 1))


def test_published_variants_are_all_there():
    assert len(PUBLISHED) == 8
    assert set(timm.list_models("spanetv2*")) == set(VARIANTS)
