"""Odd options and files for ``export``, ``analyze``, ``explore`` and ``benchmark``."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import checkpoints
from tests.fuzz.pictures import damages, picture_recipes, seldom, write_picture
from tests.fuzz.worker import Outcome

SHARE = 2
_WORDS = st.sampled_from(
    ["-1", "0", "1", "2", "3", "nan", "inf", "1e9", "", "99", "1.5", "auto", "x", "\x1b[31m", "[]"]
)
_FILES = st.sampled_from(["in", "none", ".", "/dev/null", "/dev/full", "x.html", "in/0.png", "out"])
_OPTIONS: dict[str, dict[str, Any]] = {
    "export": {
        "--format": st.sampled_from(["torchscript", "onnx", "torch", "x", ""]),
        **dict.fromkeys(("--img-size", "--batch-size", "--opset"), _WORDS),
        "--quantize": st.sampled_from(["int8", "int4", ""]),
        **dict.fromkeys(("--calibrate", "--out"), _FILES),
    },
    "analyze model": {
        "--images": _FILES,
        **dict.fromkeys(("--max-images", "--probe-images", "--channels", "--rows"), _WORDS),
        **dict.fromkeys(("--seed", "--heat-map-size", "--batch-size", "--cam"), _WORDS),
        "--compare": st.sampled_from(["none", "resnet", "torchvision:x", "hf-dir:in", "w.pth"]),
        **dict.fromkeys(("--cue-conflict", "--out"), _FILES),
        "--device": st.sampled_from(["cuda:9", "x", "meta", "cpu"]),
    },
    "analyze theory": {
        **dict.fromkeys(("--seed", "--grid", "--draws"), _WORDS),
        "--out": _FILES,
    },
    "explore": {
        **dict.fromkeys(("--images", "--out", "--runtime"), _FILES),
        "--compare": st.sampled_from(["none", "torchvision:x", "w.pth"]),
        "--runtime-url": _WORDS,
    },
    "benchmark": {
        **dict.fromkeys(("--batch", "--size", "--rounds", "--warmup", "--threads"), _WORDS),
        **dict.fromkeys(("--mode", "--pass", "--dtype", "--reference", "--variant"), _WORDS),
        **dict.fromkeys(("--out", "--markdown", "--plot", "--table"), _FILES),
        "--device": st.sampled_from(["cuda:9", "x", "meta", "cpu"]),
    },
}
"""Options whose values may be odd."""
QUICK = [
    *("--images", "in", "--max-images", "1", "--probe-images", "1", "--channels", "1"),
    *("--rows", "2", "--sheet-images", "1"),
]
"""Options of ``analyze model`` that make it quick."""
_USUAL = {
    "export": ["--format", "torchscript", "--out", "net.ts"],
    "analyze model": [*QUICK, "--out", "report"],
    "analyze theory": ["--grid", "4", "--draws", "1", "--out", "theory"],
    "explore": ["--images", "none", "--out", "lab.html"],
    "benchmark": ["--rounds", "1", "--warmup", "1", "--size", "32", "--batch", "1"],
}


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    command = draw(st.sampled_from(sorted(_OPTIONS)))
    known = _OPTIONS[command]
    names = draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3, unique=True))
    weights = draw(checkpoints.recipes())
    return {
        "command": command,
        "options": [[name, draw(known[name])] for name in names],
        "weights": {**weights, "task": "c", "form": "pth", "command": "convert"},
        "sound": draw(seldom(st.just(False), True, one_in=2)),
        "picture": draw(picture_recipes()),
        "record": draw(seldom(damages, [])),
    }


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    checkpoints.build(recipe["weights"], folder)
    (folder / "in").mkdir()
    picture = recipe["picture"]
    write_picture(folder / "in" / f"0{picture['ending']}", picture)
    command = recipe["command"]
    network = "spanetv2_pico_pure.fashion_mnist" if recipe["sound"] else "w.pth"
    named = {"analyze theory": [], "benchmark": ["test_resnet"]}
    words = [*command.split(), *named.get(command, [network]), *_USUAL[command]]
    for name, value in recipe["options"]:
        words += [name, value]
    return words


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if outcome.status == 0 and recipe["command"] == "export":
        made = [*folder.glob("net.*"), *folder.glob("*.onnx"), *folder.glob("*.pt2")]
        return [] if made or "--out" in json.dumps(recipe["options"]) else ["wrote nothing"]
    return []
