"""A finished run in the Hub's layout, with a card made of what its folder tells."""

import contextlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from spanetv2.errors import UserError
from spanetv2.files import read_json
from spanetv2.hub.card import (
    Card,
    describe_classes,
    describe_file,
    describe_images,
    describe_length,
    figure_rows,
    summarise,
)
from spanetv2.hub.layout import make_metadata, write_layout
from spanetv2.hub.push import Pushed, check_push, push_folder, repository_of
from spanetv2.models import load_model
from spanetv2.models.weights.read import Checkpoint, read_checkpoint
from spanetv2.models.weights.record import DEFAULT_TASK
from spanetv2.models.weights.source import HUB, LOCAL, RUN_WEIGHTS, find_weights
from spanetv2.plain_yaml import read_yaml
from spanetv2.tasks import find_task

__all__ = ["push_run", "write_run"]

RECIPE, FIGURES = "recipe.yaml", "metrics.json"
CURVES = "training_curves.png"
_TITLES = {
    CURVES: "Training curves",
    "predictions.png": "Predictions",
    "confusion_matrix.png": "Confusions",
    "spectral_filters.png": "What the spectral filters learned",
}
# Of this machine, not of the network.
_OF_MACHINE = ("out", "loggers", "trainer.logger", "data.root", "trainer.default_root_dir")
_ABSOLUTE = re.compile(r"(?<![\w.~/])(?:~?/|[A-Za-z]:\\)[^\s'\",:;)\]}]+")


def push_run(
    run: str | os.PathLike[str],
    name: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str | None = None,
    licence: str | None = None,
    limits: Sequence[str] = (),
    pictures: Sequence[Path] = (),
) -> Pushed:
    """Put a finished run on the Hub, with a card made of it; what ``spanetv2 push`` does.

    Args:
        run: folder of a run, or another checkpoint, of which less is known.
        name: owner/name of the repository, made if it is not there.
        private: whether a new repository is; None leaves it to the Hub.
        token: for the Hub; None takes the one that `hf auth login` kept, or HF_TOKEN.
        revision: branch; None is the main one.
        message: of the commit.
        licence: of the weights, for the card.
        limits: paragraphs for the card, before those that are known of every network.
        pictures: PNG files to show beside those in the run's folder.

    Raises:
        UserError: no such run, no token, no right to write there, or the Hub cannot be reached.
    """
    repository = repository_of(name)
    checkpoint = _read(run)
    check_push(repository, token=token)
    with tempfile.TemporaryDirectory() as folder:
        _write(
            run,
            checkpoint,
            Path(folder),
            source=HUB + repository,
            title=repository.partition("/")[2],
            licence=licence,
            limits=limits,
            pictures=pictures,
        )
        return push_folder(
            Path(folder),
            repository,
            private=private,
            token=token,
            revision=revision,
            message=message or f"Weights of {checkpoint.model_name}, trained with spanetv2",
        )


def write_run(
    run: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    name: str | None = None,
    *,
    licence: str | None = None,
    limits: Sequence[str] = (),
    pictures: Sequence[Path] = (),
) -> list[Path]:
    """Write the files that ``push_run`` would put on the Hub into a folder, without any network.

    Args:
        run: as for ``push_run``, like all others.
        folder: where to; its other files stay.
        name: owner/name that the card speaks of; None speaks of the folder.

    Returns:
        The files.

    Raises:
        UserError: no such run, or the folder is the run's.
    """
    target = Path(folder)
    checkpoint = _read(run)
    if target.exists() and not target.is_dir():
        raise UserError(f"got {target}, which is a file, expected a folder")
    if target.is_dir() and checkpoint.path.parent.samefile(target):
        raise UserError(f"got {target}, the folder of the weights themselves; expected another")
    repository = None if name is None else repository_of(name)
    return _write(
        run,
        checkpoint,
        target,
        source=f"{LOCAL}{target}" if repository is None else HUB + repository,
        title=target.resolve().name if repository is None else repository.partition("/")[2],
        licence=licence,
        limits=limits,
        pictures=pictures,
    )


