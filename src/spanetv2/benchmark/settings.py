"""What to measure: the settings of a benchmark, checked, and the cells that follow from them."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.models import is_model

from spanetv2.deploy.runtimes import RUNTIMES
from spanetv2.errors import UserError
from spanetv2.mixers.spectral import IMPLEMENTATIONS
from spanetv2.models.factory import resolve_name
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.source import is_prefixed
from spanetv2.ops.linear import FORMS

__all__ = [
    "DTYPES",
    "FOLDED",
    "HOWS",
    "MODELS",
    "MODES",
    "PASSES",
    "Cell",
    "Settings",
    "full_label",
    "split_label",
]

MODELS = (
    "spanetv2_s18_pure",
    "spanetv2_s18_pure@reference",
    "spanetv2_s18_hybrid",
    "convformer_s18",
    "caformer_s18",
    "convnext_tiny",
    "swin_tiny_patch4_window7_224",
)
REFERENCES = ("convformer_s18", "sepconv")
MODES = ("eager", "compiled", "frozen", "graphs", *RUNTIMES)
"""As written; by ``torch.compile``; so with weights as constants ("freezing"), for inference; so
and replayed as a CUDA graph ("reduce-overhead"); exported, in a runtime for CPUs."""
PASSES = ("inference", "training")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
FOLDED = ("optimized", "fused_optimized")
"""Of HOWS, the networks that ``optimize_for_inference`` makes, of "auto" and of "fused"."""
HOWS = (*(name for name in (*IMPLEMENTATIONS, *FORMS) if name != "auto"), *FOLDED)
"""What may follow a model's name: NAME@reference, NAME@optimized, ..."""


def split_label(label: str) -> tuple[str, str | None]:
    """The name and the HOW of a label.

    An @ in a path, or before a revision of a repository on the Hub, is a part of the name.

    Raises:
        UserError: an unknown HOW.

    Example:
        >>> split_label("s18_pure@reference"), split_label("convformer_s18")
        (('s18_pure', 'reference'), ('convformer_s18', None))
        >>> split_label("hf-hub:me/flowers@v1"), split_label("hf-hub:me/flowers@v1@maps")
        (('hf-hub:me/flowers@v1', None), ('hf-hub:me/flowers@v1', 'maps'))
    """
    name, found, how = label.rpartition("@")
    if how in HOWS and found:
        return name, how
    if not found or is_prefixed(label) or Path(label).exists():
        return label, None
    if how == "onnx":
        raise UserError(f"got {label!r}, expected {name} with --mode onnxruntime")
    raise UserError(f"got {label!r}, expected one of {', '.join(HOWS)} after the @")


