"""What the site has beside the pages of docs/: a hook of MkDocs, see mkdocs.yml.

- README.md, CONTRIBUTING.md and CHANGELOG.md as pages, README.md as the first;
- the notebooks of docs/notebooks as pages, with their pictures;
- a page of names for each part of the package, from its docstrings;
- a page for each file of the repository that a page links to;
- the page of ``spanetv2 explore``.

Links in the sources are those that work in the repository; they are turned here.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
PAGES |= {"CHANGELOG.md": "changelog.md"}
"""Files beside docs/ that are pages of their own."""

MODULES = {
    "The package": ["spanetv2"],
    "Networks": [
        "spanetv2.models",
        "spanetv2.models.weights",
        "spanetv2.mixers",
        "spanetv2.layers",
    ],
    "Theory": ["spanetv2.theory"],
    "Analysis": [
        "spanetv2.analysis.response",
        "spanetv2.analysis.mixers",
        "spanetv2.analysis.mixer_call",
        "spanetv2.analysis.filtered",
        "spanetv2.analysis.heat_map",
        "spanetv2.analysis.log_amplitude",
        "spanetv2.analysis.corruptions",
        "spanetv2.analysis.spam_bank",
        "spanetv2.analysis.activation_maps",
    ],
    "Deployment": [
        "spanetv2.deploy",
        "spanetv2.deploy.export",
        "spanetv2.deploy.verify",
        "spanetv2.deploy.write",
        "spanetv2.deploy.runtimes",
    ],
    "Tasks": ["spanetv2.tasks", "spanetv2.tasks.task", "spanetv2.training.task"],
    "Scenes": ["spanetv2.scenes"],
    "Benchmark": ["spanetv2.benchmark"],
}
"""Title of a page of names -> modules whose ``__all__`` it shows."""

SHOWN = {".py": "python", ".json": "json", ".sh": "sh", ".yaml": "yaml", ".md": "markdown"}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"(^ *```.*?^ *```[^\n]*$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""

    def add(uri: str, content: str | bytes) -> None:
        files.append(File.generated(config, uri, content=content))

    for source, uri in PAGES.items():
        add(uri, (ROOT / source).read_text(encoding="utf-8"))
    add("site.css", (ROOT / "docs/site/site.css").read_bytes())
    for title, modules in MODULES.items():
        add(_reference(title), "\n\n".join([f"# {title}", *(f"::: {name}" for name in modules)]))
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        for name, content in _from_notebook(path):
            add(f"notebooks/{name}", content)
    sources: set[str] = set()
    for file in list(files.documentation_pages()):
        sources.update(_outside(file.content_string, _origin(file.src_uri)))
    for source in sorted(sources):
        add(_uri(source), _show(ROOT / source))
    add("try_it.md", _TRY)
    add("lab.html", _lab())
    _complete(config, files)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn the links of the repository into links of the site."""
    here = page.file.src_uri
    origin = _origin(here)

    def turn(match: re.Match[str]) -> str:
        target = _target(match[2], origin)
        if target is None:
            return match[0]
        uri = posixpath.relpath(_uri(target), posixpath.dirname(here) or ".")
        return f"{match[1]}{uri}{match[3] or ''}{match[4]}"

    parts = _FENCE.split(markdown)
    return "".join(part if i % 2 else _LINK.sub(turn, part) for i, part in enumerate(parts))


def _origin(uri: str) -> str:
    """The file of the repository that a page of the site is made of."""
    for source, page in PAGES.items():
        if uri == page:
            return source
    return posixpath.join("docs", uri)


def _target(link: str, origin: str) -> str | None:
    """The file or folder of the repository that a link means; None where it means none."""
    if "://" in link or link.startswith("mailto:"):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    return target if (ROOT / target).exists() else None


def _uri(target: str) -> str:
    """Where the site has a file of the repository."""
    if target in PAGES:
        return PAGES[target]
    inside = target.removeprefix("docs/")
    if inside != target and not (ROOT / target).is_dir():
        return inside.replace(".ipynb", ".md")
    return f"source/{target.removesuffix('.md')}.md"


def _outside(markdown: str, origin: str) -> Iterator[str]:
    """Files of the repository that a page links to and the site does not have."""
    for part in _FENCE.split(markdown)[::2]:
        for match in _LINK.finditer(part):
            target = _target(match[2], origin)
            if target is not None and _uri(target).startswith("source/"):
                yield target


def _show(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        listed = "\n".join(f"- `{entry.name}`" for entry in sorted(path.iterdir()))
        return f"# {name}\n\n{listed}\n"
    text = path.read_text(encoding="utf-8")
    return f"# {name}\n\n````{SHOWN.get(path.suffix, 'text')}\n{text}\n````\n"


def _reference(title: str) -> str:
    return f"reference/{title.lower().replace(' ', '_')}.md"


def _from_notebook(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """The page of an executed notebook, and its pictures."""
    from nbconvert import MarkdownExporter

    resources: dict[str, Any] = {"output_files_dir": f"{path.stem}_files"}
    body, made = MarkdownExporter().from_filename(str(path), resources=resources)
    yield f"{path.stem}.md", body
    yield from made["outputs"].items()


@cache
def _lab() -> bytes:
    """The page of ``spanetv2 explore``, with ONNX Runtime in it where npm has installed it."""
    import tempfile

    from spanetv2.cli.explore import explore
    from spanetv2.errors import UserError
    from spanetv2.explore.runtime import find_runtime

    npm = Path(os.environ.get("VENV", ROOT / ".venv")) / "npm"
    try:
        find_runtime(npm)
    except UserError:
        npm = None
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "lab.html"
        explore("spanetv2_pico_pure.fashion_mnist", out=page, runtime=npm)
        return page.read_bytes()


_TRY = """\
# Try it in the browser

A small classifier of Fashion-MNIST runs on this page. Paint over the spectrum of
an image and watch the answer; [Painting in frequency space](explore.md) says what everything does,
and `spanetv2 explore` makes such a page of your own network.
[Open it alone](lab.html){target=_blank}.

<iframe class="lab" src="lab.html" loading="lazy" title="The explorer"></iframe>
"""


def _complete(config: MkDocsConfig, files: Files) -> None:
    """Put the pages of names, and pages that nobody has put anywhere, into the navigation."""
    nav: list[Any] = config.nav or []
    named = set(re.findall(r"[\w/]+\.md", str(nav)))
    nav.append({"Reference": [{title: _reference(title)} for title in MODULES]})
    pages = (file.src_uri for file in files.documentation_pages())
    outside = re.compile(r"(source|reference)/")
    more = sorted(uri for uri in pages if uri not in named and not outside.match(uri))
    if more:
        nav.append({"More": [*more]})
    config.nav = nav
