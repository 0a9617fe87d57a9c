"""ONNX Runtime for browsers: which version, where a page fetches it from, and how it is checked."""

import base64
import dataclasses
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from spanetv2.errors import UserError

__all__ = ["ADDRESS", "FILES", "VERSION", "Runtime", "find_runtime", "integrity"]

VERSION = "1.30.0"
ADDRESS = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
"""Where a page fetches the files by default: a content network that serves npm's packages."""

FILES = {
    "ort.wasm.bundle.min.mjs": (
        "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG"
    ),
    "ort-wasm-simd-threaded.wasm": (
        "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM"
    ),
}
"""The module and the WebAssembly of the version above -> what their bytes must hash to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """The two files, read and checked."""

    module: bytes
    wasm: bytes


def integrity(data: bytes) -> str:
    """The hash of some bytes as browsers check it (subresource integrity, SHA-384)."""
    return "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode("ascii")


def find_runtime(folder: str | os.PathLike[str] | None = None) -> Runtime:
    """Read onnxruntime-web from an npm installation.

    Args:
        folder: where ``npm install onnxruntime-web`` was run, its ``node_modules``, or the package
            in it. By default the working folder and those above it, and npm's global packages.

    Raises:
        UserError: it is not there, or is another version.
    """
    for place in _places(folder):
        if all((place / name).is_file() for name in FILES):
            contents = [(place / name).read_bytes() for name in FILES]
            for (name, expected), data in zip(FILES.items(), contents, strict=True):
                if integrity(data) != expected:
                    raise UserError(
                        f"got {place / name} of another version, expected onnxruntime-web "
                        f"{VERSION}; run: npm install onnxruntime-web@{VERSION}"
                    )
            return Runtime(module=contents[0], wasm=contents[1])
    raise UserError(
        f"got no onnxruntime-web in {folder or 'this folder, those above it or npm -g'}, expected "
        f"it for --offline; run: npm install onnxruntime-web@{VERSION}"
    )


def _places(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    inside = Path("onnxruntime-web") / "dist"
    if folder is not None:
        named = Path(folder)
        yield from (named / "node_modules" / inside, named / inside, named / "dist", named)
        return
    here = Path.cwd()
    for parent in (here, *here.parents):
        yield parent / "node_modules" / inside
    if npm := shutil.which("npm"):
        asked = subprocess.run(  # noqa: S603 - npm as it was found, with fixed arguments
            [npm, "root", "--global"], capture_output=True, text=True, check=False, timeout=60
        )
        if asked.returncode == 0:
            yield Path(asked.stdout.strip()) / inside
