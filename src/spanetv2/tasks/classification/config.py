"""What a classification run can be told, as typed groups.

Groups that describe images (``preprocessing``, ``augmentation``) are the data package's own.
"""

from dataclasses import dataclass, field
from typing import Literal

from spanetv2.data.preprocessing import Preprocessing
from spanetv2.tasks.classification.data.transforms import Augmentation
from spanetv2.training.backbone import BackboneConfig
from spanetv2.training.config import (
    BaseRunConfig,
    LoadingConfig,
    check,
)

__all__ = ["DataConfig", "MixingConfig", "ModelConfig", "RunConfig"]


@dataclass(kw_only=True)
class ModelConfig(BackboneConfig):
    """The network.

    Args:
        name: one of ours (see `spanetv2 models`) or any timm model.
        num_classes: number of classes; null takes them from the data set.
        img_size: height and width the spectral filters are made for; null is the input size for
            our models and timm's own default for others.
        stem_stride: stride of our models' stem, 1, 2 or 4; null is the variant's.
        drop_path: stochastic depth, the largest rate; null is the model's default.
        head_order: how an authors' checkpoint orders its heads, interleaved or concatenated.
        gate: the spectral gate, sigmoid or scaled_sigmoid.
        pretrained: download timm's weights (timm's models only).
        grad_checkpointing: trade time for memory by recomputing activations.
        form: how our models' linear layers are computed, tokens (matrix products) or maps
            (convolutions); auto is the faster one on this machine, and stays that of the run.
        channels_last: keep activations channels-last.
        compile: compile the model with torch.compile.
        kwargs: further keyword arguments of the model.
    """

    num_classes: int | None = None
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.num_classes
        check(value is None or value > 0, "model.num_classes", value, "1 or more")


@dataclass(kw_only=True)
class DataConfig(LoadingConfig):
    """The images, and how many at a time.

    Args:
        root: folder of the data set (`--data PATH` is short for it).
        dataset: folder, digits, fashion_mnist, tar, torch/NAME, hfds/NAME, hfids/NAME or wds.
        train_split: name of the training split.
        val_split: name of the validation split; null trains without validation.
        val_share: share of every class of the training split that is held out for validation
            instead, such as 0.2; drawn from the seed and the files' names.
        labels: CSV file that says the class of every image below root, instead of class folders.
        val_labels: another one for validation.
        image_column: its column of images; null finds it.
        label_column: its column of classes, or several with commas between them that are a class
            each; null finds it.
        multi_label: whether images may have several labels, or none (labels); null finds out.
        empty_classes: stop at a class without a training image, or keep it.
        class_balanced: draw every class equally often, rather than every image once an epoch.
        download: let the reader download the data set.
        classes: class names in order, where the data set does not tell them.
        class_file: file with one class name a line, where the data set does not tell them.
        num_samples: images in the training stream, where it does not tell.
        val_num_samples: images in the validation stream, where it does not tell.
        input_key: name of the image field in a Hugging Face or WebDataset record.
        target_key: name of its label field.
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
    dataset: str = "folder"
    train_split: str = "train"
    val_split: str | None = "val"
    val_share: float | None = None
    labels: str | None = None
    val_labels: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    multi_label: bool | None = None
    class_balanced: bool = False
    download: bool = False
    classes: list[str] | None = None
    class_file: str | None = None
    num_samples: int | None = None
    val_num_samples: int | None = None
    input_key: str | None = None
    target_key: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        share = self.val_share
        check(share is None or 0 < share < 1, "data.val_share", share, "between 0 and 1")
        for name in ("num_samples", "val_num_samples"):
            value = getattr(self, name)
            check(value is None or value > 0, f"data.{name}", value, "1 or more")


@dataclass(kw_only=True)
class MixingConfig:
    """Mixing of images and softening of labels (timm's Mixup).

    Args:
        mixup: alpha of mixup; 0 is off.
        cutmix: alpha of cutmix; 0 is off.
        prob: probability of mixing a batch.
        switch_prob: probability of cutmix where both are on.
        mode: draw once per batch, per pair or per elem.
        label_smoothing: share of the target spread evenly over the classes.
        off_epoch: from this epoch on no mixing; null never.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    prob: float = 1.0
    switch_prob: float = 0.5
    mode: Literal["batch", "pair", "elem"] = "batch"
    label_smoothing: float = 0.0
    off_epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            check(getattr(self, name) >= 0, f"mixing.{name}", getattr(self, name), "0 or more")
        for name in ("prob", "switch_prob"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"mixing.{name}", value, "a probability")
        value = self.label_smoothing
        check(0 <= value < 1, "mixing.label_smoothing", value, "at least 0 and below 1")
        value = self.off_epoch
        check(value is None or value >= 0, "mixing.off_epoch", value, "an epoch from 0 on")


@dataclass(kw_only=True)
class RunConfig(BaseRunConfig):
    """Everything about a run but the Trainer's own options.

    Args:
        out: the run folder.
        seed: the run is a function of it (and of the hardware).
        weights: checkpoint to start from, for fine-tuning.
        freeze: `all` keeps everything but the classifier as it is, a number the stem and so many
            stages; null trains everything.
        log_every: updates between two lines of the log.
        loggers: further logs: csv, tensorboard, wandb or mlflow, one or several, each a name or a
            mapping with options.
        model: the network.
        data: the images.
        preprocessing: what every image goes through.
        augmentation: what training images go through besides.
        mixing: mixup, cutmix, label smoothing.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema: averaging of the weights.
        checkpoints: what is kept.
    """

    freeze: Literal["all"] | int | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixing: MixingConfig = field(default_factory=MixingConfig)
