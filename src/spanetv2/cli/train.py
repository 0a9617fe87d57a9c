"""``spanetv2 train``: LightningCLI's parser around a whole training run."""

import contextlib
import difflib
import io
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2.cli.recipes import find_recipe, recipe_task
from spanetv2.errors import UserError

if TYPE_CHECKING:
    from spanetv2.training.run import RunResult

__all__ = ["ConfigError", "main", "run_training"]

_TASKS = ("classification", "segmentation", "detection")

_USAGE = """\
usage: spanetv2 train TASK --config RECIPE [--data PATH] [--out FOLDER] [options]

tasks
  classification   an image classifier
  segmentation     semantic segmentation: Semantic FPN or UPerNet
  detection        detection and instance segmentation: Mask R-CNN or Cascade Mask R-CNN

See: spanetv2 train TASK --help, and spanetv2 recipes
"""

_HELP = """\
usage: spanetv2 train {task} --config RECIPE [--data PATH] [--out FOLDER] [options]

Train {what}, measure it, and leave a folder with its weights and metrics.

common options
  --config RECIPE      a YAML file or a shipped recipe (see: spanetv2 recipes); may be repeated
  --data PATH          {data}
  --out FOLDER         the run folder (default: runs/<recipe or model>)
  --resume             go on from the last checkpoint in --out
  --overwrite          replace the run in --out
  --weights CKPT       {weights}
{more}  --print-config       print the whole configuration, every option with its value, and stop
  --help-all           describe every option

any value of the configuration, by its place in the YAML, for instance
{values}
examples
{examples}"""

_ABOUT = {
    "classification": {
        "what": "an image classifier",
        "data": (
            "root of the data set; a folder with train/ and val/, one folder per class in\n"
            "                       each, unless --data.dataset says otherwise"
        ),
        "weights": "start from these weights (fine-tuning)",
        "more": (
            "  --freeze [N]         train the classifier only; with N, keep the stem and the "
            "first N stages\n"
        ),
        "values": """\
  --model.name s18_pure            ours (see: spanetv2 models) or any timm model
  --data.batch_size 64             images per device at a time; data.total_batch is kept
  --data.total_batch 1024          images per update, over all devices
  --data.workers 8                 loading processes per device
  --optimizer.name lamb --optimizer.lr 1e-3 --optimizer.layer_decay 0.75
  --schedule.warmup_epochs 5       --augmentation.hflip 0       --mixing.mixup 0.2
  --ema.decay 0.9998               --checkpoints.every_steps 200
  --trainer.max_epochs 30          --trainer.precision bf16-mixed
  --trainer.devices 2              --trainer.gradient_clip_val 1.0
""",
        "examples": """\
  spanetv2 train classification --config digits
  spanetv2 train classification --config imagenet/s18_pure --data /data/imagenet
  spanetv2 train classification --resume --out runs/s18_pure
""",
    },
    "segmentation": {
        "what": "a segmentation model",
        "data": (
            "root of the data set: images/ and annotations/ as in ADE20K, or as\n"
            "                       --data.dataset says"
        ),
        "weights": "start from these: a classifier's (the backbone), or a segmentation model's",
        "more": "",
        "values": """\
  --model.name s18_pure            ours (see: spanetv2 models) or any timm model with features
  --data.batch_size 4              images per device at a time; data.total_batch is kept
  --schedule.updates 40000         length of the run
  --schedule.validate_every 4000   updates between two validations
  --trainer.precision bf16-mixed   --trainer.devices 8
""",
        "examples": """\
  spanetv2 scenes data/scenes && spanetv2 train segmentation --config scenes/segmentation \\
      --data data/scenes
  spanetv2 train segmentation --config ade20k/upernet_s18_pure --data /data/ADEChallengeData2016
""",
    },
    "detection": {
        "what": "a detector with masks",
        "data": (
            "root of the data set: train2017/, val2017/ and annotations/ as in COCO, or\n"
            "                       as the options of --data say"
        ),
        "weights": "start from these: a classifier's (the backbone), or a detector's",
        "more": "",
        "values": """\
  --model.name s18_pure            ours (see: spanetv2 models) or any timm model with features
  --data.batch_size 2              images per device at a time; data.total_batch is kept
  --trainer.max_epochs 12          --trainer.precision bf16-mixed   --trainer.devices 8
""",
        "examples": """\
  spanetv2 scenes data/scenes && spanetv2 train detection --config scenes/mask_rcnn \\
      --data data/scenes
  spanetv2 train detection --config coco/mask_rcnn_s18_pure_3x --data /data/coco
""",
    },
}

_LONGEST_MESSAGE = 400  # characters


class ConfigError(UserError):
    """An option that does not exist, or a value that does not fit it."""


