import pytest
import timm
import torch

import spanetv2
from spanetv2.errors import UserError
from spanetv2.models.features import create_backbone
from spanetv2.models.weights import read_checkpoint, save_weights
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter
from spanetv2.tasks.segmentation.weights import load_segmenter, save_segmenter, start_from

SMALL = HeadOptions(width=8, neck=8, auxiliary_width=8)
NAMES = ["a", "b", "c"]


def small(backbone="pico_pure", num_classes=3, head=SMALL, **options):
    torch.manual_seed(0)
    return create_segmenter(backbone, num_classes, head, **options)


@pytest.mark.parametrize("head", ["upernet", "semantic_fpn"])
@pytest.mark.parametrize("backbone", ["pico_pure", "pico_hybrid"])
def test_segmenter_scores_every_pixel(backbone, head):
    model = small(backbone, head=HeadOptions(name=head, width=8, neck=8)).eval()
    for size in ((64, 64), (65, 31), (40, 97)):
        x = torch.randn(2, 3, *size)
        scores = model(x)
        assert scores.shape == (2, 3, *size)
        # float32 sums in another order; the scores are of the size of 0.1
        torch.testing.assert_close(scores[:1], model(x[:1]), rtol=1e-4, atol=1e-5)


def test_segmenter_trains_every_parameter():
    model = small().train()
    scores, auxiliary = model.forward_train(torch.randn(2, 3, 64, 48))
    assert scores.shape == auxiliary.shape == (2, 3, 64, 48)
    (scores.square().mean() + auxiliary.square().mean()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_segmenter_has_an_auxiliary_head_where_it_is_wanted():
    assert small(head=HeadOptions(name="semantic_fpn")).auxiliary is None
    assert small(head=HeadOptions(auxiliary=False)).auxiliary is None
    model = small(head=HeadOptions(name="semantic_fpn", auxiliary=True))
    assert model.auxiliary is not None
    assert (
        small(head=HeadOptions(auxiliary=False)).forward_train(torch.zeros(2, 3, 32, 32))[1] is None
    )


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "swin_tiny_patch4_window7_224"])
@pytest.mark.parametrize("head", ["upernet", "semantic_fpn"])
def test_segmenter_takes_any_timm_backbone(name, head):
    options = {"img_size": 64, "embed_dim": 24} if name.startswith("swin") else {}
    if name.startswith("swin"):
        options |= {"num_heads": (1, 1, 2, 2), "depths": (1, 1, 1, 1), "window_size": 2}
    model = small(name, head=HeadOptions(name=head, width=8, neck=8), **options).eval()
    assert len(model.backbone.strides) == 4
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("name", ["pico_pure", "resnet10t"])
def test_backbone_without_the_maps_asked_for_is_refused(name):
    with pytest.raises(UserError, match=rf"model .*{name} cannot be a backbone of four maps"):
        create_backbone(name, out_indices=(9,))


def test_backbone_refuses_options_it_does_not_take():
    with pytest.raises(UserError, match=r"model spanetv2_pico_pure: .*no_such_option"):
        create_backbone("pico_pure", no_such_option=1)


def test_head_options_are_checked():
    with pytest.raises(UserError, match="got head 'fcn', expected semantic_fpn or upernet"):
        HeadOptions(name="fcn")
    with pytest.raises(UserError, match=r"got head\.width 0, expected 1 to 65536"):
        HeadOptions(width=0)
    with pytest.raises(UserError, match="got 256 classes, expected 1 to 255"):
        create_segmenter("pico_pure", 256)


def test_backbone_starts_from_a_classifier(tmp_path):
    torch.manual_seed(3)
    classifier = spanetv2.create_model("pico_pure", num_classes=7, img_size=64, stem_stride=2)
    for parameter in classifier.parameters():
        torch.nn.init.normal_(parameter)
    save_weights(classifier, tmp_path / "c.safetensors")
    model = small(checkpoint=tmp_path / "c.safetensors")
    assert model.backbone.strides == [2, 4, 8, 16]
    state = model.backbone.model.state_dict()
    expected = {k: v for k, v in classifier.state_dict().items() if not k.startswith("head.")}
    assert {k for k in state if not k.startswith("feature_norms.")} == set(expected)
    assert all(torch.equal(state[k], v) for k, v in expected.items())
    assert model.backbone.record["model_kwargs"]["stem_stride"] == 2


