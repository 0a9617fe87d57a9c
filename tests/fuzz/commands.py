"""Command lines with odd values, for every command that is quick."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.pictures import PICTURE, write_picture
from tests.fuzz.worker import Outcome

SHARE = 4
_CHECKPOINT = "spanetv2_pico_pure.fashion_mnist"
_ODD = st.one_of(
    st.sampled_from(["-1", "0", "1", "2", "nan", "inf", "-inf", "1e999", "", " ", "99", "1.5"]),
    st.sampled_from(["auto", "null", "true", "[]", "[1,2]", "{a: 1}", "cuda:99", "mps", "meta"]),
    st.sampled_from(
        ["\x1b[31m", "a\nb", "x" * 300, "/dev/null", "/dev/full", "/proc/self/mem", ".", "in"]
    ),
    st.sampled_from(["in/x.png", "none.png", "in/*.png", "--", "-", "~", "in/../in", "ü", "out"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10),
)
_OPTIONS = {
    "predict": ("--top-k", "--batch-size", "--device", "--workers", "--out", "--score", "--json"),
    "evaluate": (
        "--data",
        "--dataset",
        "--split",
        "--batch-size",
        "--device",
        "--json",
        "--workers",
    ),
    "check-data": ("--split", "--dataset", "--annotations", "--mask-values", "--orientation"),
    "convert": ("--gate",),
    "convert-data": ("--format", "--out", "--val-share", "--seed"),
    "train": (
        *(
            "--seed",
            "--optimizer.lr",
            "--trainer.devices",
            "--trainer.max_epochs",
            "--out",
            "--data",
        ),
        *(
            "--model",
            "--weights",
            "--config",
            "--data.total_batch",
            "--trainer.precision",
            "--freeze",
        ),
        *("--trainer.callbacks", "--schedule.warmup_epochs", "--model.kwargs", "--resume", "--ema"),
    ),
    "scenes": ("--train", "--val", "--size"),
    "models": (),
    "recipes": (),
}
_USUAL = {
    "predict": [_CHECKPOINT, "in"],
    "evaluate": [_CHECKPOINT, "--data", "in"],
    "check-data": ["classification", "in"],
    "convert": [_CHECKPOINT, "out.safetensors"],
    "convert-data": ["in", "out"],
    "train": ["classification", "--config", "digits"],
    "scenes": ["made", "--train", "1", "--val", "1", "--size", "96"],
    "models": [],
    "recipes": [],
}
# values of these would only make a command slow
_SLOW = ("--train", "--val", "--size", "--workers")
_SMALL = st.sampled_from(["-1", "0", "1", "nan", "", "x", "1.5", "inf"])


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    command = draw(st.sampled_from(sorted(_USUAL)))
    options = (
        draw(st.lists(st.sampled_from(_OPTIONS[command]), max_size=3)) if _OPTIONS[command] else []
    )
    pairs = [[name, draw(_SMALL if name in _SLOW else _ODD)] for name in options]
    return {
        "command": command,
        "replaced": draw(st.lists(st.tuples(st.integers(0, 3), _ODD).map(list), max_size=1)),
        "options": pairs,
        "more": draw(st.lists(_ODD | st.sampled_from(["--nonsense", "-x", "--help"]), max_size=1)),
    }


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    (folder / "in").mkdir()
    write_picture(folder / "in" / "x.png", PICTURE)
    usual = list(_USUAL[recipe["command"]])
    for place, value in recipe["replaced"]:
        if place < len(usual) and usual[place - 1] not in _SLOW:
            usual[place] = value
    words = [recipe["command"], *usual]
    for name, value in recipe["options"]:
        words += [name, value]
    words += recipe["more"]
    if recipe["command"] == "train":
        words.append("--print-config")
    return words


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    return []
