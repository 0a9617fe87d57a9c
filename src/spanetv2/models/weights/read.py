"""Reading checkpoint files, safely."""

import argparse
import logging
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.kept import keep
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.archive import archive_fault
from spanetv2.models.weights.config_file import read_config
from spanetv2.models.weights.convert import (
    averaged_part,
    in_single_precision,
    is_native,
    is_spanetv2,
    strip_wrapping,
    to_native,
)
from spanetv2.models.weights.record import DEFAULT_TASK, METADATA_KEY, parse_record
from spanetv2.models.weights.shipped import shipped_with
from spanetv2.models.weights.source import RUN_WEIGHTS, WeightsFile, find_weights
from spanetv2.schema import build_from

__all__ = ["RUN_WEIGHTS", "Checkpoint", "CheckpointSource", "read_checkpoint"]

_logger = logging.getLogger("spanetv2")
T = TypeVar("T")

# What a training checkpoint has before the names of the model: averaged weights come first.
_TRAINING_PREFIXES = ("ema.module.", "net.")


@dataclass(kw_only=True)
class Checkpoint:
    """A checkpoint file's content, with this package's names if it is a SPANetV2."""

    path: Path
    """the file that was read"""
    state_dict: dict[str, Tensor]
    """name -> tensor, on the CPU; half precision is read as float32"""
    source: str
    """"spanetv2" (written by this package), "authors", or "other" (another network)"""
    task: str = DEFAULT_TASK
    """what kind of model it is; the default holds what timm's interface knows, backbones included,
    any other task's file the names of that task's model"""
    model_name: str | None = None
    """timm name the file records, if it does"""
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    """arguments for ``create_model`` the file records"""
    classes: list[str] | None = None
    """class names by index"""
    preprocessing: dict[str, Any] | None = None
    """input_size, mean, std, interpolation, crop_pct, crop_mode, by timm's names"""
    extra: dict[str, Any] = field(default_factory=dict)
    """further facts the file records, such as metrics and the heads of a dense model"""

    def fact(self, key: str, cls: type[T]) -> T | None:
        """A group of the further facts, checked; None where the file does not record it.

        Args:
            key: of ``extra``.
            cls: a dataclass with the group's fields; see ``schema.build_from``.

        Raises:
            UserError: an unknown field, a value of another type or out of range.
        """
        values = self.extra.get(key)
        if values is None:
            return None
        try:
            return build_from(cls, values, name=f"{key} in its record")
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None


CheckpointSource = str | os.PathLike[str] | Checkpoint
"""Where weights are taken from: a file, a run folder, a name of weights in the package, a folder or
repository in the Hub's layout (``local-dir:PATH``, ``hf-hub:OWNER/NAME``), or a checkpoint that is
read already; see ``read_checkpoint``."""


def _read_safetensors(path: Path) -> tuple[dict[str, Any], str | None]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return content, (file.metadata() or {}).get(METADATA_KEY)
    except Exception as error:  # odd headers make the reader raise nearly anything
        raise UserError(
            f"truncated or not a safetensors file ({_first_line(error)}); fetch or write it again"
        ) from error


def _read_pickle(path: Path) -> tuple[dict[str, Any], str | None]:
    if (fault := archive_fault(path)) is not None:
        raise UserError(f"truncated or not a checkpoint ({fault}); fetch it again")
    # Training scripts often keep their parsed arguments beside the weights; that class only holds
    # values, so allowing it runs no code of the file's.
    try:
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore"),  # an odd pickle is refused below, or fine
        ):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            "not a checkpoint, or one of more than plain tensors, of which nothing is run; "
            "expected a state dict alone, saved with torch.save or as safetensors"
        ) from error
    except Exception as error:  # so do damaged pickles
        raise UserError(
            f"truncated or not a checkpoint ({_first_line(error)}); fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"holds a {type(content).__name__}, expected a state dict")
    record = content.get(METADATA_KEY)
    return content, record if isinstance(record, str) else None


def _first_line(error: Exception) -> str:
    """What an error of PyTorch's says, which may name its classes, in plain words."""
    line = (str(error).strip().splitlines() or ["unreadable"])[0]
    return line.removeprefix("Error while deserializing header: ")


def _check_tensors(state: Mapping[str, Tensor], most: int) -> None:
    """Refuse what is no array of numbers, or claims to be larger than the file that it is in.

    Raises:
        UserError: naming the first.
    """
    for name, value in state.items():
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            kind = "quantized" if value.is_quantized else str(value.layout).removeprefix("torch.")
            kind = "without values" if value.is_meta else kind
            raise UserError(f"the tensor {name} is {kind}, expected plain numbers")
        if value.numel() * value.element_size() > most:
            raise UserError(
                f"the tensor {name} has {value.numel():,} numbers, more than the file can hold"
            )


def read_checkpoint(source: CheckpointSource) -> Checkpoint:
    """Read a checkpoint without running any code it may contain.

    Args:
        source: a safetensors file, a PyTorch file (the authors', or a training checkpoint of this
            package), a run folder with ``weights.safetensors``, a folder with ``model.safetensors``
            and ``config.json`` as this package and timm write for the Hub (``local-dir:`` may
            stand before it), a repository of such files (``hf-hub:OWNER/NAME[@REVISION]``), or the
            name of weights in the package, such as "spanetv2_pico_pure.fashion_mnist" (see
            `spanetv2 models`). A ``Checkpoint`` is given back as it is: what was read once is not
            read again. Only ``hf-hub:`` makes this reach the network.

    Returns:
        The weights, with this package's names if they are a SPANetV2's, and what the file records
        about the model.

    Raises:
        UserError: no such file, truncated, damaged, no weights in it, a record that is wrong, or it
            needs an arbitrary pickle.
    """
    if isinstance(source, Checkpoint):
        return source
    found = find_weights(source)
    keep([found.path])
    try:
        return _read(found)
    except UserError as error:
        raise UserError(f"{found.path}: {error}") from error.__cause__


def _read(found: WeightsFile) -> Checkpoint:
    path = found.path
    read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
    content, text = read(path)
    recorded = parse_record(text)
    if not recorded and found.config is not None:
        recorded = read_config(found.config)
    of_task = recorded.get("task", DEFAULT_TASK) != DEFAULT_TASK
    state = strip_wrapping(content, _TRAINING_PREFIXES if of_task else None)
    _check_tensors(state, path.stat().st_size)
    if (averaged := averaged_part(content)) is not None:
        _logger.warning("%s: the averaged weights (%s) are taken, as timm does", path, averaged)
    state = in_single_precision(state)
    if of_task:
        return Checkpoint(path=path, state_dict=state, source="spanetv2", **recorded)
    name = recorded.get("model_name")
    # With mixers other than SPAM the names are those of other networks: the record decides.
    native = is_native(state) or name in VARIANTS
    source = "spanetv2" if native else "authors"
    if (name is not None and name not in VARIANTS) or not (native or is_spanetv2(state)):
        source = "other"
    elif not native:
        state = to_native(state)
    silent = source == "spanetv2" and not recorded.get("preprocessing")
    if silent and (shipped := shipped_with(state)) is not None:
        for key in ("classes", "preprocessing"):
            recorded[key] = recorded.get(key) or shipped.record[key]
    return Checkpoint(path=path, state_dict=state, source=source, **recorded)
