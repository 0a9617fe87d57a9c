"""What a segmentation run can be told, as typed groups.

Groups that describe the head and the images are the task's own.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from spanetv2.tasks.segmentation.data.transforms import Augmentation, Preprocessing
from spanetv2.tasks.segmentation.inference import Inference
from spanetv2.tasks.segmentation.model import HeadOptions
from spanetv2.training.backbone import BackboneConfig
from spanetv2.training.config import BaseRunConfig, LoadingConfig, check, check_sides

__all__ = ["DataConfig", "ModelConfig", "RunConfig"]


@dataclass(kw_only=True)
class ModelConfig(BackboneConfig):
    """The backbone.

    Args:
        name: one of ours (see `spanetv2 models`) or any timm model that gives features.
        img_size: height and width the spectral filters are made for; null is 224, or that of the
            weights. Other sizes work too.
        stem_stride: stride of our models' stem, 1, 2 or 4; null is the variant's.
        drop_path: stochastic depth, the largest rate; null is the model's default.
        head_order: how an authors' checkpoint orders its heads, interleaved or concatenated.
        gate: the spectral gate, sigmoid or scaled_sigmoid.
        pretrained: download timm's weights (timm's models only).
        grad_checkpointing: trade time for memory by recomputing activations.
        form: how our models' linear layers are computed, tokens (matrix products) or maps
            (convolutions); auto is the faster one on this machine, and stays that of the run.
        kwargs: further keyword arguments of the model.
    """


@dataclass(kw_only=True)
class DataConfig(LoadingConfig):
    """The images and their label maps, and how many at a time.

    Args:
        root: folder of the data set (`--data PATH` is short for it).
        dataset: ade20k (images/ and annotations/, labels from 1, 0 is not labelled), folder
            (images/ and masks/, labels from 0, 255 is not labelled), or auto: what it looks like.
        train_split: name of the training split.
        val_split: name of the validation split; null trains without validation.
        classes: class names by label, instead of classes.txt in the root.
        class_file: another class list: a name a line, CVAT's labelmap.txt, a CSV.
        mask_values: the value of each class in a mask, such as [0, 255], or of the first class;
            null is what the class list or the layout says.
        masks: auto, values or colours: auto reads coloured pictures by the class list's colours,
            others by value.
        mask_suffix: end of the masks' names beyond those of their images, such as _mask; null
            finds out.
        orientation: auto, shown or stored: how masks lie on images that EXIF data turn; auto goes
            by their sizes.
        empty_classes: stop at a class without a pixel to train on, or keep it.
        allow_missing_classes: older name of empty_classes keep.
        total_batch: images per optimiser update, over all devices.
        batch_size: images per device at a time; null divides total_batch by the devices.
        accumulation: passes per update; null is what makes up total_batch.
        val_batch_size: images per device in validation; null is the same as in training.
        workers: loading processes per device.
        pin_memory: page-locked memory for faster copies to a GPU; null where there is one.
        persistent_workers: keep the loading processes between epochs.
        max_pixels: most pixels of an image; null is Pillow's limit.
    """

    root: str | None = None
    dataset: Literal["auto", "ade20k", "folder"] = "auto"
    train_split: str = "train"
    val_split: str | None = "val"
    classes: list[str] | None = None
    class_file: str | None = None
    mask_values: int | list[int] | None = None
    masks: Literal["auto", "values", "colours"] = "auto"
    mask_suffix: str | None = None
    orientation: Literal["auto", "shown", "stored"] = "auto"
    allow_missing_classes: bool = False
    total_batch: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.mask_values
        for value in given if isinstance(given, list) else [given or 0]:
            check(0 <= value <= 255, "data.mask_values", given, "values from 0 to 255")

    def reading(self) -> dict[str, Any]:
        """What is not as by default in how masks are read, for the record and for evaluation."""
        values = {
            "mask_values": self.mask_values,
            "masks": None if self.masks == "auto" else self.masks,
            "mask_suffix": self.mask_suffix,
            "orientation": None if self.orientation == "auto" else self.orientation,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(kw_only=True)
class RunConfig(BaseRunConfig):
    """Everything about a run but the Trainer's own options.

    Args:
        out: the run folder.
        seed: the run is a function of it (and of the hardware).
        weights: checkpoint to start from: a classifier's (the backbone), or a segmentation model's.
        log_every: updates between two lines of the log.
        loggers: further logs: csv, tensorboard, wandb or mlflow, one or several, each a name or a
            mapping with options.
        auxiliary_weight: share of the auxiliary head's loss.
        class_weights: weights in the loss by class name, such as {background: 0.1}; classes left
            out weigh 1. For classes that cover most pixels or few of them. The scores stay those
            of the unweighted problem: what a weight does to them is taken out again.
        model: the backbone.
        head: the head.
        data: the images.
        preprocessing: what every image goes through.
        augmentation: what training images go through besides.
        inference: how images are shown to the model in validation, and by default afterwards.
        optimizer: the optimiser; layer_decay is the factor between stages.
        schedule: the learning rate over time.
        ema: averaging of the weights.
        checkpoints: what is kept.
    """

    auxiliary_weight: float = 0.4
    class_weights: dict[str, float] = field(default_factory=dict)
    model: ModelConfig = field(default_factory=ModelConfig)
    head: HeadOptions = field(default_factory=HeadOptions)
    data: DataConfig = field(default_factory=DataConfig)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    augmentation: Augmentation = field(default_factory=Augmentation)
    inference: Inference = field(default_factory=Inference)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("augmentation.crop", self.augmentation.crop)
        check_sides("preprocessing.size", self.preprocessing.size)
        check_sides("inference.window", self.inference.window)
        check(self.auxiliary_weight >= 0, "auxiliary_weight", self.auxiliary_weight, "0 or more")
        for name, weight in self.class_weights.items():
            check(0 < weight < inf, f"class_weights.{name}", weight, "a finite number above 0")

    def idle_options(self) -> dict[str, str]:
        idle = super().idle_options()
        if not self.head.has_auxiliary:
            idle["auxiliary_weight"] = "head.auxiliary true beside it: there is no auxiliary head"
        return idle
