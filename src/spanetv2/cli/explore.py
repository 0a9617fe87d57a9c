"""``spanetv2 explore``: a page on which to paint in frequency space and watch networks answer."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from spanetv2.cli.naming import MODEL_HELP, find_checkpoint, short_titles
from spanetv2.errors import UserError

__all__ = ["explore"]


def explore(
    model: Annotated[
        str,
        typer.Argument(help=MODEL_HELP),
    ],
    compare: Annotated[
        list[str] | None, typer.Option(help="Another model beside it; up to two.")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder of images to offer: one sub-folder per class, or none. By default those "
            "of the run, or shipped ones."
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="The page: a name ending in .html for one file, any other for a folder with the "
            "networks beside it (for large ones)."
        ),
    ] = Path("lab.html"),
    pretrained: Annotated[
        bool, typer.Option(help="Fetch timm's or torchvision's weights for names.")
    ] = True,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Put ONNX Runtime into the page, so that it needs no network; from what "
            "`npm install onnxruntime-web` made.",
        ),
    ] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(help="Folder of that npm installation, where --offline does not find it."),
    ] = None,
    runtime_url: Annotated[
        str | None,
        typer.Option(help="Where else the page fetches ONNX Runtime from: a folder's address."),
    ] = None,
) -> None:
    """Make a page that runs classifiers in the browser: paint over frequencies, watch the answer.

    The page is static, works from a disk and on any host, and sends nothing anywhere. Without
    --offline it fetches ONNX Runtime once from a content network, checked by its hash.
    """
    from spanetv2.explore.assemble import MOST_NETWORKS, check_size, is_single, write_page
    from spanetv2.explore.network import prepare_network
    from spanetv2.explore.runtime import ADDRESS, find_runtime
    from spanetv2.explore.shipped import choose_samples
    from spanetv2.kept import promise
    from spanetv2.models.weights.record import DEFAULT_TASK
    from spanetv2.page import promise_page
    from spanetv2.tasks import find_task

    # What can be wrong is looked at before anything that takes long.
    names = [model, *(compare or [])]
    if len(names) > MOST_NETWORKS:
        raise UserError(f"got {len(names)} models, expected at most {MOST_NETWORKS} side by side")
    if len(set(names)) != len(names):
        raise UserError(f"got models {', '.join(names)}, expected none twice")
    if is_single(out):
        promise(out)
    else:
        promise_page(out)
    embedded = find_runtime(runtime) if offline or runtime is not None else None
    usual = find_task(DEFAULT_TASK)
    shown = None
    if images is not None:
        shown = usual.analysis_images(images, dataset="folder", split="val", limit=12)
    subjects = []
    for title, name in zip(short_titles(names), names, strict=True):
        checkpoint = find_checkpoint(name)
        task = usual if checkpoint is None else find_task(checkpoint.task)
        subjects.append(
            task.explore_subject(checkpoint or name, title, shown, pretrained=pretrained)
        )
    check_size(subjects, out)
    own = [sample for subject in subjects for sample in subject.samples]
    samples = choose_samples(list({sample.name: sample for sample in own}.values()))
    networks = []
    for subject in subjects:
        print(f"{subject.title}: measuring its blocks and exporting it ...", file=sys.stderr)
        networks.append(prepare_network(subject, list(subject.samples) or samples))
    page = write_page(
        networks, samples, out, embedded=embedded, address=_folder(runtime_url or ADDRESS)
    )
    for network in networks:
        for gap in network.gaps:
            print(f"{network.title}: {gap.part}: not looked into: {gap.reason}", file=sys.stderr)
    needs = "needs no network" if embedded else "fetches ONNX Runtime (14 MB) once it is opened"
    size = f"{page.stat().st_size / 1e6:.1f} MB"
    if page != out:
        size += f" and {sum(len(network.onnx) for network in networks) / 1e6:.1f} MB beside it"
    print(f"{page}: {size}, {needs}")
    if shown is not None and shown.failed:
        print(f"{shown.failed} images could not be read", file=sys.stderr)
        raise typer.Exit(1)


def _folder(address: str) -> str:
    return address if address.endswith("/") else address + "/"