def main(argv: list[str]) -> int:
    """Run ``spanetv2 train`` with the arguments after ``train``.

    Returns:
        Exit status: 0; 1 for a user's error; 2 for a wrong configuration; 128 + n after signal n.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    if argv[0] in _TASKS and {"-h", "--help"} & set(argv[1:]):
        print(_HELP.format(task=argv[0], **_ABOUT[argv[0]]), end="")
        return 0
    try:
        run_training(argv)
    except ConfigError as error:
        return _fail(error, 2)
    except UserError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("\nstopped before training began (Ctrl-C)", file=sys.stderr)
        return 130
    except BaseException as error:
        status = getattr(error, "status", None)
        if type(error).__name__ != "Interrupted" or status is None:
            raise
        return _stopped(error, status)
    return 0


def _fail(error: UserError, status: int) -> int:
    number = next((os.environ[k] for k in ("RANK", "LOCAL_RANK") if k in os.environ), "0")
    prefix = "" if number == "0" else f"[process {number}] "
    print(f"{prefix}error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _stopped(error: BaseException, status: int) -> int:
    from spanetv2.training.run import rank

    if rank() == 0:
        print(error, file=sys.stderr)
        return status
    return 0  # a launcher would take another process's status for a crash and kill the first


def run_training(argv: list[str]) -> "RunResult | None":
    """Train as the command line says, in this process.

    Args:
        argv: as after ``spanetv2 train``: the task, then options.

    Returns:
        The run's folder, weights and metrics; None where something was only printed.

    Raises:
        ConfigError: a wrong option or value.
        UserError: wrong input.
        spanetv2.training.stopping.Interrupted: a signal stopped it, after saving.
    """
    name = argv[0] if argv else "nothing"
    if name not in _TASKS:
        *first, last = _TASKS
        raise ConfigError(f"got task {name!r}, expected {', '.join(first)} or {last}")
    arguments, resume, overwrite = _prepare(argv[1:], task=name)
    config, trainer_options, resolved = _parse(arguments, task=name)
    if config is None:
        print(resolved, end="")
        return None
    from spanetv2.tasks import find_task
    from spanetv2.training.run import run_task

    return run_task(
        find_task(name),
        config,
        trainer_options=trainer_options,
        resolved=resolved,
        command=argv,
        resume=resume,
        overwrite=overwrite,
    )


def _prepare(argv: list[str], *, task: str) -> tuple[list[str], bool, bool]:
    """Bring the shorthands into the parser's form; take out what is not configuration."""
    arguments: list[str] = []
    resume = overwrite = False
    configs: list[Path] = []
    out: str | None = None
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")

        def take(name: str = name, equals: str = equals, value: str = value) -> str:
            if equals:
                return value
            if not rest:
                raise ConfigError(f"{name} needs a value")
            return rest.pop(0)

        if name == "--resume":
            resume = True
            if equals or (rest and not rest[0].startswith("-")):
                out = take()
        elif word == "--overwrite":
            overwrite = True
        elif word == "--print-config":
            arguments.append("--print_config")
        elif word == "--help-all":
            arguments.append("--help")
        elif name in ("--config", "-c"):
            configs.append(find_recipe(take()))
            meant = recipe_task(configs[-1])
            if meant not in (None, task):
                raise ConfigError(
                    f"got {configs[-1]}, a recipe for {meant}; use spanetv2 train {meant}"
                )
            arguments += ["--config", str(configs[-1])]
        elif name == "--data":
            arguments += ["--data.root", take()]
        elif name == "--model":
            arguments += ["--model.name", take()]
        elif name == "--out":
            out = take()
        elif name == "--freeze" and not equals and (not rest or rest[0].startswith("-")):
            arguments += ["--freeze", "all"]
        else:
            arguments.append(word)
    if resume and overwrite:
        raise ConfigError("got --resume and --overwrite, expected one of them")
    if resume and not configs and out is not None and (Path(out) / "config.yaml").is_file():
        arguments[:0] = ["--config", str(Path(out) / "config.yaml")]
    out = out or _default_out(arguments, configs, task=task)
    if out is not None:
        arguments += ["--out", out]
    return arguments, resume, overwrite


def _default_out(arguments: list[str], configs: list[Path], *, task: str) -> str | None:
    """A folder under runs/ named after the recipe or the model; processes of a run must agree."""
    if any(word == "--out" or word.startswith("--out=") for word in arguments):
        return None
    if configs:
        return str(Path("runs") / configs[0].stem)
    for flag in ("--model.name", "--weights"):
        if flag in arguments[:-1]:
            return str(Path("runs") / Path(arguments[arguments.index(flag) + 1]).stem)
    return str(Path("runs") / task)


def _parse(arguments: list[str], *, task: str) -> tuple[Any, dict[str, Any], str]:
    """(configuration, Trainer options, YAML); no configuration where only text was asked for."""
    from jsonargparse import ArgumentError, set_parsing_settings

    from spanetv2.tasks import find_task
    from spanetv2.training.parser import TaskCLI

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            cli = TaskCLI(task, find_task(task).config, arguments)
    except ArgumentError as error:
        raise ConfigError(_plain(str(error), TaskCLI.known)) from error
    except UserError as error:
        raise ConfigError(str(error)) from error
    except SystemExit as exit_:
        if exit_.code not in (0, None):
            raise ConfigError("wrong arguments") from exit_
        return None, {}, output.getvalue()
    return cli.run_config, cli.trainer_options, cli.resolved


def _plain(message: str, known: list[str]) -> str:
    """One readable line of a parser's message, which may name Python types and alternatives."""
    text = " ".join(message.split())
    text = re.sub(r'^Parser key "([^"]+)": ', r"\1: ", text)
    text = re.sub(r"Does not validate against any of the Union subtypes.*?Errors: - ", "", text)
    text = re.sub(r"Given value type: .*? Given value: ", "Got value: ", text)
    text = re.sub(r"(?:a )?typing\.Literal\[(.*?)\]", r"one of \1", text)
    text = re.sub(r"(?:a )?<class '(?:NoneType)'>", "null", text)
    text = re.sub(r"<class '(\w+)'>", r"\1", text).replace(" - Expected ", " or ")
    unknown = re.match(r"unrecognized arguments: (--[\w.-]+)", text)
    if unknown:
        text = f"unknown option {unknown[1]}"
        close = difflib.get_close_matches(unknown[1], known, n=3)
        text += f"; did you mean {', '.join(close)}?" if close else "; see --help-all"
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE].rstrip() + " ..."
