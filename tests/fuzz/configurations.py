"""Configuration files, for ``train --print-config``: what a file says is what the run has."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.fuzz.pictures import damage, damages
from tests.fuzz.worker import Outcome

SHARE = 4
_KEYS = [
    *("seed", "out", "weights", "log_every", "task", "loggers", "optimizer", "optimizer.lr"),
    *("optimizer.name", "optimizer.weight_decay", "optimizer.kwargs", "schedule.warmup_epochs"),
    *("schedule.updates", "schedule.milestones", "data.root", "data.total_batch", "data.workers"),
    *("data.batch_size", "model.name", "model.img_size", "model.kwargs", "model.drop_path"),
    *("trainer.max_epochs", "trainer.precision", "trainer.callbacks", "trainer.devices"),
    *("trainer.strategy", "trainer.limit_train_batches", "ema.decay", "ema.on"),
    *("checkpoints.export", "augmentation", "augmentation.hflip", "preprocessing", "detector"),
    *("head", "head.width", "detector.masks", "preprocessing.mean", "nonsense", "model.nonsense"),
]
_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 300),
        st.integers(-(10**20), 10**20),
        st.floats(),
        st.sampled_from(["auto", "adamw", "null", "1e-3", "torch.nn.Linear", "spanetv2_pico_pure"]),
        st.sampled_from(
            ["spam", "x.yaml", "/etc/passwd", "http://127.0.0.1:9", "\x1b[31mred", "~"]
        ),
        st.text(max_size=8),
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["class_path", "init_args", "name", "lr", "a", "<<", "url"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_LINES = st.sampled_from(
    [
        *(
            "a: &a [*a]",
            "b: &b [x, x]\nc: &c [*b, *b]\nd: [*c, *c]",
            "seed: !!python/name:os.system",
        ),
        *("seed: !x 1", "? [1, 2]\n: 3", "seed: 1\nseed: 2", "--- \nseed: 1\n---\nseed: 2"),
        *("%YAML 9.9\n---\nseed: 1", "\tseed: 1", "seed: 2001-99-99", "seed: 0x", "seed: 1_000"),
        *("seed: 0b11", "seed: .nan", "optimizer: {lr: 1:30}", "<<: {seed: 4}", "seed: =", "]"),
    ]
)


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    return {
        "task": draw(st.sampled_from(["classification", "segmentation", "detection"])),
        "base": draw(st.sampled_from([None, "digits", "scenes/segmentation", "scenes/mask_rcnn"])),
        "values": draw(st.lists(st.tuples(st.sampled_from(_KEYS), _VALUES).map(list), max_size=3)),
        "lines": draw(st.lists(_LINES, max_size=1)),
        "encoding": draw(
            st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1", "utf-8-sig"])
        ),
        "damage": draw(st.one_of(st.just([]), st.just([]), damages)),
        "dotted": draw(st.booleans()),
    }


def _values(recipe: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for place, value in recipe["values"]:
        if recipe["dotted"]:
            values[place] = value
            continue
        *groups, key = place.split(".")
        inner: Any = values
        for group in groups:
            if not isinstance(inner.get(group), dict):
                inner[group] = {}
            inner = inner[group]
        inner[key] = value
    return values


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    text = yaml.safe_dump(_values(recipe), allow_unicode=True, sort_keys=False)
    text = ("" if text == "{}\n" else text) + "\n".join(recipe["lines"])
    data = text.encode(recipe["encoding"], "replace")
    (folder / "mine.yaml").write_bytes(damage(data, recipe["damage"]))
    base = [] if recipe["base"] is None else ["--config", recipe["base"]]
    return ["train", recipe["task"], *base, "--config", "mine.yaml", "--print-config"]


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if (
        outcome.status != 0
        or recipe["damage"]
        or recipe["lines"]
        or recipe["encoding"] == "latin-1"
    ):
        return []
    try:
        printed = yaml.safe_load(outcome.out)
    except yaml.YAMLError:
        return ["printed something else than YAML"]
    places = [place for place, _ in recipe["values"]]
    for place, value in recipe["values"]:
        inside = any(other != place and other.startswith(f"{place}.") for other in places)
        last = [other for other in places if other == place]
        if place in ("out", "task") or inside or len(last) > 1 or value in (None, {}, []):
            continue
        got: Any = printed
        for key in place.split("."):
            got = got.get(key) if isinstance(got, dict) else None
        if isinstance(value, dict):
            continue
        if got is None and value not in ("null", "~", ""):
            return [f"{place} was {value!r} in the file and is not in the run"]
    return []
