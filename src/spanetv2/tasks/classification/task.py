"""Image classification: what the engine and the commands call of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from spanetv2.tasks.classification.guide import GUIDE
from spanetv2.tasks.task import (
    EMPTY_CLASSES,
    MAX_PIXELS,
    OUT,
    OUTPUT,
    SCORE,
    Option,
    SplitCheck,
    Task,
)

if TYPE_CHECKING:
    import torch

    from spanetv2.analysis.cue_conflict import CueImage
    from spanetv2.analysis.model_study import ModelInput
    from spanetv2.benchmark.subject import Subject
    from spanetv2.deploy.subject import ExportSubject
    from spanetv2.explore.subject import ExploreSubject
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.classification.analysis import AnalysisImages
    from spanetv2.tasks.classification.config import RunConfig
    from spanetv2.tasks.classification.learning import ImageClassification
    from spanetv2.tasks.classification.run_data import ClassificationData
    from spanetv2.tasks.classification.writer import ClassificationPredictor, ClassificationWriter
    from spanetv2.tasks.evaluation import (
        Evaluation,
        EvaluationPass,
        EvaluationSettings,
        Measuring,
        Meter,
    )
    from spanetv2.tasks.prediction import PredictionSettings
    from spanetv2.training.batching import BatchPlan
    from spanetv2.training.data import TrainingData
    from spanetv2.training.module import TaskModule

__all__ = ["TASK", "ClassificationTask"]

_LABELS = (
    Option(name="labels", type=str, help="CSV file that says the classes of every image"),
    Option(
        name="image_column",
        type=str,
        flag="--image-column",
        help="its column of images, where it is not found",
    ),
    Option(
        name="label_column",
        type=str,
        flag="--label-column",
        help="its column of classes (or several, with commas between), where it is not found",
    ),
)


class ClassificationTask(Task):
    """Image classification."""

    name = "classification"
    figures = ("top1", "top5", "loss")
    headline = "top-1"
    guide = GUIDE
    dtypes = ("float32", "bfloat16")
    draws_figures = True
    figure_titles: ClassVar[Mapping[str, str]] = {
        "top1": "top-1",
        "top5": "top-5",
        "map": "mAP",
        "f1": "F1",
        "loss": "loss",
    }
    pipeline = "image-classification"
    evaluate_help = (
        "top-1, top-5, loss, per-class figures and confusions, or mean average precision where an "
        "image may have several classes; the data's classes are matched with the checkpoint's by "
        "name, so they may be a part of them"
    )
    predict_help = "prints path, class and probability separated by tabs"
    datasets = "folder, digits, fashion_mnist, tar, torch/NAME, hfds/NAME, hfids/NAME or wds"
    evaluate_batch_size = 64
    predict_batch_size = 32
    evaluate_options = (
        Option(
            name="class_file",
            type=str,
            help="names of the data's classes, one per line, where it has none (wds)",
        ),
        Option(
            name="num_samples",
            type=int,
            least=1,
            help="images in a stream that does not tell (wds, hfids)",
        ),
        *_LABELS,
        Option(name="download", type=bool, help="fetch the data if it is missing"),
        MAX_PIXELS,
    )
    predict_options = (
        Option(
            name="top_k",
            type=int,
            least=1,
            help="classes per image (default 5; of several an image, all from --score on)",
        ),
        SCORE,
        OUT,
        MAX_PIXELS,
        Option(
            name="json",
            type=str,
            help="write JSON here instead of printing a table: an array, or one object per line "
            "for a name ending in .jsonl and for - (standard output)",
        ),
        Option(
            name="picture",
            type=Path,
            help="draw the first 48 images with their classes into this PNG",
        ),
    )

    check_data_options = (
        Option(name="dataset", type=str, help="kind of data, as in training (default: folder)"),
        *_LABELS,
        Option(
            name="val_labels",
            type=str,
            flag="--val-labels",
            help="another CSV file for validation",
        ),
        Option(
            name="multi_label",
            type=bool,
            flag="--multi-label/--one-label",
            help="images have several classes or none, or one each (default: as the file says)",
        ),
        Option(
            name="val_share",
            type=float,
            flag="--val-share",
            help="share of every class that training will hold out",
        ),
        EMPTY_CLASSES,
        MAX_PIXELS,
        Option(name="workers", type=int, least=1, help="threads that read (default 2)"),
    )

    export_options = (OUTPUT,)

    # training ------------------------------------------------------------------------------------

    @property
    def config(self) -> "type[RunConfig]":
        from spanetv2.tasks.classification.config import RunConfig

        return RunConfig

    def even_batches(self, config: "RunConfig") -> bool:
        return bool(config.mixing.mixup or config.mixing.cutmix)  # they pair images

    def open_data(
        self, config: "RunConfig", *, plan: "BatchPlan", pin_memory: bool, limit: int | float
    ) -> "ClassificationData":
        from spanetv2.tasks.classification.run_data import ClassificationData

        return ClassificationData(config, plan=plan, pin_memory=pin_memory, limit=limit)

    def make_module(self, config: "RunConfig", data: "TrainingData") -> "ImageClassification":
        from spanetv2.tasks.classification.learning import make_module
        from spanetv2.tasks.classification.run_data import ClassificationData

        assert isinstance(data, ClassificationData)
        return make_module(config, data)

    def image_size(self, config: "RunConfig") -> str:
        return "x".join(map(str, config.preprocessing.input_size[1:]))

    def measure(
        self,
        module: "TaskModule",
        data: "TrainingData",
        config: "RunConfig",
        *,
        device: "torch.device",
    ) -> dict[str, Any]:
        from spanetv2.tasks.classification.evaluate import evaluate
        from spanetv2.tasks.classification.learning import ImageClassification
        from spanetv2.tasks.classification.several import evaluate_labels

        assert isinstance(module, ImageClassification)
        loader = data.make_val_loader(rank=0, world=1, batch_size=data.val_batch_size)
        # model.num_classes may ask for more outputs than the data has classes
        spare = range(len(data.classes), module.num_classes)
        names = [*data.classes, *(f"output {i}" for i in spare)]
        measured = evaluate_labels if module.multi_label else evaluate
        mapping = range(len(data.classes))
        return measured(
            module.evaluated_net, loader, classes=names, mapping=mapping, device=device
        ).to_json()

    def save(
        self, net: nn.Module, path: Path, *, identity: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        from spanetv2.models.weights.save import save_weights

        save_weights(
            net,
            path,
            classes=identity["classes"],
            preprocessing=identity["preprocessing"],
            extra={**identity.get("extra", {}), **extra},
        )

    # commands ------------------------------------------------------------------------------------

    def open_evaluation(
        self, checkpoint: "Checkpoint", settings: "EvaluationSettings"
    ) -> "Measuring":
        from spanetv2.tasks.classification.measure import open_evaluation

        return open_evaluation(checkpoint, settings)

    def meter(self, frame: Mapping[str, Any]) -> "Meter":
        from spanetv2.tasks.classification.measure import empty_meter

        return empty_meter(frame)

    def conclude(
        self,
        meter: Any,
        done: "EvaluationPass",
        frame: Mapping[str, Any],
        seen: Sequence[Any] = (),
    ) -> "Evaluation":
        from spanetv2.tasks.classification.measure import conclude

        return conclude(meter, done, frame)

    def predictor(
        self, checkpoint: "Checkpoint", settings: "PredictionSettings"
    ) -> "ClassificationPredictor":
        from spanetv2.tasks.classification.writer import ClassificationPredictor

        return ClassificationPredictor(checkpoint, settings)

    def prediction_writer(
        self, facts: Mapping[str, Any], options: Mapping[str, Any]
    ) -> "ClassificationWriter":
        from spanetv2.tasks.classification.writer import ClassificationWriter

        return ClassificationWriter(facts, options)

    def check_data(
        self,
        data: Path,
        *,
        split: str | None = None,
        progress: bool = False,
        workers: int = 2,
        **options: Any,
    ) -> Iterator[SplitCheck]:
        """Read every image that training would read, and count images per class.

        The data are class folders, or images with their classes in a CSV file. Named are damaged
        files, files left out by their endings, the same file in both splits, classes in one split
        only, and what training would stop at; the exit status is then 1.
        """
        from spanetv2.tasks.classification.check import check_splits
        from spanetv2.tasks.classification.config import DataConfig

        config = DataConfig(root=str(data), **options)
        return check_splits(config, split=split, workers=workers, progress=progress)

    def export_subject(
        self,
        checkpoint: "Checkpoint",
        img_size: tuple[int, int] | None = None,
        *,
        output: str | None = None,
    ) -> "ExportSubject":
        from spanetv2.tasks.classification.export import export_subject

        return export_subject(checkpoint, img_size, output=output)

    def analysis_images(
        self, folder: str | None, *, dataset: str, split: str, limit: int
    ) -> "AnalysisImages":
        from spanetv2.tasks.classification.analysis import read_images

        return read_images(folder, dataset=dataset, split=split, limit=limit)

    def analysis_input(
        self,
        model: "str | Checkpoint",
        title: str,
        images: "AnalysisImages",
        cues: "Sequence[CueImage]",
        *,
        device: "torch.device",
        pretrained: bool,
    ) -> "ModelInput":
        from spanetv2.tasks.classification.analysis import analysis_input

        return analysis_input(model, title, images, cues, device=device, pretrained=pretrained)

    def explore_subject(
        self,
        model: "str | Checkpoint",
        title: str,
        images: "AnalysisImages | None",
        *,
        pretrained: bool,
    ) -> "ExploreSubject":
        from spanetv2.tasks.classification.explore import explore_subject

        return explore_subject(model, title, images, pretrained=pretrained)

    def write_page(
        self,
        folder: Path,
        *,
        title: str,
        facts: Mapping[str, str],
        commands: Sequence[tuple[str, str]],
        progress: Any = None,
    ) -> dict[str, Path]:
        from spanetv2.tasks.classification.run_page import write_page

        return write_page(folder, title=title, facts=facts, commands=commands, progress=progress)

    def benchmark_name(self, name: str) -> str | None:
        from spanetv2.tasks.classification.measured import full_name

        return full_name(name)

    def benchmark_shape(self, source: "str | Checkpoint") -> tuple[int, int]:
        from spanetv2.tasks.classification.measured import SHAPE

        recorded = None if isinstance(source, str) else source.preprocessing
        return (SHAPE[0], max(recorded["input_size"][1:])) if recorded else SHAPE

    def benchmark_subject(self, source: "str | Checkpoint", size: int) -> "Subject":
        from spanetv2.tasks.classification.measured import classifier_subject

        return classifier_subject(source, size)

    def load_network(
        self, checkpoint: "Checkpoint", *, device: "torch.device | str" = "cpu"
    ) -> nn.Module:
        from spanetv2.models import load_model

        return load_model(checkpoint, device=device)[0]

    def describe_network(self, model: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any]:
        from spanetv2.models.weights.save import weights_record

        return weights_record(model, **facts)

    def limits(self, checkpoint: "Checkpoint") -> list[str]:
        from spanetv2.tasks.classification.weights import gives_several

        if gives_several(checkpoint):
            return ["It knows its classes alone, and may find some in pictures of something else."]
        return [
            "It names one of its classes whatever a picture shows, and is often sure of it: "
            "pictures of something else are not told apart."
        ]

    def describe_input(self, checkpoint: "Checkpoint") -> str:
        size = (checkpoint.preprocessing or {}).get("input_size")
        size = checkpoint.model_kwargs.get("img_size") if size is None else size[1:]
        return "images" if size is None else f"{size[0]} x {size[1]} pixels"

    def loading_example(self, name: str) -> str:
        return f'import spanetv2, timm\nmodel = timm.create_model("{name}", pretrained=True)'


TASK = ClassificationTask()
