"""``spanetv2 convert``: any supported checkpoint to this package's file, or to the authors'."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spanetv2.cli.options import CHECKPOINT

if TYPE_CHECKING:
    from spanetv2.models.weights import Checkpoint, Description

__all__ = ["convert"]

_ENDINGS = {"spanetv2": (".safetensors",), "authors": (".pth", ".pt")}


def convert(
    source: Annotated[str, CHECKPOINT],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The file to write: .safetensors, for the authors .pth."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="spanetv2 (what predict, evaluate and create_model read) or authors (what their "
            "code loads; of segmenters and detectors the backbone)."
        ),
    ] = "spanetv2",
    gate: Annotated[
        str | None,
        typer.Option(help='"sigmoid" ignores the slopes of a file trained without using them.'),
    ] = None,
) -> None:
    """Convert a checkpoint to this package's safetensors, or back to the authors' layout."""
    from spanetv2.errors import UserError
    from spanetv2.kept import promise
    from spanetv2.mixers.spectral import GATES
    from spanetv2.models.weights import read_checkpoint

    if to not in _ENDINGS:
        raise UserError(f"got --to {to}, expected one of {', '.join(_ENDINGS)}")
    if target.suffix not in _ENDINGS[to]:
        raise UserError(
            f"got output {target}, expected a name that ends in {' or '.join(_ENDINGS[to])}"
        )
    if gate is not None and gate not in GATES:
        raise UserError(f"got --gate {gate}, expected one of {', '.join(GATES)}")
    if gate is not None and to == "authors":
        raise UserError("got --gate with --to authors, expected one of them")
    promise(target)
    checkpoint = read_checkpoint(source)
    if checkpoint.source == "other":
        raise UserError(f"{checkpoint.path}: not a SPANetV2 checkpoint; nothing to convert")
    if to == "authors":
        found, left = _write_authors(checkpoint, target)
    else:
        found, left = _write_own(checkpoint, target, gate), ""
    typer.echo(
        f"{source} -> {target}: {found.variant}, {found.head_order}, {found.gate}, "
        f"{found.num_classes} classes, {found.in_chans} channels, "
        f"made for {found.img_size[0]} x {found.img_size[1]} pixels{left}"
    )


def _write_own(checkpoint: "Checkpoint", target: Path, gate: str | None) -> "Description":
    """Write this package's file."""
    from spanetv2.models import load_model
    from spanetv2.models.weights import describe, save_weights

    model, _ = load_model(checkpoint, gate=gate)
    save_weights(
        model,
        target,
        classes=checkpoint.classes,
        preprocessing=checkpoint.preprocessing,
        extra=checkpoint.extra or None,
    )
    return describe(model.state_dict())


def _write_authors(checkpoint: "Checkpoint", target: Path) -> "tuple[Description, str]":
    """Write the authors' file; gives what it holds, and what it has no place for.

    A backbone's names start as in the models that mmseg and mmdet make around it.
    """
    import torch

    from spanetv2.errors import UserError
    from spanetv2.files import atomic_path
    from spanetv2.models.weights import describe, to_authors, to_native
    from spanetv2.models.weights.record import DEFAULT_TASK

    try:
        state = to_authors(checkpoint.state_dict)
        found = describe(to_native(checkpoint.state_dict))
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from None
    dense = found.feature_norms and not found.num_classes
    if dense:  # has a norm on every map, and none after the last
        state = {name: value for name, value in state.items() if not name.startswith("norm.")}
    prefix = "backbone." if dense else ""
    content = {"state_dict": {prefix + name: value.clone() for name, value in state.items()}}
    size = sum(value.nbytes for value in content["state_dict"].values())
    with atomic_path(target, size=size) as temporary:
        torch.save(content, temporary)
    left = ["class names and preprocessing"] if checkpoint.classes else []
    if checkpoint.task != DEFAULT_TASK:
        left.append(f"the heads for {checkpoint.task}")
    return found, f"; left out: {', '.join(left)}" if left else ""
