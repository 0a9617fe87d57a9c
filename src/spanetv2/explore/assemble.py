"""Writing the page: a template, the modules in ``web/``, and the data, in one file or a folder.

The modules stay as they are: the page keeps each in an element of its own, and a few lines at its
end turn them into modules of a browser, in the order in which they import each other. So a page
opened from a disk, where browsers load no module files, works like a served one.
"""

import base64
import functools
import gzip
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from spanetv2.analysis.filtered import DEFAULT_RADII
from spanetv2.analysis.theory_report.verdicts import STATEMENTS
from spanetv2.errors import UserError
from spanetv2.explore import runtime
from spanetv2.explore.network import BrowserNetwork
from spanetv2.explore.runtime import Runtime, integrity
from spanetv2.explore.subject import ExploreSubject, Sample
from spanetv2.files import UniqueNames, atomic_path, write_text

__all__ = [
    "LARGEST_FILE",
    "MOST_NETWORKS",
    "check_size",
    "is_single",
    "module_sources",
    "write_page",
]

LARGEST_FILE = 50_000_000
"""Bytes of a page in one file; larger networks belong into a folder."""
MOST_NETWORKS = 3
WEB = Path(__file__).parent / "web"
_IMPORT = re.compile(r'^(?:import|export)\b[^;]*?from "\./([\w-]+\.js)";', re.MULTILINE)


def check_size(subjects: Sequence[ExploreSubject], out: Path) -> None:
    """Refuse networks that are too large for the page asked for, before they are prepared.

    Raises:
        UserError: their weights alone make more than 50 MB in one file.
    """
    weights = 4 * sum(p.numel() for subject in subjects for p in subject.model.parameters())
    size = int(1.2 * weights)  # compressed, then written as text
    if is_single(out) and size > LARGEST_FILE:
        raise UserError(f"got networks for a page of about {_too_large(size, out)}")


def is_single(out: Path) -> bool:
    """Whether a page is to be one file."""
    return out.suffix.lower() in (".html", ".htm")


def _too_large(size: int, out: Path) -> str:
    return (
        f"{size / 1e6:.0f} MB, expected at most {LARGEST_FILE / 1e6:.0f} MB in one file; give a "
        f"folder instead: --out {out.with_suffix('')}/"
    )


def write_page(
    networks: Sequence[BrowserNetwork],
    samples: Sequence[Sample],
    out: Path,
    *,
    embedded: Runtime | None = None,
    address: str = runtime.ADDRESS,
) -> Path:
    """Write the page.

    Args:
        networks: one to three.
        samples: images to offer, at least one.
        out: a name that ends in .html: one file with all in it. Any other: a folder, with the
            page as index.html and the networks beside it.
        embedded: ONNX Runtime to put into the page; None fetches it from ``address``.
        address: where the page finds ONNX Runtime's files.

    Returns:
        The page.

    Raises:
        UserError: too many networks, or more than 50 MB in one file.
    """
    if not 1 <= len(networks) <= MOST_NETWORKS:
        raise UserError(f"got {len(networks)} networks, expected 1 to {MOST_NETWORKS}")
    single = is_single(out)
    files: dict[str, bytes] = {}
    names = UniqueNames()
    models = []
    for number, network in enumerate(networks):
        about = {**network.about, "bytes": len(network.onnx), "integrity": integrity(network.onnx)}
        if single:
            about["embedded"] = f"model-{number}"
            files[f"model-{number}"] = network.onnx
        else:
            about["file"] = names.name(f"{network.title}.onnx") + ".onnx"
            files[about["file"]] = network.onnx
        models.append(about)
    elements = {name: _squeezed(data) for name, data in files.items()} if single else {}
    if embedded is not None:
        elements |= {"ort": _squeezed(embedded.module), "wasm": _squeezed(embedded.wasm)}
    data = {
        "models": models,
        "samples": [_sample(sample) for sample in samples],
        "radii": list(DEFAULT_RADII),
        "verdicts": {
            key: {"statement": statement, "verdict": verdict}
            for key, (statement, verdict) in STATEMENTS.items()
        },
        "runtime": {
            "embedded": embedded is not None,
            "version": runtime.VERSION,
            "module": {"url": address + next(iter(runtime.FILES)), "integrity": _hashes()[0]},
            "wasm": {"url": address + list(runtime.FILES)[1], "integrity": _hashes()[1]},
        },
    }
    text = _render(data, elements, title=", ".join(network.title for network in networks))
    if single and len(text) > LARGEST_FILE:
        raise UserError(f"got a page of {_too_large(len(text), out)}")
    page = out if single else out / "index.html"
    for name, contents in files.items() if not single else ():
        with atomic_path(out / name) as partial:
            partial.write_bytes(contents)
    write_text(page, text)
    return page


@functools.cache
def module_sources() -> dict[str, str]:
    """The page's modules by name, each after those that it imports."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(WEB.glob("*.js"))}
    ordered: dict[str, str] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"modules import each other: {' -> '.join((*above, name))}"
        if name in ordered:
            return
        for needed in _IMPORT.findall(sources[name]):
            visit(needed, (*above, name))
        ordered[name] = sources[name]

    for name in sources:
        visit(name, ())
    assert not any("</script" in source for source in ordered.values())
    return ordered


def _render(data: Mapping[str, Any], elements: Mapping[str, str], *, title: str) -> str:
    environment = _environment()
    return environment.get_template("page.html.j2").render(
        title=title,
        style=(WEB / "lab.css").read_text(encoding="utf-8"),
        modules=module_sources(),
        elements=elements,
        models=data["models"],
        samples=data["samples"],
        data=json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    )


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _hashes() -> list[str]:
    return list(runtime.FILES.values())


def _squeezed(data: bytes) -> str:
    """Bytes as text, compressed: WebAssembly shrinks to a quarter, weights by a tenth."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")


def _sample(sample: Sample) -> dict[str, Any]:
    buffer = io.BytesIO()
    image: Image.Image = sample.image
    image.save(buffer, format="PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"name": sample.name, "label": sample.label, "source": source}
