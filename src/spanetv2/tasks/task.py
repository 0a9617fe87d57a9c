"""What a task provides for the commands, beside what the training engine asks of it."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from torch import nn

from spanetv2.errors import UserError
from spanetv2.tasks.guide import TrainGuide
from spanetv2.training.task import TrainingTask

if TYPE_CHECKING:
    import torch

    from spanetv2.analysis.cue_conflict import CueImage
    from spanetv2.analysis.model_study import ModelInput
    from spanetv2.benchmark.subject import Subject
    from spanetv2.deploy.subject import ExportSubject
    from spanetv2.explore.subject import ExploreSubject
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.evaluation import (
        Evaluation,
        EvaluationPass,
        EvaluationSettings,
        Measuring,
        Meter,
    )
    from spanetv2.tasks.prediction import PredictionSettings, PredictionWriter, Predictor

__all__ = [
    "CHECK_PICTURES",
    "EMPTY_CLASSES",
    "FOLDER",
    "MAX_PIXELS",
    "OUT",
    "OUTPUT",
    "PICTURES",
    "SCORE",
    "Option",
    "SplitCheck",
    "Task",
]

Command = Literal["evaluate", "predict", "check_data", "export"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """An option that a task adds to a command; tasks may share one.

    Args:
        name: keyword by which the task gets the value; ``--name`` on the command line.
        type: of its value: str, int, float, bool, Path, or list of one of them.
        help: what it does, in a line.
        flag: its form on the command line, where that is not ``--name``.
        least: smallest value.
        most: largest value.
    """

    name: str
    type: Any
    help: str
    flag: str | None = None
    least: float | None = None
    most: float | None = None

    def check(self, value: Any) -> None:
        """Refuse a number of another kind or out of range, or one for a text or path.

        Raises:
            UserError: saying what was got and what was expected.
        """
        if self.type in (str, Path) and isinstance(value, Real):
            words = "a text" if self.type is str else "a path"
            raise UserError(f"got {self.name} {value!r}, expected {words}")
        if self.type not in (int, float):
            return
        kind, words = (Integral, "a whole number") if self.type is int else (Real, "a number")
        least = -inf if self.least is None else self.least
        most = inf if self.most is None else self.most
        good = isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most  # pyright: ignore
        if not good:
            words += "" if self.least is None else f", {self.least:g} or more"
            words += "" if self.most is None else f", at most {self.most:g}"
            raise UserError(f"got {self.name} {value!r}, expected {words}")


FOLDER = "predictions"
"""Where tasks that answer with pictures write them, unless another folder is said."""

OUT = Option(
    name="out",
    type=Path,
    help="folder for results and the rows by which --resume and merge know them, and for pictures "
    "(default: predictions; classification: none)",
)

MAX_PIXELS = Option(
    name="max_pixels",
    type=int,
    flag="--max-pixels",
    least=1,
    help="most pixels of an image; larger ones are refused (default: Pillow's limit, 89,478,485)",
)
"""For trusted files beyond the limit against decompression bombs."""


CHECK_PICTURES = Path("check-data")
"""Where check-data draws, unless another folder is said."""

PICTURES = Option(
    name="pictures",
    type=Path,
    help=f"folder for pictures of images with an EXIF orientation (default: {CHECK_PICTURES})",
)
"""What check-data draws to be looked at."""

SCORE = Option(
    name="score", type=float, least=0, most=1, help="lowest score to report (default 0.5)"
)
"""Where a model finds any number of things in an image."""

OUTPUT = Option(
    name="output", type=str, help="logits (the default), probabilities or labels come out"
)
"""What an exported network answers with."""

EMPTY_CLASSES = Option(
    name="empty_classes",
    type=str,
    flag="--empty-classes",
    help="at a class that training has nothing to learn from: stop (the default) or keep",
)
"""As ``data.empty_classes`` in training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """What was found in a part of a data set.

    Args:
        report: counts, for standard output.
        problems: a line for each, with ``error: ``, ``warning: `` or another word before it.
        errors: number of problems that training would stop at.
        summary: a line about all parts so far, where there were errors; "" for none.
    """

    report: str
    problems: list[str]
    errors: int
    summary: str = ""


