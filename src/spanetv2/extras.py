"""Packages that a base install does without, and the extra that brings each."""

from importlib.util import find_spec

from spanetv2.errors import UserError

__all__ = ["EXTRAS", "install", "need_extra", "need_packages"]

EXTRAS: dict[str, str] = {
    "lightning": "train",
    "docstring_parser": "train",
    "typeshed_client": "train",
    "tensorboard": "train",
    "pytorch_grad_cam": "analysis",
    "datasets": "datasets",
    "webdataset": "datasets",
    "onnxruntime": "export",
    "openvino": "openvino",
    "pillow_heif": "heic",
    "ray": "ray",
    "pyarrow": "ray",
}
"""Module -> the extra of pyproject.toml that installs it."""


def install(*packages: str) -> str:
    """The command that installs packages of extras.

    Args:
        packages: names of their modules.

    Example:
        >>> install("lightning")
        "pip install 'spanetv2[train]'"
        >>> install("onnxruntime", "openvino")
        "pip install 'spanetv2[export,openvino]'"
    """
    extras = dict.fromkeys(EXTRAS[package] for package in packages)
    return f"pip install 'spanetv2[{','.join(extras)}]'"


def need_packages(*packages: str, use: str) -> None:
    """Refuse where a package of an extra is missing.

    Args:
        packages: names of their modules.
        use: what they are needed for, as the subject of a sentence in the plural.

    Raises:
        UserError: naming what to install.
    """
    missing = [name for name in dict.fromkeys(packages) if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{use} need {' and '.join(missing)}, not installed here; {install(*missing)}"
        )


def need_extra(extra: str, *, use: str) -> None:
    """Refuse where a package of one extra is missing, as ``need_packages`` does."""
    need_packages(*(package for package, brought in EXTRAS.items() if brought == extra), use=use)
