"""The plugin shows timm's tests this package's models, and nothing else."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import timm

from spanetv2.models import VARIANTS


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    path = Path(__file__).with_name("timm_contract.py")
    spec = importlib.util.spec_from_file_location("timm_contract_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_ours_lists_every_variant(plugin: ModuleType) -> None:
    listing = plugin.only_ours(timm.list_models)
    assert set(listing()) == set(VARIANTS)
    assert set(listing(name_matches_cfg=True)) == set(VARIANTS)


def test_only_ours_drops_the_module_filter(plugin: ModuleType) -> None:
    listing = plugin.only_ours(timm.list_models)
    assert set(listing(module=["vision_transformer", "convnext"])) == set(VARIANTS)
    assert set(listing("", "resnet")) == set(VARIANTS)


def test_only_ours_keeps_the_other_filters(plugin: ModuleType) -> None:
    listing = plugin.only_ours(timm.list_models)
    assert listing("efficientnet_*") == []
    assert listing(filter=["vit_*", "deit*"], include_tags=True) == []
    assert set(listing(exclude_filters="*_hybrid")) == {n for n in VARIANTS if "pure" in n}
    assert listing("spanetv2_s18_pure") == ["spanetv2_s18_pure"]
    tagged = listing(include_tags=True)
    assert {plugin.base_name(name) for name in tagged} == set(VARIANTS)


def test_only_ours_rejects_what_timm_rejects(plugin: ModuleType) -> None:
    with pytest.raises(TypeError):
        plugin.only_ours(timm.list_models)(no_such_filter=1)


def test_importing_the_plugin_leaves_timm_alone(plugin: ModuleType) -> None:
    assert "resnet18" in timm.list_models()


def test_every_check_runs_on_a_pure_and_a_hybrid_variant(plugin: ModuleType) -> None:
    for form in ("pure", "hybrid"):
        names = [name for name in VARIANTS if name.endswith(form)]
        assert any(plugin.checks_for(name) == plugin.CHECKS for name in names)
    assert plugin.LARGE_CHECKS < plugin.CHECKS


def test_weights_in_the_package_get_their_own_checks(plugin: ModuleType) -> None:
    trained = plugin.only_ours(timm.list_models)(pretrained=True)
    assert {plugin.base_name(name) for name in trained} == {
        "spanetv2_pico_hybrid",
        "spanetv2_pico_pure",
    }
    for name in trained:
        assert plugin.checks_for(name) == plugin.CHECKS | plugin.TRAINED_CHECKS


def test_the_documentation_says_which_checks_run(plugin: ModuleType) -> None:
    text = (Path(__file__).parents[2] / "docs" / "timm.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    listed = {row[1].strip("`"): row[-2] for row in rows if len(row) > 4}
    for check in plugin.CHECKS:
        assert listed[check] == ("yes" if check in plugin.LARGE_CHECKS else "no"), check
    for check in plugin.TRAINED_CHECKS:
        assert f"`{check}`" in text, check