def full_label(label: str, resolve: Callable[[str], str] = resolve_name) -> str:
    """A label with the network's full name.

    Args:
        label: as people write it.
        resolve: gives the full name of a network, and refuses what is none.

    Raises:
        UserError: an unknown network or HOW, or a HOW with a network of timm's.

    Example:
        >>> full_label("s18_pure@reference")
        'spanetv2_s18_pure@reference'
    """
    given, how = split_label(label)
    name = resolve(given)
    if how is None:
        return name
    if is_model(name) and name.partition(".")[0] not in VARIANTS:  # a dot is before a tag
        raise UserError(f"got {label!r}, but @{how} is for SPANetV2 variants only; leave it out")
    return f"{name}@{how}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One thing to measure."""

    model: str
    """label of a network, or name of an operator"""
    mode: str
    """one of ``MODES``"""
    work: str
    """inference or training"""
    dtype: str
    batch: int
    size: int
    """height and width of the images, in pixels"""
    stage: int | None = None
    """of an operator: the stage whose shape it runs at, from 1"""

    @property
    def title(self) -> str:
        """For progress bars."""
        stage = "" if self.stage is None else f" stage {self.stage}"
        return f"{self.model}{stage} {self.mode} {self.dtype} {self.batch} x {self.size}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, and how.

    Raises:
        UserError: a value that makes no sense; the message names it.
    """

    models: tuple[str, ...] = MODELS
    """labels: NAME or NAME@HOW"""
    reference: str | None = None
    """what the others are compared with; convformer_s18 or sepconv if measured, or the first"""
    modes: tuple[str, ...] = ("eager",)
    """some of ``MODES``; compiling takes a minute or more per network on a small machine. Frozen
    is compiled with the weights as constants (inference); the runtimes run exported networks."""
    passes: tuple[str, ...] = PASSES
    dtypes: tuple[str, ...] = ("float32",)
    """some of ``DTYPES``, and int8 for the runtimes"""
    batches: tuple[int, ...] = (8,)
    sizes: tuple[int, ...] = (224,)
    """heights and widths in pixels"""
    keep_pixels: bool = False
    """scale the batch so that a pass has about as many pixels as at the first size"""
    rounds: int = 20
    warmup: int = 2
    device: str = "cpu"
    threads: int | None = None
    channels_last: bool = False
    memory: bool = False
    """CPU: measure peak memory too, each in a process of its own (on a GPU it costs nothing)"""
    energy: bool = False
    """measure the energy of a pass too, as the machine counts it"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtypes", tuple(_SHORT.get(name, name) for name in self.dtypes))
        for field, known in (("modes", MODES), ("passes", PASSES), ("dtypes", (*DTYPES, "int8"))):
            values = getattr(self, field)
            if unknown := [value for value in values if value not in known]:
                raise UserError(f"got {field} {unknown}, expected some of {', '.join(known)}")
        for field in ("models", "modes", "passes", "dtypes", "batches", "sizes"):
            values = getattr(self, field)
            if not values:
                raise UserError(f"got no {field}, expected at least one")
            if len(set(values)) < len(values):
                raise UserError(f"got {field} {', '.join(map(str, values))}, expected each once")
        for field in ("batches", "sizes", "rounds", "threads"):
            value = getattr(self, field)
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            if any(number < 1 for number in values):
                raise UserError(f"got {field} {value}, expected numbers of 1 or more")
        if "graphs" in self.modes and not self.device.startswith("cuda"):
            raise UserError(
                f"got mode graphs on {self.device}, expected a GPU: it replays CUDA graphs"
            )
        if self.warmup < 0:
            raise UserError(f"got warmup {self.warmup}, expected 0 or more")
        if self.reference is None:
            usual = [name for name in self.models if name.rpartition(":")[2] in REFERENCES]
            object.__setattr__(self, "reference", (*usual, *self.models)[0])
        elif self.reference not in self.models:
            raise UserError(
                f"got reference {self.reference!r}, expected one of those measured: "
                f"{', '.join(self.models)}"
            )

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """All (batch, size).

        Example:
            >>> Settings(batches=(8,), sizes=(224, 448, 1024), keep_pixels=True).shapes
            ((8, 224), (2, 448), (1, 1024))
        """
        if not self.keep_pixels:
            return tuple(itertools.product(self.batches, self.sizes))
        first = self.sizes[0]
        return tuple(
            (max(1, round(batch * first**2 / size**2)), size)
            for batch, size in itertools.product(self.batches, self.sizes)
        )

    def cells(self, work: str) -> list[Cell]:
        """What is measured of one kind of pass, side by side.

        What cannot be is left out: optimised, frozen and exported networks in training, labels
        with a HOW and most precisions in the runtimes, int8 elsewhere.
        """
        cells = []
        for model in self.models:
            how = split_label(model)[1]
            for mode, dtype in itertools.product(self.modes, self.dtypes):
                if not _runs(how, mode, work, dtype):
                    continue
                for batch, size in self.shapes:
                    cells.append(
                        Cell(model=model, mode=mode, work=work, dtype=dtype, batch=batch, size=size)
                    )
        return cells


def _runs(how: str | None, mode: str, work: str, dtype: str) -> bool:
    if mode in RUNTIMES:
        return work == "inference" and how is None and dtype in RUNTIMES[mode]
    learns = how not in FOLDED and mode != "frozen"
    return dtype in DTYPES and (learns or work == "inference")