def _read(run: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint, which must be a file of this package: it says all about itself.

    Raises:
        UserError: another kind of file.
    """
    checkpoint = read_checkpoint(run)
    known = checkpoint.source == "spanetv2" or checkpoint.model_name is not None
    if checkpoint.path.suffix != ".safetensors" or not known or checkpoint.model_name is None:
        raise UserError(
            f"{checkpoint.path}: expected a run, or a safetensors file that this package wrote; "
            "`spanetv2 convert` makes one of other files"
        )
    return checkpoint


def _write(
    run: str | os.PathLike[str],
    checkpoint: Checkpoint,
    target: Path,
    *,
    source: str,
    title: str,
    licence: str | None,
    limits: Sequence[str],
    pictures: Sequence[Path],
) -> list[Path]:
    path = find_weights(run).path
    folder = path.parent if path.name == RUN_WEIGHTS else None
    model = load_model(checkpoint)[0] if checkpoint.task == DEFAULT_TASK else None
    with tempfile.TemporaryDirectory() as drawn:
        shown = _pictures(folder, pictures, Path(drawn))
        config = _config(folder)
        recipe = _recipe(config)
        data = " --data DATA" if (config.get("data") or {}).get("root") else ""
        figures = _json(folder, FIGURES)
        card = _card(
            checkpoint,
            source=source,
            title=title,
            config=config,
            versions=_json(folder, "versions.json"),
            figures=figures or checkpoint.extra,
            pictures={_TITLES.get(name, PurePath(name).stem): name for name in shown},
            recipe=f"spanetv2 train {checkpoint.task} --config {RECIPE}{data}" if recipe else "",
            licence=licence,
            limits=limits,
        )
        texts = {RECIPE: recipe} if recipe else {}
        if figures:
            told = {key: value for key, value in figures.items() if key != "failures"}
            texts[FIGURES] = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
        return write_layout(
            target,
            checkpoint,
            card.text(),
            model=model,
            pictures=shown,
            texts=texts,
            licence=licence,
        )


def _card(
    checkpoint: Checkpoint,
    *,
    source: str,
    title: str,
    config: Mapping[str, Any],
    versions: Mapping[str, Any],
    figures: Mapping[str, Any],
    pictures: Mapping[str, str],
    recipe: str,
    licence: str | None,
    limits: Sequence[str],
) -> Card:
    """The card of a run; what its folder does not tell is left out."""
    task = find_task(checkpoint.task)
    data = _data(config.get("data") or {})
    images = figures.get("images")
    measured = f"Measured on {images:,} images" if isinstance(images, int) else "Measured"
    split = (config.get("data") or {}).get("val_split") or (config.get("data") or {}).get("split")
    measured += f" of the run's validation data ({split})" if split else " of its validation data"
    training = figures.get("training") or {}
    chosen = str(training.get("weights_of", "")).startswith("the best")
    facts = {
        "network": checkpoint.model_name or "",
        **describe_file(checkpoint.path, checkpoint),
        "input": describe_images(checkpoint),
        "classes": describe_classes(checkpoint.classes or []),
        "data": data or "",
        "started from": _place(config.get("weights")) or "",
        **_training(versions, config, training),
        "recipe": f"[{RECIPE}]({RECIPE}), every setting of it: `{recipe}`" if recipe else "",
        "licence": licence or "",
    }
    known = [*limits, *task.limits(checkpoint)]
    if data:
        known.append(
            f"It was trained and measured on {data}. How it does on pictures of another kind was "
            "not measured."
        )
    if chosen:
        known.append(
            "The figures are those of the best epoch or update, chosen on the same validation "
            "data, and flatter a little."
        )
    return Card(
        title=title,
        summary=summarise(checkpoint.model_name, checkpoint.task, figures),
        usage=(
            ("sh", f"spanetv2 predict {shlex.quote(source)} image.png"),
            ("python", task.loading_example(source)),
        ),
        facts=facts,
        measured=f"{measured}, which it was not trained on, by the code of `spanetv2 evaluate`:",
        columns=("",),
        figures=figure_rows(checkpoint.task, figures),
        pictures=pictures,
        limits=known,
        metadata=make_metadata(
            checkpoint, figures=figures, data=data, licence=licence, title=title
        ),
    )


def _training(
    versions: Mapping[str, Any], config: Mapping[str, Any], training: Mapping[str, Any]
) -> dict[str, str]:
    """How long, where and with what a network was trained."""
    hardware, packages = versions.get("hardware") or {}, versions.get("packages") or {}
    known = [
        f"{name} {packages[name]}" for name in ("spanetv2", "torch", "timm") if name in packages
    ]
    command = versions.get("command")
    return {
        "training": f"`{without_folders(command)}`" if command else "",
        "seed": str(config.get("seed", "")),
        "length": describe_length(training),
        "hardware": ", ".join(
            str(hardware[key]) for key in ("gpu", "processor", "machine") if hardware.get(key)
        ),
        "versions": ", ".join(known),
        "commit": str(versions.get("commit") or ""),
    }


def without_folders(text: str) -> str:
    """A command line or a value without the folders of the machine that it ran on.

    Example:
        >>> without_folders("spanetv2 train classification --data /home/me/flowers --out=~/runs/a")
        'spanetv2 train classification --data flowers --out=a'
    """
    return _ABSOLUTE.sub(lambda found: PurePath(found[0].replace("\\", "/")).name or "/", text)


def _place(path: Any) -> str | None:
    """What a path is called, without where it lies."""
    return None if path is None else without_folders(str(path))


def _data(data: Mapping[str, Any]) -> str | None:
    """What a run was trained on: the name of its folder, or of a data set."""
    kind, root = data.get("dataset"), _place(data.get("root"))
    name = PurePath(root).name if root else None
    return name or (str(kind) if kind else None)


def _config(folder: Path | None) -> dict[str, Any]:
    """The run's configuration; empty where it is not there."""
    with contextlib.suppress(OSError, UserError):
        if folder is not None:
            read = read_yaml(folder / "config.yaml", expected="the configuration of a run")
            return read if isinstance(read, dict) else {}
    return {}


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    """A file that a run left; empty where it is not there."""
    with contextlib.suppress(UserError):
        if folder is not None:
            read = read_json(folder / name, expected="what a run left")
            return read if isinstance(read, dict) else {}
    return {}


def _recipe(config: Mapping[str, Any]) -> str:
    """The configuration as a recipe that others can train by: without places of this machine."""

    def kept(value: Any, place: str = "") -> Any:
        if isinstance(value, Mapping):
            named = {key: (f"{place}.{key}".lstrip("."), item) for key, item in value.items()}
            return {k: kept(v, at) for k, (at, v) in named.items() if at not in _OF_MACHINE}
        if isinstance(value, list):
            return [kept(item, place) for item in value]
        return without_folders(value) if isinstance(value, str) else value

    told = kept(config)
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True) if told else ""


def _pictures(folder: Path | None, given: Sequence[Path], drawn: Path) -> dict[str, Path]:
    """Name -> file: what the run's folder has, its curves, and what is given."""
    for path in given:
        if path.suffix != ".png" or not path.is_file():
            raise UserError(f"got picture {path}, expected a PNG file")
    found: dict[str, Path] = {}
    if folder is not None:
        found = {path.name: path for path in sorted(folder.glob("*.png"))}
        table = folder / "logs" / "metrics.csv"
        if CURVES not in found and table.is_file():
            from spanetv2.tasks.classification.picture import training_curves

            with contextlib.suppress(UserError):
                training_curves(table, drawn / CURVES)
                found[CURVES] = drawn / CURVES
    order = [name for name in _TITLES if name in found]
    order += [name for name in found if name not in order]
    return {**{name: found[name] for name in order}, **{path.name: path for path in given}}
