"""``spanetv2 convert``: any supported checkpoint to safetensors with this package's names."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["convert"]


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="The authors' checkpoint, or one of this package.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to write.")],
    gate: Annotated[
        str | None,
        typer.Option(help='"sigmoid" ignores the slopes of a file trained without using them.'),
    ] = None,
) -> None:
    """Convert a checkpoint to safetensors that predict, evaluate and create_model read."""
    from spanetv2.errors import UserError
    from spanetv2.mixers.spectral import GATES
    from spanetv2.models import load_model
    from spanetv2.models.weights import describe, read_checkpoint, save_weights

    if target.suffix != ".safetensors":
        raise UserError(f"got output {target}, expected a name that ends in .safetensors")
    if gate is not None and gate not in GATES:
        raise UserError(f"got --gate {gate}, expected one of {', '.join(GATES)}")
    checkpoint = read_checkpoint(source)
    if checkpoint.source == "other":
        raise UserError(f"{checkpoint.path}: not a SPANetV2 checkpoint; nothing to convert")
    model, _ = load_model(checkpoint, gate=gate)
    save_weights(
        model,
        target,
        classes=checkpoint.classes,
        preprocessing=checkpoint.preprocessing,
        extra=checkpoint.extra or None,
    )
    found = describe(model.state_dict())
    typer.echo(
        f"{source} -> {target}: {found.variant}, {found.head_order}, {found.gate}, "
        f"{found.num_classes} classes, {found.in_chans} channels, "
        f"made for {found.img_size[0]} x {found.img_size[1]} pixels"
    )
