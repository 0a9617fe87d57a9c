"""The parser of a run: this package's groups beside the options of Lightning's Trainer."""

import contextlib
import dataclasses
import difflib
import re
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry

from spanetv2.errors import ConfigError, UserError
from spanetv2.text import shorten
from spanetv2.training.code_names import Group, fields_of, groups_in, hints_of
from spanetv2.training.config import BaseRunConfig, check_magnitudes, check_trainer

__all__ = ["RunParser"]

_DECIDED_BY_THE_RUN: set[str | int] = {
    "accumulate_grad_batches",  # data.accumulation
    "fast_dev_run",
    "limit_predict_batches",
    "limit_test_batches",
    "logger",  # loggers
    "min_steps",
    "overfit_batches",
    "plugins",
    "val_check_interval",
    "enable_checkpointing",
    "enable_model_summary",
    "use_distributed_sampler",
    "default_root_dir",
    "reload_dataloaders_every_n_epochs",
    "log_every_n_steps",
    "barebones",
    "model_registry",
    "enable_autolog_hparams",
}
# whole numbers are batches and others shares. Python caches int | float and float | int as the
# same type, so that which of the two reads a "1" would depend on what was imported before
_BATCHES_OR_SHARE = ("limit_train_batches", "limit_val_batches")
_LIMIT_HELP = "so many batches of an epoch (a whole number), or a share of them (0.5)"
_LONGEST_MESSAGE = 400  # characters


class RunParser:
    """Reads values and typed options into a configuration, one after the other.

    It reads no file and no environment variable by itself.

    Args:
        task: name of the task.
        config_class: the class of its configuration.

    Attributes:
        group: type hints of everything that can be said.
        options: every option's place, dotted.
        groups: names of the groups in it.
        short_names: what text may be given for options whose values are objects of Lightning's.
    """

    def __init__(self, task: str, config_class: type[BaseRunConfig]):
        set_parsing_settings(docstring_parse_attribute_docstrings=True)
        self.config_class = config_class
        self._parser = ArgumentParser(
            prog=f"spanetv2 train {task}",
            description="Every option; `--help` describes the common ones.",
            exit_on_error=False,
            allow_abbrev=False,
            default_env=False,
        )
        self._parser.add_class_arguments(config_class, None, sub_configs=False)
        self._parser.add_class_arguments(
            Trainer,
            "trainer",
            instantiate=False,
            fail_untyped=False,
            skip={*_DECIDED_BY_THE_RUN, *_BATCHES_OR_SHARE},
        )
        for name in _BATCHES_OR_SHARE:
            option = f"trainer.{name}"
            self._parser.add_argument(
                f"--{option}", type=_BatchesOrShare(option), default=None, help=_LIMIT_HELP
            )
        self._parser.set_defaults(
            {
                "trainer.max_epochs": 100,
                "trainer.num_sanity_val_steps": 0,
                "trainer.precision": "32-true",
            }
        )
        trainer = hints_of(Trainer.__init__)
        self.group: Group = {
            **fields_of(config_class),
            "trainer": {k: v for k, v in trainer.items() if k not in _DECIDED_BY_THE_RUN},
        }
        self._defaults = self.defaults()
        self.options = list(self._defaults.keys())
        self.groups = tuple(groups_in(self.group))
        self.short_names = {
            "trainer.accelerator": ["auto", "gpu", *AcceleratorRegistry.available_accelerators()],
            "trainer.strategy": ["auto", *StrategyRegistry.available_strategies()],
            "trainer.profiler": ["simple", "advanced", "pytorch", "xla"],
        }

    def defaults(self) -> Namespace:
        """Every option with the value it has when nothing is said."""
        return self._parser.get_defaults()

    def add_values(self, values: Mapping[str, Any], base: Namespace) -> Namespace:
        """``base`` with other values.

        Args:
            values: groups and values; dotted keys are allowed.
            base: what was said before.

        Raises:
            ConfigError: an unknown key, or a value that does not fit.
        """
        return self._parse(lambda: self._parser.parse_object(dict(values), base, env=False))

    def add_words(self, words: Sequence[str], base: Namespace) -> Namespace:
        """``base`` with options as they are typed, such as ``--optimizer.lr 1e-3``.

        Raises:
            ConfigError: an unknown option, or a value that does not fit.
        """
        return self._parse(lambda: self._parser.parse_args(list(words), base, env=False))

    def build(self, values: Namespace) -> tuple[BaseRunConfig, dict[str, Any]]:
        """(the typed groups, keyword arguments of the Trainer).

        Raises:
            ConfigError: values that exclude each other.
        """
        try:
            built = self._parser.instantiate(values)
            names = [field.name for field in dataclasses.fields(self.config_class)]
            config = self.config_class(**{name: built[name] for name in names})
            trainer = built["trainer"].as_dict()
            check_magnitudes(config)
            check_magnitudes(trainer, "trainer")
            check_trainer(trainer)
        except UserError as error:
            raise ConfigError(str(error)) from error
        return config, trainer

    def dump(self, values: Namespace) -> str:
        """Every option with its value, as YAML."""
        return self._parser.dump(values, skip_unset=False, format="yaml")

    def describe(self) -> str:
        """The help of every option."""
        return self._parser.format_help()

    def _parse(self, parse: Any) -> Namespace:
        try:
            values = parse()
        except (ArgumentError, ArgumentTypeError) as error:
            raise ConfigError(_one_line(str(error), self.options)) from error
        except UserError as error:
            raise ConfigError(str(error)) from error
        except SystemExit as exit_:
            if exit_.code in (0, None):  # an option that only prints
                raise
            raise ConfigError("wrong arguments") from exit_
        for group in self.groups:
            self._expect_group(group, values.get(group))
        return values

    def _expect_group(self, name: str, value: Any) -> None:
        """Refuse null and single values, which the parser takes for any group."""
        if isinstance(self._defaults.get(name), Namespace) and not isinstance(value, Namespace):
            got = "null" if value is None else shorten(repr(value), 80)
            raise ConfigError(f"{name}: got {got}, expected a mapping of values")


