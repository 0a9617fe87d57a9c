"""What a detection run can be told, as typed groups.

Groups that describe the detector (``detector``) and its images (``augmentation``) are the task's
own.
"""

from dataclasses import dataclass, field

from spanetv2.tasks.detection.data.reading import Boxes, Orientation
from spanetv2.tasks.detection.data.transforms import Augmentation
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.training.backbone import BackboneConfig
from spanetv2.training.config import BaseRunConfig, LoadingConfig, check, check_sides

__all__ = ["DataConfig", "ModelConfig", "RunConfig"]


@dataclass(kw_only=True)
class ModelConfig(BackboneConfig):
    """The backbone.

    Args:
        name: one of ours (see `spanetv2 models`) or any timm model with four levels.
        img_size: height and width the spectral filters are made for; null is 224, or that of the
            weights.
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
    """The images and their annotations, and how many at a time.

    Args:
        root: folder in COCO's layout (`--data PATH` is short for it).
        train_split: name of the training split.
        val_split: name of the validation split; null trains without validation.
        train_annotations: annotation file of the training images, instead of root and split.
        train_images: their folder.
        val_annotations: annotation file of the validation images, instead of root and split.
        val_images: their folder.
        classes: class names in label order; null are all categories in the order of their ids.
        empty_classes: stop at a class of whose objects none can be trained on, or keep it.
        orientation: how annotations of images with an EXIF orientation were drawn: shown (on the
            image as programs show it), stored (on its pixels as they lie in the file), percent
            (shares of the image as shown times the stored size, as Label Studio writes them), or
            auto (shown; stored where the sizes in the annotation file say so).
        boxes: what the four numbers of a box are, sizes (left, top, width, height) or corners
            (left, top, right, bottom).
        total_batch: images per optimiser update, over all devices.
        batch_size: images per device at a time; null divides total_batch by the devices.
        accumulation: passes per update; null is what makes up total_batch.
        val_batch_size: images per device in validation; null is one, which needs no padding.
        workers: loading processes per device.
        pin_memory: page-locked memory for faster copies to a GPU; null where there is one.
        persistent_workers: keep the loading processes between epochs.
        max_pixels: most pixels of an image; null is Pillow's limit.
    """

    root: str | None = None
    train_split: str = "train"
    val_split: str | None = "val"
    train_annotations: str | None = None
    train_images: str | None = None
    val_annotations: str | None = None
    val_images: str | None = None
    classes: list[str] | None = None
    orientation: Orientation = "auto"
    boxes: Boxes = "sizes"
    total_batch: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for split in ("train", "val"):
            given = [getattr(self, f"{split}_{what}") for what in ("annotations", "images")]
            check(
                (given[0] is None) == (given[1] is None),
                f"data.{split}_annotations",
                given[0],
                f"to be given together with data.{split}_images",
            )


@dataclass(kw_only=True)
class RunConfig(BaseRunConfig):
    """Everything about a run but the Trainer's own options.

    Args:
        out: the run folder.
        seed: the run is a function of it (and of the hardware).
        weights: checkpoint to start from: a backbone (a classifier's) or a detector.
        log_every: updates between two lines of the log.
        loggers: further logs: csv, tensorboard, wandb or mlflow, one or several, each a name or a
            mapping with options.
        model: the backbone.
        detector: pyramid, heads, sampling and test settings.
        data: the images.
        augmentation: what training images go through.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema: averaging of the weights.
        checkpoints: what is kept.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    detector: DetectorOptions = field(default_factory=DetectorOptions)
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("short_sides", "long_side", "crop_short_sides", "crop_sides"):
            check_sides(f"augmentation.{name}", getattr(self.augmentation, name))
        check_sides("detector.min_size", self.detector.min_size)
