"""What a checkpoint argument stands for: the one place that turns it into files.

A path is a file, a run folder, or a folder in the layout of the Hugging Face Hub (``config.json``
beside ``model.safetensors``); a name may be weights in the package. ``local-dir:PATH`` says that a
folder is meant, ``hf-hub:OWNER/NAME[@REVISION][/FILE]`` a repository on the Hub, as in timm.
Nothing but that prefix makes a checkpoint argument reach the network.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from spanetv2.arguments import check_path
from spanetv2.errors import UserError
from spanetv2.models.weights.shipped import find_shipped

__all__ = [
    "HUB",
    "HUB_WEIGHTS",
    "LOCAL",
    "RUN_WEIGHTS",
    "HubName",
    "WeightsFile",
    "check_source",
    "find_weights",
    "is_hub",
    "is_prefixed",
    "local_path",
    "parse_hub_name",
]

HUB, LOCAL = "hf-hub:", "local-dir:"
RUN_WEIGHTS, HUB_WEIGHTS, CONFIG = "weights.safetensors", "model.safetensors", "config.json"
# In the order in which they are looked for; timm and transformers write the last one, too.
_IN_FOLDERS = (RUN_WEIGHTS, HUB_WEIGHTS, "pytorch_model.bin")
_IN_REPOSITORIES = (HUB_WEIGHTS, RUN_WEIGHTS, "pytorch_model.bin")
_HUB_NAME = re.compile(r"(?P<repo>[^/@\s]+/[^/@\s]+)(@(?P<revision>[^/\s]+))?(/(?P<file>\S+))?")


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights, and what stands beside it.

    Args:
        path: the file.
        config: config.json of its folder, where a folder or a repository was named; a file that is
            named itself says all about itself.
    """

    path: Path
    config: Path | None = None


@dataclass(frozen=True, kw_only=True)
class HubName:
    """A repository on the Hub.

    Args:
        repo: owner/name.
        revision: branch, tag or commit; None is the main branch.
        file: of weights in it; None is the usual one.
    """

    repo: str
    revision: str | None = None
    file: str | None = None


def check_source(source: object) -> None:
    """Refuse what is no path or name of weights.

    Raises:
        UserError: naming what it is.
    """
    check_path("a checkpoint", source, kind="a file, a run folder or the name of weights")


def is_hub(source: str | os.PathLike[str]) -> bool:
    """Whether an argument names a repository on the Hub.

    Example:
        >>> is_hub("hf-hub:me/flowers"), is_hub("me/flowers")
        (True, False)
    """
    return os.fspath(source).startswith(HUB)


def is_prefixed(source: str | os.PathLike[str]) -> bool:
    """Whether an argument says by a prefix that it is a checkpoint."""
    return os.fspath(source).startswith((HUB, LOCAL))


def local_path(source: str | os.PathLike[str]) -> Path | None:
    """The path that an argument gives; None for a repository on the Hub.

    Example:
        >>> local_path("local-dir:runs/flowers").name, local_path("hf-hub:me/flowers")
        ('flowers', None)
    """
    return None if is_hub(source) else Path(os.fspath(source).removeprefix(LOCAL))


def parse_hub_name(source: str | os.PathLike[str]) -> HubName:
    """Repository, revision and file of a name, with or without ``hf-hub:``.

    Raises:
        UserError: not owner/name.

    Example:
        >>> parse_hub_name("hf-hub:me/flowers@v1")
        HubName(repo='me/flowers', revision='v1', file=None)
    """
    text = os.fspath(source).removeprefix(HUB)
    if (found := _HUB_NAME.fullmatch(text)) is None:
        raise UserError(
            f"got {source}, expected {HUB}OWNER/NAME, after which @REVISION may follow, and /FILE"
        )
    return HubName(repo=found["repo"], revision=found["revision"], file=found["file"])