class _BatchesOrShare:
    """Reads a whole number as one, as typed or as a recipe gives it."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, value: Any) -> int | float | None:
        if value in (None, "null", ""):
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        for number in (int, float):
            with contextlib.suppress(ValueError):
                if isinstance(value, str):
                    return number(value)
        raise ArgumentTypeError(
            f"{self.name}: got {value}, expected a whole number of batches, or a share of them "
            "such as 0.5"
        )

    def __repr__(self) -> str:
        return "int | float | null"


def _one_line(message: str, options: list[str]) -> str:
    """One readable line of a parser's message, which may name Python types and alternatives."""
    text = " ".join(message.split())
    text = re.sub(r"^argument --([\w.-]+): (?=\1: )", "", text)
    text = re.sub(r'^Parser key "([^"]+)": ', r"\1: ", text)
    text = re.sub(r"Does not validate against any of the Union subtypes.*?Errors: - ", "", text)
    text = re.sub(r"Given value type: .*? Given value: ", "Got value: ", text)
    text = re.sub(r"(?:a )?typing\.Literal\[(.*?)\]", r"one of \1", text)
    text = re.sub(r"(?:a )?<class '(?:NoneType)'>", "null", text)
    text = re.sub(r"<class '(\w+)'>", r"\1", text).replace(" - Expected ", " or ")
    unknown = re.match(r"unrecognized arguments: (--[\w.-]+)", text)
    if unknown:
        text = f"unknown option {unknown[1]}"
        close = difflib.get_close_matches(unknown[1], [f"--{name}" for name in options], n=3)
        text += f"; did you mean {', '.join(close)}?" if close else "; see --help-all"
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE].rstrip() + " ..."
