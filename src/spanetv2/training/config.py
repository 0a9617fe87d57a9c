"""What a classification run can be told, as typed groups.

Every field is one command-line option (``--optimizer.lr 1e-3``) and one line of a recipe. Groups
that describe images (``preprocessing``, ``augmentation``) are the data package's own.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.transforms import Augmentation, Preprocessing

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "EmaConfig",
    "MixingConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RunConfig",
    "ScheduleConfig",
]


def _check(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise UserError(f"{name} is {value!r}, expected {expected}")


@dataclass(kw_only=True)
class ModelConfig:
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
        channels_last: keep activations channels-last.
        compile: compile the model with torch.compile.
        kwargs: further keyword arguments of the model.
    """

    name: str | None = None
    num_classes: int | None = None
    img_size: int | tuple[int, int] | None = None
    stem_stride: int | None = None
    drop_path: float | None = None
    head_order: Literal["interleaved", "concatenated"] | None = None
    gate: Literal["sigmoid", "scaled_sigmoid"] | None = None
    pretrained: bool = False
    grad_checkpointing: bool = False
    channels_last: bool = False
    compile: bool = False
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class DataConfig:
    """The images, and how many at a time.

    Args:
        root: folder of the data set (`--data PATH` is short for it).
        dataset: folder, digits, fashion_mnist, tar, torch/NAME, hfds/NAME, hfids/NAME or wds.
        train_split: name of the training split.
        val_split: name of the validation split; null trains without validation.
        download: let the reader download the data set.
        classes: class names in order, where the data set does not tell them.
        class_file: file with one class name a line, likewise.
        num_samples: images in the training stream, where it does not tell.
        val_num_samples: images in the validation stream, likewise.
        input_key: name of the image field in a Hugging Face or WebDataset record.
        target_key: name of its label field.
        total_batch: images per optimiser update, over all devices.
        batch_size: images per device at a time; null divides total_batch by the devices.
        accumulation: passes per update; null is what makes up total_batch.
        val_batch_size: images per device in validation; null is the same as in training.
        workers: loading processes per device.
        pin_memory: page-locked memory for faster copies to a GPU; null where there is one.
        persistent_workers: keep the loading processes between epochs.
    """

    root: str | None = None
    dataset: str = "folder"
    train_split: str = "train"
    val_split: str | None = "val"
    download: bool = False
    classes: list[str] | None = None
    class_file: str | None = None
    num_samples: int | None = None
    val_num_samples: int | None = None
    input_key: str | None = None
    target_key: str | None = None
    total_batch: int = 128
    batch_size: int | None = None
    accumulation: int | None = None
    val_batch_size: int | None = None
    workers: int = 2
    pin_memory: bool | None = None
    persistent_workers: bool = False

    def __post_init__(self) -> None:
        _check(self.total_batch > 0, "data.total_batch", self.total_batch, "1 or more")
        for name in ("batch_size", "accumulation", "val_batch_size"):
            value = getattr(self, name)
            _check(value is None or value > 0, f"data.{name}", value, "1 or more")
        _check(self.workers >= 0, "data.workers", self.workers, "0 or more")


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
            _check(getattr(self, name) >= 0, f"mixing.{name}", getattr(self, name), "0 or more")
        for name in ("prob", "switch_prob"):
            value = getattr(self, name)
            _check(0 <= value <= 1, f"mixing.{name}", value, "a probability")
        value = self.label_smoothing
        _check(0 <= value < 1, "mixing.label_smoothing", value, "at least 0 and below 1")


@dataclass(kw_only=True)
class OptimizerConfig:
    """The optimiser (timm's).

    Args:
        name: adamw, lamb, sgd or any other of timm's.
        lr: peak learning rate, for the whole batch; never scaled behind your back.
        weight_decay: weight decay; biases and one-dimensional parameters are left out.
        decay_all: decay those too.
        layer_decay: factor between the rates of neighbouring layers, for fine-tuning; null is off.
        betas: the two Adam averages; null is timm's default.
        eps: null is timm's default.
        momentum: for optimisers that have one.
        kwargs: further keyword arguments of the optimiser.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    decay_all: bool = False
    layer_decay: float | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    momentum: float = 0.9
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.lr > 0, "optimizer.lr", self.lr, "more than 0")
        _check(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")
        value = self.layer_decay
        _check(value is None or 0 < value <= 1, "optimizer.layer_decay", value, "between 0 and 1")


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate over time (timm's schedulers); its length is trainer.max_epochs.

    Args:
        name: cosine, poly, step, multistep, tanh, wsd or constant.
        step: change the rate once an epoch or at every update.
        warmup_epochs: epochs of linear warm-up, part of the total.
        warmup_lr: rate at which the warm-up starts.
        min_lr: lowest rate.
        cooldown_epochs: last epochs, held at min_lr, part of the total.
        decay_epochs: interval of `step`, last phase of `wsd`.
        decay_rate: factor of `step` and `multistep`, power of `poly`.
        decay_milestones: epochs at which `multistep` decays.
    """

    name: Literal["cosine", "poly", "step", "multistep", "tanh", "wsd", "constant"] = "cosine"
    step: Literal["epoch", "update"] = "update"
    warmup_epochs: int = 0
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    cooldown_epochs: int = 0
    decay_epochs: float | None = None
    decay_rate: float = 0.1
    decay_milestones: list[int] = field(default_factory=lambda: [90, 180, 270])

    def __post_init__(self) -> None:
        for name in ("warmup_epochs", "cooldown_epochs", "warmup_lr", "min_lr"):
            _check(getattr(self, name) >= 0, f"schedule.{name}", getattr(self, name), "0 or more")


@dataclass(kw_only=True)
class EmaConfig:
    """Averaging of the weights over time (timm's ModelEmaV3).

    Args:
        decay: share of the average kept at each update, 0.9999 say; null is off.
        warmup: let the decay grow in the first updates, so that a short run is averaged too.
    """

    decay: float | None = None
    warmup: bool = True

    def __post_init__(self) -> None:
        _check(self.decay is None or 0 < self.decay < 1, "ema.decay", self.decay, "below 1")


@dataclass(kw_only=True)
class CheckpointConfig:
    """What is kept, and how often.

    Args:
        every_steps: save after so many updates too, not only at the end of an epoch; 0 is off.
        every_epochs: save at the end of every so many epochs.
        monitor: what the best checkpoint is chosen by.
        export: the weights.safetensors of the end are those of the last or of the best epoch.
    """

    every_steps: int = 500
    every_epochs: int = 1
    monitor: Literal["top1", "top5", "loss"] = "top1"
    export: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        _check(self.every_steps >= 0, "checkpoints.every_steps", self.every_steps, "0 or more")
        _check(self.every_epochs > 0, "checkpoints.every_epochs", self.every_epochs, "1 or more")


@dataclass(kw_only=True)
class RunConfig:
    """Everything about a run but the Trainer's own options.

    Args:
        out: the run folder.
        seed: the run is a function of it (and of the hardware).
        weights: checkpoint to start from, for fine-tuning.
        freeze: `all` keeps everything but the classifier as it is, a number the stem and so many
            stages; null trains everything.
        log_every: updates between two lines of the log.
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

    out: str | None = None
    seed: int = 42
    weights: str | None = None
    freeze: Literal["all"] | int | None = None
    log_every: int = 50
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        _check(self.log_every > 0, "log_every", self.log_every, "1 or more")