def find_weights(source: str | os.PathLike[str]) -> WeightsFile:
    """The file of weights that a checkpoint argument stands for, fetched if it is on the Hub.

    Args:
        source: file, run folder, folder in the Hub's layout, the same after ``local-dir:``, a name
            of weights in the package, or ``hf-hub:OWNER/NAME[@REVISION][/FILE]``.

    Raises:
        UserError: none there, it cannot be fetched, or no path at all.
    """
    check_source(source)
    if is_hub(source):
        return _fetch(parse_hub_name(source))
    path = local_path(source)
    assert path is not None
    told = os.fspath(source).startswith(LOCAL)
    if told and not path.is_dir():
        raise UserError(f"{source}: no such folder, expected one with {' or '.join(_IN_FOLDERS)}")
    if not path.exists() and (shipped := find_shipped(path)) is not None:
        return WeightsFile(path=shipped.path)
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected a checkpoint (.safetensors, .pth, .ckpt)")
    return WeightsFile(path=path)


def _in_folder(folder: Path) -> WeightsFile:
    found = next((folder / n for n in _IN_FOLDERS if (folder / n).is_file()), None)
    if found is None:
        raise UserError(
            f"{folder}: a folder without {RUN_WEIGHTS}, expected a finished run, or a folder with "
            f"{HUB_WEIGHTS} and {CONFIG}"
        )
    config = folder / CONFIG
    beside = config.is_file() and found.name != RUN_WEIGHTS
    return WeightsFile(path=found, config=config if beside else None)


def _fetch(name: HubName) -> WeightsFile:
    """Fetch a repository's weights and their description into the Hub's cache, or find them there.

    Raises:
        UserError: it cannot be reached, is not there, or holds no weights.
    """
    from huggingface_hub import errors

    files = (name.file,) if name.file else _IN_REPOSITORIES
    unreached: Exception | None = None
    for file in files:
        try:
            path = _download(name, file, cached=unreached is not None)
        except errors.LocalEntryNotFoundError as error:
            unreached = unreached or error  # another file may have been fetched before
            continue
        except errors.EntryNotFoundError:
            continue
        except Exception as error:  # of many libraries: requests, httpx, the Hub's own
            _refuse(name, error)
        if name.file:
            return WeightsFile(path=path)
        try:  # of the same commit, should the branch move on
            config = _download(HubName(repo=name.repo, revision=_commit(path)), CONFIG)
        except Exception:  # the file may say all about itself
            config = None
        return WeightsFile(path=path, config=config)
    if unreached is not None:
        _refuse(name, unreached)
    expected = " or ".join(files)
    raise UserError(f"{HUB}{name.repo}: a repository without {expected}, expected weights to load")


def _download(name: HubName, file: str, *, cached: bool = False) -> Path:
    """A file in the Hub's cache, fetched into it unless only what is there is asked for."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name.repo, file, revision=name.revision, local_files_only=cached))


def _commit(path: Path) -> str:
    """The commit that a file in the Hub's cache is of: .../snapshots/COMMIT/FILE."""
    return path.parts[path.parts.index("snapshots") + 1]


def _refuse(name: HubName, error: Exception) -> NoReturn:
    """Say in a line why a repository's weights cannot be had.

    Raises:
        UserError: always.
    """
    from huggingface_hub import errors

    where = f"{HUB}{name.repo}"
    if isinstance(error, errors.GatedRepoError):
        told = "its owner grants access by request; ask on its page, then log in (`hf auth login`)"
    elif isinstance(error, errors.RevisionNotFoundError):
        told = f"no revision {name.revision}; expected a branch, a tag or a commit of it"
    elif isinstance(error, errors.RepositoryNotFoundError):
        told = (
            "no such repository, or a private one; check the name, or log in with an account that "
            "may read it (`hf auth login`, or HF_TOKEN)"
        )
    elif isinstance(error, errors.HFValidationError):
        told = "no name that a repository can have; expected OWNER/NAME"
    elif isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        told = (
            "cannot be reached, and was not fetched before; connect to the network, or give a "
            f"file or folder of it ({LOCAL}PATH)"
        )
    else:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        told = (
            f"cannot be fetched ({reason.rstrip('.')}); try again, or give a file or folder of it"
        )
    raise UserError(f"{where}: {told}") from error
