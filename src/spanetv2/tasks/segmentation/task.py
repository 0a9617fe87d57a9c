"""Semantic segmentation: what the engine and the commands call of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from spanetv2.errors import UserError
from spanetv2.tasks.labelled_analysis import labelled_subset, own_checkpoint
from spanetv2.tasks.segmentation.guide import GUIDE
from spanetv2.tasks.task import (
    EMPTY_CLASSES,
    FOLDER,
    MAX_PIXELS,
    OUT,
    OUTPUT,
    PICTURES,
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
    from spanetv2.tasks.evaluation import (
        Evaluation,
        EvaluationPass,
        EvaluationSettings,
        Measuring,
        Meter,
    )
    from spanetv2.tasks.prediction import PredictionSettings
    from spanetv2.tasks.segmentation.config import RunConfig
    from spanetv2.tasks.segmentation.learning import Segmentation
    from spanetv2.tasks.segmentation.run_data import SegmentationData
    from spanetv2.tasks.segmentation.writer import SegmentationPredictor, SegmentationWriter
    from spanetv2.training.batching import BatchPlan
    from spanetv2.training.data import TrainingData
    from spanetv2.training.module import TaskModule

__all__ = ["TASK", "SegmentationTask"]

_WINDOW = Option(
    name="window", type=int, least=1, help="side of the sliding window; none is whole images"
)
_MASK_VALUES = Option(
    name="mask_values",
    type=str,
    flag="--mask-values",
    help="value of each class in a mask, as in 0,255, or of the first class",
)
_STRIDE = Option(name="stride", type=int, least=1, help="step of the sliding window")


class SegmentationTask(Task):
    """Semantic segmentation."""

    name = "segmentation"
    in_updates = True
    figures = ("miou", "pixel_accuracy", "mean_accuracy")
    headline = "mIoU"
    guide = GUIDE
    dtypes = ("float32", "bfloat16")
    default_folder = FOLDER
    figure_titles: ClassVar[Mapping[str, str]] = {
        "miou": "mIoU",
        "pixel_accuracy": "pixel accuracy",
    }
    pipeline = "image-segmentation"
    evaluate_help = "mIoU, IoU per class, pixel accuracy"
    predict_help = "writes label images, overlays and a file of facts into a folder"
    datasets = "ade20k or folder"
    evaluate_options = (
        _WINDOW,
        _STRIDE,
        Option(
            name="scales",
            type=list[float],
            flag="--scale",
            help="scales to average over; repeat the option",
        ),
        Option(name="flip", type=bool, flag="--flip", help="average with the mirror image"),
        _MASK_VALUES,
        MAX_PIXELS,
    )
    predict_options = (OUT, _WINDOW, _STRIDE, MAX_PIXELS)
    check_data_options = (
        Option(
            name="dataset",
            type=str,
            help="ade20k (labels from 1 in annotations/) or folder (labels from 0 in masks/); by "
            "default, what the folder looks like",
        ),
        Option(name="workers", type=int, least=1, help="threads that read (default 2)"),
        _MASK_VALUES,
        Option(name="masks", type=str, help="auto, values or colours: how masks say classes"),
        Option(
            name="mask_suffix",
            type=str,
            flag="--mask-suffix",
            help="end of the masks' names beyond those of their images",
        ),
        Option(
            name="class_file",
            type=str,
            flag="--class-file",
            help="class list elsewhere: a name a line, CVAT's labelmap.txt, a CSV",
        ),
        Option(
            name="orientation",
            type=str,
            help="auto, shown or stored: how masks lie on images that EXIF data turn",
        ),
        EMPTY_CLASSES,
        Option(
            name="allow_missing_classes",
            type=bool,
            flag="--allow-missing-classes",
            help="older name of --empty-classes keep",
        ),
        MAX_PIXELS,
        PICTURES,
    )
    export_options = (OUTPUT,)

    # training ------------------------------------------------------------------------------------

    @property
    def config(self) -> "type[RunConfig]":
        from spanetv2.tasks.segmentation.config import RunConfig

        return RunConfig

    def open_data(
        self, config: "RunConfig", *, plan: "BatchPlan", pin_memory: bool, limit: int | float
    ) -> "SegmentationData":
        from spanetv2.tasks.segmentation.run_data import SegmentationData

        if config.head.name == "upernet" and plan.per_device == 1:
            raise UserError(
                "got one image per device, expected two or more: UPerNet pools images to single "
                "values, of which batch norm cannot take statistics; raise data.batch_size, or "
                "use --head.name semantic_fpn"
            )
        return SegmentationData(config, plan=plan, pin_memory=pin_memory, limit=limit)

    def make_module(self, config: "RunConfig", data: "TrainingData") -> "Segmentation":
        from spanetv2.tasks.segmentation.learning import make_module
        from spanetv2.tasks.segmentation.run_data import SegmentationData

        assert isinstance(data, SegmentationData)
        return make_module(config, data)

    def image_size(self, config: "RunConfig") -> str:
        return "x".join(map(str, config.augmentation.crop_size))

    def measure(
        self,
        module: "TaskModule",
        data: "TrainingData",
        config: "RunConfig",
        *,
        device: "torch.device",
    ) -> dict[str, Any]:
        from spanetv2.tasks.segmentation.evaluate import evaluate
        from spanetv2.tasks.segmentation.run_data import SegmentationData

        assert isinstance(data, SegmentationData)
        loader = data.make_val_loader(rank=0, world=1, batch_size=data.val_batch_size)
        result = evaluate(
            module.evaluated_net,
            loader,
            classes=data.classes,
            preprocessing=data.preprocessing,
            inference=config.inference,
            device=device,
        )
        return result.to_json()

    def save(
        self, net: nn.Module, path: Path, *, identity: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        from spanetv2.models.weights.save import save_state_dict

        record = {**identity, "extra": {**identity["extra"], **extra}}
        save_state_dict(net.state_dict(), path, record)

    # commands ------------------------------------------------------------------------------------

    def open_evaluation(
        self, checkpoint: "Checkpoint", settings: "EvaluationSettings"
    ) -> "Measuring":
        from spanetv2.tasks.segmentation.measure import open_evaluation

        return open_evaluation(checkpoint, settings)

    def meter(self, frame: Mapping[str, Any]) -> "Meter":
        from spanetv2.tasks.segmentation.metrics import SegmentationMeter

        return SegmentationMeter(len(frame["classes"]))

    def conclude(
        self,
        meter: Any,
        done: "EvaluationPass",
        frame: Mapping[str, Any],
        seen: Sequence[Any] = (),
    ) -> "Evaluation":
        from spanetv2.tasks.segmentation.measure import conclude

        return conclude(meter, done, frame, seen)

    def predictor(
        self, checkpoint: "Checkpoint", settings: "PredictionSettings"
    ) -> "SegmentationPredictor":
        from spanetv2.tasks.segmentation.writer import SegmentationPredictor

        return SegmentationPredictor(checkpoint, settings)

    def prediction_writer(
        self, facts: Mapping[str, Any], options: Mapping[str, Any]
    ) -> "SegmentationWriter":
        from spanetv2.tasks.segmentation.writer import SegmentationWriter

        return SegmentationWriter(options)

    def check_data(
        self,
        data: Path,
        *,
        split: str | None = None,
        progress: bool = False,
        dataset: str | None = None,
        workers: int = 2,
        mask_values: str | None = None,
        masks: str = "auto",
        mask_suffix: str | None = None,
        class_file: str | None = None,
        orientation: str = "auto",
        empty_classes: str = "stop",
        allow_missing_classes: bool = False,
        max_pixels: int | None = None,
        pictures: Path | None = None,
    ) -> Iterator[SplitCheck]:
        """Read every image and label map, and count the pixels of every class.

        Named are masks of another size than their image, labels outside the class list, masks of
        several channels, unreadable files and classes without a pixel to train on; the exit status
        is then 1. Missing and extra masks, an empty set and a class list that cannot be used end
        the check at once. Training refuses the same, and takes the same options in the group data.
        """
        from spanetv2.data.classes import keeps_empty
        from spanetv2.tasks.segmentation.data.check import check_splits
        from spanetv2.tasks.segmentation.data.encoding import mask_values_of
        from spanetv2.tasks.segmentation.data.folder import DatasetSpec

        spec = DatasetSpec(
            mask_values=None if mask_values is None else mask_values_of(mask_values),
            masks=masks,  # pyright: ignore[reportArgumentType] - checked by the class
            mask_suffix=mask_suffix,
            class_file=class_file,
            orientation=orientation,  # pyright: ignore[reportArgumentType]
            max_pixels=max_pixels,
        )
        return check_splits(
            data,
            split=split,
            spec=spec,
            dataset=dataset,
            allow_missing=allow_missing_classes or keeps_empty(empty_classes),
            pictures=pictures,
            workers=workers,
            progress=progress,
        )

    def export_subject(
        self,
        checkpoint: "Checkpoint",
        img_size: tuple[int, int] | None = None,
        *,
        output: str | None = None,
    ) -> "ExportSubject":
        from spanetv2.tasks.segmentation.export import export_subject

        return export_subject(checkpoint, img_size, output=output)

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
        from spanetv2.tasks.segmentation.analysis import analysis_input

        return analysis_input(own_checkpoint(self.name, model), title, images, device=device)

    def benchmark_name(self, name: str) -> str | None:
        from spanetv2.tasks.segmentation.measured import full_name

        return full_name(name)

    def benchmark_shape(self, source: "str | Checkpoint") -> tuple[int, int]:
        from spanetv2.tasks.segmentation.measured import SHAPE

        recorded = None if isinstance(source, str) else source.preprocessing
        sides = (recorded or {}).get("size")
        return (SHAPE[0], min(sides)) if sides else SHAPE

    def benchmark_subject(self, source: "str | Checkpoint", size: int) -> "Subject":
        from spanetv2.tasks.segmentation.measured import segmenter_subject

        return segmenter_subject(source, size)

    def load_network(
        self, checkpoint: "Checkpoint", *, device: "torch.device | str" = "cpu"
    ) -> nn.Module:
        from spanetv2.tasks.segmentation.weights import load_segmenter

        return load_segmenter(checkpoint, device=device)[0]

    def describe_network(self, model: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        from spanetv2.tasks.segmentation.weights import describe_segmenter

        return describe_segmenter(model, facts)

    def limits(self, checkpoint: "Checkpoint") -> list[str]:
        return [
            "It gives every pixel one of its classes, whatever a picture shows; what training left "
            "out as unlabelled gets one of them, too."
        ]

    def describe_input(self, checkpoint: "Checkpoint") -> str:
        size = (checkpoint.preprocessing or {}).get("size")
        return f"any size, shown as {size[0]} x {size[1]} pixels" if size else "any size"

    def loading_example(self, name: str) -> str:
        return (
            "from spanetv2.tasks.segmentation.weights import load_segmenter\n"
            f'model, checkpoint = load_segmenter("{name}")'
        )


TASK = SegmentationTask()