def test_foreign_backbone_starts_from_a_classifier(tmp_path):
    torch.manual_seed(3)
    classifier = timm.create_model("resnet10t", num_classes=7)
    save_weights(classifier, tmp_path / "c.safetensors")
    model = small("resnet10t", checkpoint=tmp_path / "c.safetensors")
    state = model.backbone.state_dict()
    expected = classifier.state_dict()
    shared = set(state) & set(expected)
    assert len(shared) == len(state)
    assert all(torch.equal(state[k], expected[k]) for k in shared)
    with pytest.raises(UserError, match="not the weights of resnet14t"):
        small("resnet14t", checkpoint=tmp_path / "c.safetensors")


@pytest.mark.parametrize("name", ["upernet", "semantic_fpn"])
@pytest.mark.parametrize("backbone", ["pico_hybrid", "resnet10t"])
def test_checkpoint_makes_the_same_model_again(tmp_path, backbone, name):
    options = {"stem_stride": 2, "img_size": (48, 64)} if backbone.startswith("pico") else {}
    head = HeadOptions(name=name, width=8, neck=12, auxiliary=True, auxiliary_width=4)
    model = small(backbone, head=head, **options)
    path = tmp_path / "weights.safetensors"
    palette = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    settings = {"size": [64, 48]}
    save_segmenter(model, path, classes=NAMES, palette=palette, inference=settings)
    record = read_checkpoint(path)
    assert record.task == "segmentation"
    again, found = load_segmenter(tmp_path)
    assert found.classes == NAMES
    assert found.extra["palette"] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert found.extra["inference"] == settings
    assert again.options == head
    assert not again.training
    x = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        assert torch.equal(again(x), model.eval()(x))


def test_segmenter_goes_on_from_another_with_other_classes(tmp_path):
    first = small()
    save_segmenter(first, tmp_path / "w.safetensors", classes=NAMES)
    second = create_segmenter("pico_pure", 5, SMALL)
    kept = start_from(second, read_checkpoint(tmp_path / "w.safetensors"))
    assert set(kept) == {
        *(f"head.classifier.1.{name}" for name in ("weight", "bias")),
        *(f"auxiliary.classifier.1.{name}" for name in ("weight", "bias")),
    }
    ours, theirs = second.state_dict(), first.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours if k not in kept)
    other = create_segmenter("nano_pure", 3, SMALL)
    with pytest.raises(UserError, match="does not fit spanetv2_nano_pure"):
        start_from(other, read_checkpoint(tmp_path / "w.safetensors"))


def test_damaged_checkpoint_is_refused(tmp_path):
    from spanetv2.models.weights.save import save_state_dict
    from spanetv2.tasks.segmentation.weights import segmenter_record

    model = small()
    record = segmenter_record(model, classes=NAMES)
    state = {k: v for k, v in model.state_dict().items() if k != "head.fusion.0.weight"}
    save_state_dict(state, tmp_path / "w.safetensors", record)
    with pytest.raises(UserError, match=r"damaged.*head\.fusion\.0\.weight"):
        load_segmenter(tmp_path / "w.safetensors")


def test_checkpoint_of_another_task_is_refused(tmp_path):
    save_weights(spanetv2.create_model("pico_pure", num_classes=2), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="weights of a classification model"):
        load_segmenter(tmp_path / "w.safetensors")


def test_grad_checkpointing_changes_no_number():
    gradients = []
    for enable in (False, True):
        model = small(head=HeadOptions(width=8, dropout=0.0, auxiliary=False)).train()
        model.backbone.set_grad_checkpointing(enable)
        model(
            torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
        ).square().sum().backward()
        gradients.append([p.grad for p in model.backbone.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
