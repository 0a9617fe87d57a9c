"""A pytest plugin that points timm's own tests/test_models.py at this package's models.

timm's test file asks ``timm.list_models`` what to test while it is being imported. The plugin makes
that answer this package's models, then keeps only the tests that run on one of them. The file
itself stays as timm ships it. See docs/timm.md, and scripts/timm-tests for how it is run.

Nothing happens when this file is merely imported: the work starts at ``pytest_configure``.
"""

import fnmatch
import functools
from collections.abc import Callable, Iterable
from typing import Any

import pytest

PREFIX = "spanetv2_"

# timm's markers, from its pyproject.toml.
MARKERS = (
    "base",
    "forward",
    "backward",
    "cfg",
    "cfg_nonstd",
    "torchscript",
    "features",
    "fxforward",
    "fxbackward",
)

# Every check of timm's that is made for each model. If timm renames one, the run stops and says so.
CHECKS = frozenset(
    {
        "test_model_default_cfgs",
        "test_model_forward",
        "test_model_backward",
        "test_model_forward_torchscript",
        "test_model_forward_features",
        "test_model_forward_intermediates",
        "test_model_forward_intermediates_features",
        "test_prune_intermediate_layers_contract",
        "test_model_forward_fx",
        "test_model_backward_fx",
        "test_model_forward_fx_torchscript",
    }
)

# What timm checks for each set of weights besides.
TRAINED_CHECKS = frozenset({"test_model_load_pretrained", "test_model_features_pretrained"})

# Tracing a large variant, or pruning it at every stage, takes most of the time of all checks and
# goes through the code of S18, only more often: that is left to the smaller variants
# (--every-check runs it anyway).
LARGE = ("spanetv2_s36_*", "spanetv2_m36_*", "spanetv2_b36_*")
LARGE_CHECKS = CHECKS - {
    "test_prune_intermediate_layers_contract",
    "test_model_forward_fx",
    "test_model_backward_fx",
    "test_model_forward_fx_torchscript",
}


def base_name(model_name: str) -> str:
    """Drop the pretrained tag: ``name.tag`` gives ``name``.

    >>> base_name("spanetv2_s18_pure.in1k")
    'spanetv2_s18_pure'
    """
    return model_name.partition(".")[0]


def checks_for(model_name: str) -> frozenset[str]:
    """Give the names of timm's checks that run on a model.

    >>> "test_model_backward_fx" in checks_for("spanetv2_s18_pure")
    True
    >>> "test_model_backward_fx" in checks_for("spanetv2_b36_hybrid")
    False
    >>> "test_model_load_pretrained" in checks_for("spanetv2_pico_pure.fashion_mnist")
    True
    """
    name = base_name(model_name)
    large = any(fnmatch.fnmatch(name, pattern) for pattern in LARGE)
    checks = LARGE_CHECKS if large else CHECKS
    return checks if name == model_name else checks | TRAINED_CHECKS


def only_ours(list_models: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Wrap ``timm.list_models`` so that it gives this package's models only.

    The ``module`` filter, which names timm's own modules, is dropped. All other arguments keep
    their meaning, so a test of another family (``list_models("efficientnet_*")``) gets nothing.
    """

    @functools.wraps(list_models)
    def listing(
        filter: str | Iterable[str] = "",  # noqa: A002, RUF100 - timm's name
        module: str | Iterable[str] = "",
        **options: Any,
    ) -> list[str]:
        found = list_models(filter, "", **options)
        return [name for name in found if name.startswith(PREFIX)]

    return listing


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--every-check``."""
    parser.addoption(
        "--every-check", action="store_true", help="all checks on the large variants too (slow)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register our models and timm's markers, before any test file is imported."""
    import timm

    import spanetv2  # noqa: F401 - registers the models

    for marker in MARKERS:
        config.addinivalue_line("markers", f"{marker}: one of timm's groups of model tests")
    timm.list_models = only_ours(timm.list_models)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the checks that run on one of our models and belong to it."""
    import timm

    every = config.getoption("--every-check")
    kept, dropped, seen = [], [], set()
    for item in items:
        name = _model_name(item)
        check = getattr(item, "originalname", item.name)
        if name.startswith(PREFIX):
            seen.add((base_name(name), check))
            wanted = every or check in checks_for(name)
            (kept if wanted else dropped).append(item)
        else:
            dropped.append(item)
    unknown = {check for _, check in seen} - CHECKS - TRAINED_CHECKS
    expected = {(name, check) for name in timm.list_models() for check in CHECKS}
    trained = timm.list_pretrained(f"{PREFIX}*")
    expected |= {(base_name(name), check) for name in trained for check in TRAINED_CHECKS}
    missing = expected - seen
    if config.option.keyword or config.option.markexpr or "::" in " ".join(config.args):
        missing = set()
    if unknown or missing or not kept:
        lines = [f"unknown check {check}: add it to CHECKS" for check in sorted(unknown)]
        lines += [f"{check} does not run on {name}" for name, check in sorted(missing)[:20]]
        raise pytest.UsageError(
            "timm's tests and this plugin do not fit together:\n  "
            + "\n  ".join(lines or ["no test runs on a model of this package"])
        )
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def _model_name(item: pytest.Item) -> str:
    """Give the model a test runs on, "" for a test of something else."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("model_name") if callspec is not None else None
    return name if isinstance(name, str) else ""
