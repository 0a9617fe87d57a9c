"""Detection and instance segmentation: what the engine and the commands call of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from spanetv2.errors import UserError
from spanetv2.tasks.detection.guide import GUIDE
from spanetv2.tasks.labelled_analysis import labelled_subset, own_checkpoint
from spanetv2.tasks.task import (
    EMPTY_CLASSES,
    FOLDER,
    MAX_PIXELS,
    OUT,
    PICTURES,
    SCORE,
    Option,
    SplitCheck,
    Task,
)

if TYPE_CHECKING:
    import torch

    from spanetv2.analysis.cue_conflict import CueImage
    from spanetv2.analysis.model_study import ModelInput
    from spanetv2.analysis.subset import DataSubset
    from spanetv2.benchmark.subject import Subject
    from spanetv2.deploy.subject import ExportSubject
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.detection.config import RunConfig
    from spanetv2.tasks.detection.learning import Detection
    from spanetv2.tasks.detection.run_data import DetectionData
    from spanetv2.tasks.detection.writer import DetectionPredictor, DetectionWriter
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

__all__ = ["TASK", "DetectionTask"]


ORIENTATION = Option(
    name="orientation",
    type=str,
    help="where annotations of images with an EXIF orientation were drawn: auto, shown, stored or "
    "percent (Label Studio)",
)
BOXES = Option(
    name="boxes",
    type=str,
    help="the four numbers of a box: sizes (left, top, width, height) or "
    "corners (left, top, right, bottom)",
)


class DetectionTask(Task):
    """Object detection and instance segmentation."""

    name = "detection"
    figures = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
    headline = "box AP"
    guide = GUIDE
    dtypes = ("float32", "bfloat16")
    default_folder = FOLDER
    figure_titles: ClassVar[Mapping[str, str]] = {
        "box_ap": "box AP",
        "box_ap50": "box AP50",
        "mask_ap": "mask AP",
        "mask_ap50": "mask AP50",
    }
    pipeline = "object-detection"
    evaluate_help = "COCO's box and mask AP"
    predict_help = "writes pictures and results in COCO's format into a folder"
    datasets = "coco"
    evaluate_options = (ORIENTATION, BOXES, MAX_PIXELS)
    predict_options = (
        OUT,
        SCORE,
        MAX_PIXELS,
    )
    check_data_options = (
        Option(name="annotations", type=Path, help="COCO annotation file, wherever it lies"),
        Option(name="images", type=Path, help="folder of its images (default: where it lies)"),
        ORIENTATION,
        BOXES,
        MAX_PIXELS,
        EMPTY_CLASSES,
        PICTURES,
        Option(name="all", type=bool, flag="--all", help="list problems that are alike one by one"),
    )
    export_options = (
        Option(
            name="image",
            type=Path,
            help="picture to check the file on (default: a scene of digits)",
        ),
    )

    # training ------------------------------------------------------------------------------------

    @property
    def config(self) -> "type[RunConfig]":
        from spanetv2.tasks.detection.config import RunConfig

        return RunConfig

    def open_data(
        self, config: "RunConfig", *, plan: "BatchPlan", pin_memory: bool, limit: int | float
    ) -> "DetectionData":
        from spanetv2.tasks.detection.run_data import DetectionData

        return DetectionData(config, plan=plan, pin_memory=pin_memory, limit=limit)

    def make_module(self, config: "RunConfig", data: "TrainingData") -> "Detection":
        from spanetv2.tasks.detection.learning import make_module
        from spanetv2.tasks.detection.run_data import DetectionData

        assert isinstance(data, DetectionData)
        return make_module(config, data)

    def image_size(self, config: "RunConfig") -> str:
        return f"{max(config.augmentation.short_sides)}x{config.augmentation.long_side}"

    def measure(
        self,
        module: "TaskModule",
        data: "TrainingData",
        config: "RunConfig",
        *,
        device: "torch.device",
    ) -> dict[str, Any]:
        from spanetv2.tasks.detection.evaluate import evaluate
        from spanetv2.tasks.detection.model import Detector

        net = module.evaluated_net
        assert isinstance(net, Detector)
        loader = data.make_val_loader(rank=0, world=1, batch_size=data.val_batch_size)
        return evaluate(net, loader, classes=data.classes, device=device).to_json()

    def save(
        self, net: nn.Module, path: Path, *, identity: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        from spanetv2.tasks.detection.model import Detector
        from spanetv2.tasks.detection.weights import save_detector

        assert isinstance(net, Detector)
        save_detector(
            net,
            path,
            classes=identity["classes"],
            category_ids=identity["extra"]["category_ids"],
            extra=extra,
        )

    # commands ------------------------------------------------------------------------------------

    def open_evaluation(
        self, checkpoint: "Checkpoint", settings: "EvaluationSettings"
    ) -> "Measuring":
        from spanetv2.tasks.detection.measure import open_evaluation

        return open_evaluation(checkpoint, settings)

    def meter(self, frame: Mapping[str, Any]) -> "Meter":
        from spanetv2.tasks.detection.measure import empty_meter

        return empty_meter(frame)

    def conclude(
        self,
        meter: Any,
        done: "EvaluationPass",
        frame: Mapping[str, Any],
        seen: Sequence[Any] = (),
    ) -> "Evaluation":
        from spanetv2.tasks.detection.measure import conclude

        return conclude(meter, done, frame, seen)

    def predictor(
        self, checkpoint: "Checkpoint", settings: "PredictionSettings"
    ) -> "DetectionPredictor":
        from spanetv2.tasks.detection.writer import DetectionPredictor

        return DetectionPredictor(checkpoint, settings)

    def prediction_writer(
        self, facts: Mapping[str, Any], options: Mapping[str, Any]
    ) -> "DetectionWriter":
        from spanetv2.tasks.detection.writer import DetectionWriter

        return DetectionWriter(facts, options)

    def check_data(
        self,
        data: Path | None,
        *,
        split: str | None = None,
        progress: bool = False,
        annotations: Path | None = None,
        images: Path | None = None,
        pictures: Path | None = None,
        all: bool = False,
        **options: Any,
    ) -> Iterator[SplitCheck]:
        """Read every image and annotation of a COCO data set.

        Says what training does with each object, and why; the exit status is 1 if training would
        stop.
        """
        from spanetv2.tasks.detection.data.check import check_splits
        from spanetv2.tasks.detection.data.layout import CocoFiles
        from spanetv2.tasks.detection.data.reading import reading_of

        if images is not None and annotations is None:
            raise UserError("got --images without --annotations, expected both")
        files = None
        if annotations is not None:
            files = CocoFiles(annotations, images or annotations.parent)
        reading = reading_of(options)
        return check_splits(
            data,
            files=files,
            split=split,
            reading=reading,
            every=all,
            pictures=pictures,
            progress=progress,
        )

    def export_subject(
        self,
        checkpoint: "Checkpoint",
        img_size: tuple[int, int] | None = None,
        *,
        image: Path | None = None,
    ) -> "ExportSubject":
        from spanetv2.tasks.detection.export import export_subject

        return export_subject(checkpoint, img_size, image=image)

    def analysis_images(
        self, folder: str | None, *, dataset: str, split: str, limit: int
    ) -> "DataSubset":
        return labelled_subset(self.name, folder, dataset=dataset, split=split, limit=limit)

    def analysis_input(
        self,
        model: "str | Checkpoint",
        title: str,
        images: "DataSubset",
        cues: "Sequence[CueImage]",
        *,
        device: "torch.device",
        pretrained: bool,
    ) -> "ModelInput":
        from spanetv2.tasks.detection.analysis import analysis_input

        return analysis_input(own_checkpoint(self.name, model), title, images, device=device)

    def benchmark_name(self, name: str) -> str | None:
        from spanetv2.tasks.detection.measured import full_name

        return full_name(name)

    def benchmark_shape(self, source: "str | Checkpoint") -> tuple[int, int]:
        from spanetv2.tasks.detection.measured import SHAPE

        if isinstance(source, str):
            return SHAPE
        return SHAPE[0], source.extra["detector"]["min_size"]

    def benchmark_subject(self, source: "str | Checkpoint", size: int) -> "Subject":
        from spanetv2.tasks.detection.measured import detector_subject

        return detector_subject(source, size)

    def load_network(
        self, checkpoint: "Checkpoint", *, device: "torch.device | str" = "cpu"
    ) -> nn.Module:
        from spanetv2.tasks.detection.weights import load_detector

        return load_detector(checkpoint, device=device)[0]

    def describe_network(self, model: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        from spanetv2.tasks.detection.weights import describe_detector

        return describe_detector(model, facts)

    def limits(self, checkpoint: "Checkpoint") -> list[str]:
        return [
            "It finds objects of its classes alone, and may take others for them. Objects much "
            "smaller or larger than those it was trained on may be missed."
        ]

    def describe_input(self, checkpoint: "Checkpoint") -> str:
        side = checkpoint.extra["detector"]["min_size"]
        return f"any size, shown with a short side of {side} pixels"

    def loading_example(self, name: str) -> str:
        return (
            "from spanetv2.tasks.detection.weights import load_detector\n"
            f'model, checkpoint = load_detector("{name}")'
        )


TASK = DetectionTask()
