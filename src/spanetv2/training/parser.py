"""The command line of a run: LightningCLI's parser with this package's groups."""

import dataclasses
import sys
from typing import Any, ClassVar
from unittest import mock

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from spanetv2.training.config import BaseRunConfig

__all__ = ["TaskCLI"]

_OWN: set[str | int] = {  # Trainer options that a run decides itself
    "accumulate_grad_batches",  # data.accumulation
    "fast_dev_run",
    "limit_predict_batches",
    "limit_test_batches",
    "logger",
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


class TaskCLI(LightningCLI):
    """Parses; building and running is ``run_task``'s part.

    Args:
        task: name of the task.
        config: the class of its configuration.
        arguments: options in jsonargparse's form.

    Attributes:
        run_config: the typed groups.
        trainer_options: keyword arguments for the Trainer.
        resolved: the whole configuration as YAML.
    """

    run_config: BaseRunConfig
    trainer_options: dict[str, Any]
    resolved: str
    known: ClassVar[list[str]] = []
    """Every option of the last parser built, for suggestions."""

    def __init__(self, task: str, config: type[BaseRunConfig], arguments: list[str]):
        self.config_class = config
        super().__init__(
            LightningModule,
            save_config_callback=None,
            args=arguments,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "prog": f"spanetv2 train {task}",
                "description": "Every option; `--help` describes the common ones.",
                "exit_on_error": False,
                "allow_abbrev": False,
            },
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        pass  # the seed is one of RunConfig's fields

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(self.config_class, None, sub_configs=False)
        parser.add_class_arguments(
            Trainer, "trainer", instantiate=False, fail_untyped=False, skip=_OWN
        )
        parser.set_defaults(
            {
                "trainer.max_epochs": 100,
                "trainer.num_sanity_val_steps": 0,
                "trainer.precision": "32-true",
            }
        )

        type(self).known = [
            option for action in parser._actions for option in action.option_strings
        ]

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        # LightningCLI warns when the program has arguments of its own, as every command line has.
        with mock.patch.object(sys, "argv", sys.argv[:1]):
            super().parse_arguments(parser, args)

    def _set_seed(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        built = self.parser.instantiate(self.config)
        names = [field.name for field in dataclasses.fields(self.config_class)]
        self.run_config = self.config_class(**{name: built[name] for name in names})
        trainer = built["trainer"]
        self.trainer_options = (
            trainer.as_dict() if isinstance(trainer, Namespace) else dict(trainer)
        )
        self.resolved = self.parser.dump(self.config, skip_unset=False, format="yaml")
