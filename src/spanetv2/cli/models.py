"""``spanetv2 models``: the table of variants, and the weights in the package."""

from typing import Annotated

import typer

__all__ = ["models"]


def models(
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List the variants (parameters, multiply-adds, published accuracy) and the weights that ship.

    A name of weights stands for a checkpoint in every command that takes one, and for timm.
    """
    from spanetv2.models.published import PUBLISHED
    from spanetv2.models.variants import VARIANTS
    from spanetv2.models.weights.shipped import shipped_weights
    from spanetv2.table import Table

    shipped = shipped_weights().values()
    if json_output:
        import dataclasses
        import json

        rows = [
            dataclasses.asdict(variant)
            | {"weights": [found.name for found in shipped if found.variant == variant.name]}
            for variant in VARIANTS.values()
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    header = ["model", "depths", "channels", "params M", "GMACs", "top-1 %"]
    lines = [
        [
            variant.name,
            ", ".join(map(str, variant.depths)),
            ", ".join(map(str, variant.dims)),
            f"{variant.params:.2f}",
            f"{variant.gmacs:.2f}",
            "ours" if variant.top1 is None else f"{variant.top1:.1f}",
        ]
        for variant in VARIANTS.values()
    ]
    typer.echo(Table("", header, lines).text())
    typer.echo(
        "1000 classes, 224 x 224 pixels; multiply-adds leave out the FFT. Top-1 on ImageNet-1K\n"
        'as published (arXiv 2503.23947); "ours" marks small variants of this project.\n'
        "\nWeights in the package, for predict, evaluate, analyze model, export and --weights:"
    )
    width = max((len(found.name) for found in shipped), default=0) + 2
    for found in shipped:
        typer.echo(f"  {found.name:{width}}{found.task:16}{found.record['extra']['summary']}")
    fetched = [name for name, published in PUBLISHED.items() if published.is_there]
    typer.echo(
        "\nPublished weights that pretrained=True fetches: "
        + (", ".join(fetched) or "none yet; give the authors' file where weights are taken")
    )