class Task(TrainingTask):
    """A kind of work: its data, network, training, measures and pictures.

    The engine asks for what ``TrainingTask`` lists; the commands for what follows. A task without
    one of these answers with a ``UserError`` that says so.

    Attributes:
        guide: what the help of ``spanetv2 train`` says of it.
        evaluate_options: options that the task adds to ``spanetv2 evaluate``.
        predict_options: options that the task adds to ``spanetv2 predict``.
        check_data_options: options that the task adds to ``spanetv2 check-data``.
        export_options: options that the task adds to ``spanetv2 export``.
        dtypes: in which its networks answer, if asked to.
        evaluate_batch_size: images per forward pass, where none is given.
        predict_batch_size: the same for predictions.
        evaluate_help: what is measured, in half a sentence for the command's help.
        predict_help: what is answered and where it goes, the same way.
        datasets: kinds of data sets, for ``--dataset``'s help.
        figure_titles: names of figures for people, by the figures' names; for model cards.
        pipeline: what the Hugging Face Hub calls such work; None where it has no name for it.
        default_folder: where predictions go if no folder is said; None prints them.
        draws_figures: whether the picture of an evaluation is of figures alone, not of images.
    """

    guide: ClassVar[TrainGuide] = TrainGuide()
    evaluate_options: ClassVar[tuple[Option, ...]] = ()
    predict_options: ClassVar[tuple[Option, ...]] = ()
    check_data_options: ClassVar[tuple[Option, ...]] = ()
    export_options: ClassVar[tuple[Option, ...]] = ()
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    evaluate_batch_size: ClassVar[int] = 1
    predict_batch_size: ClassVar[int] = 1
    evaluate_help: ClassVar[str] = "not there yet"
    predict_help: ClassVar[str] = "not there yet"
    datasets: ClassVar[str] = ""
    figure_titles: ClassVar[Mapping[str, str]] = {}
    pipeline: ClassVar[str | None] = None
    default_folder: ClassVar[str | None] = None
    draws_figures: ClassVar[bool] = False

    def options(self, command: Command) -> tuple[Option, ...]:
        """The options that the task adds to a command."""
        return getattr(self, f"{command}_options")

    def checked_options(self, command: Command, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that were given, without those that are None.

        Raises:
            UserError: an option that the task has not.
        """
        names = [option.name for option in self.options(command)]
        given = {name: value for name, value in values.items() if value is not None}
        if unknown := [name for name in given if name not in names]:
            raise UserError(
                f"got option {', '.join(unknown)} for weights of {self.name}, expected "
                f"{'one of ' + ', '.join(names) if names else 'none'}"
            )
        for option in self.options(command):
            if option.name in given:
                option.check(given[option.name])
        return given

    def evaluate(self, checkpoint: "Checkpoint", settings: "EvaluationSettings") -> "Evaluation":
        """Measure a checkpoint of this task.

        Raises:
            UserError: no such data, or data that do not fit the checkpoint.
        """
        from spanetv2.tasks.evaluation import run_evaluation

        opened = self.open_evaluation(checkpoint, settings)
        done = run_evaluation(
            opened.model,
            opened.loader,
            opened.measure,
            device=settings.device,
            progress=settings.progress,
        )
        frame = {**opened.frame, **opened.late()}
        return self.conclude(opened.meter, done, frame, opened.seen)

    def open_evaluation(
        self, checkpoint: "Checkpoint", settings: "EvaluationSettings"
    ) -> "Measuring":
        """Load a checkpoint of this task and the data to measure it on.

        Raises:
            UserError: no such data, or data that do not fit the checkpoint.
        """
        self._lacks("evaluation", checkpoint)

    def meter(self, frame: Mapping[str, Any]) -> "Meter":
        """An empty meter for rows that were measured elsewhere.

        Args:
            frame: of ``open_evaluation``.
        """
        self._lacks("evaluation in parts")

    def conclude(
        self,
        meter: Any,
        done: "EvaluationPass",
        frame: Mapping[str, Any],
        seen: Sequence[Any] = (),
    ) -> "Evaluation":
        """The figures of what a meter holds.

        Args:
            meter: of ``open_evaluation``, or of ``meter``.
            done: how going through the data went.
            frame: what ``open_evaluation`` and its ``late`` gave.
            seen: what a picture needs.

        Raises:
            UserError: nothing was measured, or an output is not finite.
        """
        self._lacks("evaluation in parts")

    def predictor(self, checkpoint: "Checkpoint", settings: "PredictionSettings") -> "Predictor":
        """Load a checkpoint of this task to answer for image files.

        Raises:
            UserError: settings out of range, or damaged weights.
        """
        self._lacks("prediction for files", checkpoint)

    def prediction_writer(
        self, facts: Mapping[str, Any], options: Mapping[str, Any]
    ) -> "PredictionWriter":
        """Where the answers of a predictor of this task go.

        Args:
            facts: the predictor's.
            options: of ``predict_options``.
        """
        self._lacks("prediction for files")

    def check_data(
        self,
        data: Path,
        *,
        split: str | None = None,
        progress: bool = False,
        **options: Any,
    ) -> Iterator[SplitCheck]:
        """Look through a data set and name every file that cannot be used.

        Args:
            data: folder of the data.
            split: part of the data; None is train and val.
            progress: show a bar.
            **options: of ``check_data_options``.

        Raises:
            UserError: no such data.
        """
        self._lacks("data check")

    def export_subject(
        self, checkpoint: "Checkpoint", img_size: tuple[int, int] | None = None, **options: Any
    ) -> "ExportSubject":
        """Load a checkpoint of this task to be exported.

        Args:
            checkpoint: the weights.
            img_size: height and width in pixels; None is what the network was made for.
            **options: of ``export_options``.

        Raises:
            UserError: it cannot be exported.
        """
        self._lacks("export", checkpoint)

    def analysis_images(self, folder: str | None, *, dataset: str, split: str, limit: int) -> Any:
        """Read images for an analysis: up to ``limit`` of them, evenly over the data.

        Raises:
            UserError: no such data, or none that can be read.
        """
        self._lacks("analysis")

    def analysis_input(
        self,
        model: "str | Checkpoint",
        title: str,
        images: Any,
        cues: "Sequence[CueImage]",
        *,
        device: "torch.device",
        pretrained: bool,
    ) -> "ModelInput":
        """Load a network to be analysed, and bring images into its form.

        Args:
            model: a checkpoint of this task, or a model's name.
            title: its name in the report.
            images: from ``analysis_images``.
            cues: cue-conflict images.
            device: where to compute.
            pretrained: fetch timm's weights for a model given by name.

        Raises:
            UserError: no such model.
        """
        self._lacks("analysis", None if isinstance(model, str) else model)

    def explore_subject(
        self, model: "str | Checkpoint", title: str, images: Any, *, pretrained: bool
    ) -> "ExploreSubject":
        """Load a network for the page that runs it in a browser.

        Args:
            model: a checkpoint of this task, or a model's name.
            title: its name on the page.
            images: from ``analysis_images``, to offer as samples; None takes the run's own.
            pretrained: fetch timm's weights for a model given by name.

        Raises:
            UserError: no such model.
        """
        self._lacks("page to explore", None if isinstance(model, str) else model)

    def benchmark_name(self, name: str) -> str | None:
        """The full name of a network of this task that ``spanetv2 benchmark`` can build.

        Args:
            name: as people write it.

        Returns:
            None where it names no network of this task.

        Raises:
            UserError: it is one of this task's, but there is none like it.
        """
        return None

    def benchmark_shape(self, source: "str | Checkpoint") -> tuple[int, int]:
        """Images of a pass, and their side in pixels, where nothing is said.

        Args:
            source: a full name, or a checkpoint of this task.
        """
        self._lacks("benchmark", None if isinstance(source, str) else source)

    def benchmark_subject(self, source: "str | Checkpoint", size: int) -> "Subject":
        """Load a network to be measured.

        Args:
            source: a full name, or a checkpoint of this task.
            size: height and width of its images, in pixels.

        Raises:
            UserError: no such network, or a damaged checkpoint.
        """
        self._lacks("benchmark", None if isinstance(source, str) else source)

    def write_page(
        self,
        folder: Path,
        *,
        title: str,
        facts: Mapping[str, str],
        commands: Sequence[tuple[str, str]],
        progress: Callable[[str], None] | None = None,
    ) -> dict[str, Path]:
        """Draw the pictures of a finished run, and write a page that shows them.

        Args:
            folder: of the run.
            title: heading of the page.
            facts: shown before the figures, label -> value.
            commands: how to go on: (what it does, command line).
            progress: told what is being done.

        Returns:
            What was written, name for people -> file; the page last.
        """
        self._lacks("page of a run")

    def load_network(
        self, checkpoint: "Checkpoint", *, device: "torch.device | str" = "cpu"
    ) -> nn.Module:
        """Build the network that a checkpoint of this task describes, in evaluation mode.

        Raises:
            UserError: damaged.
        """
        self._lacks("network to load", checkpoint)

    def describe_network(self, model: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record to be kept with a network's weights; see ``record.check_record``.

        Args:
            model: the network.
            facts: classes, preprocessing and extra, each a value or None.

        Returns:
            The record; None for a network of another task.

        Raises:
            UserError: facts that do not fit the network, or are missing.
        """
        return None

    def limits(self, checkpoint: "Checkpoint") -> list[str]:
        """What no network like a checkpoint's can do; paragraphs for its card."""
        return []

    def describe_input(self, checkpoint: "Checkpoint") -> str:
        """Size and colours of a checkpoint's images in a line, for its card."""
        return "images"

    def loading_example(self, name: str | os.PathLike[str]) -> str:
        """Lines of Python that load weights of this task, for their card."""
        return f'import spanetv2\nspanetv2.predict("{os.fspath(name)}", "image.png")'

    def _lacks(self, what: str, checkpoint: "Checkpoint | None" = None) -> NoReturn:
        where = "" if checkpoint is None else f"{checkpoint.path}: "
        raise UserError(f"{where}there is no {what} for {self.name} yet")
