"""Putting a folder on the Hub as one commit."""

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from huggingface_hub import CommitOperationAdd, HfApi, errors, get_token, hf_hub_download

from spanetv2.data.walk import is_file
from spanetv2.errors import UserError
from spanetv2.hub.layout import CARD, is_theirs
from spanetv2.models.weights.source import HUB, parse_hub_name

__all__ = ["Pushed", "check_push", "push_folder", "repository_of"]


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What was put on the Hub.

    Args:
        address: of the commit.
        files: names of the files that were sent.
        kept: names of files that are there and were left as their owner wrote them.
    """

    address: str
    files: list[str]
    kept: list[str] = field(default_factory=list)


def repository_of(name: str) -> str:
    """The repository to write to.

    Raises:
        UserError: no OWNER/NAME, or a revision or a file behind it.

    Example:
        >>> repository_of("hf-hub:me/flowers")
        'me/flowers'
    """
    parsed = parse_hub_name(name)
    if parsed.revision is not None or parsed.file is not None:
        raise UserError(f"got {name}, expected OWNER/NAME alone; a branch is told as revision")
    return parsed.repo


def check_push(name: str, *, token: str | None = None) -> None:
    """Refuse what cannot succeed before anything is made: no token, or a wrong one.

    Args:
        name: owner/name of the repository.
        token: for the Hub; None takes the one that is kept on this machine.

    Raises:
        UserError: there is none, it is not accepted, or the Hub cannot be reached.
    """
    if (token or get_token()) is None:
        raise UserError(
            f"{HUB}{name}: no token for the Hub; log in with `hf auth login`, or set HF_TOKEN to a "
            "token that may write"
        )
    try:
        HfApi(token=token).whoami()
    except Exception as error:  # of several libraries
        _refuse(name, None, error)


def push_folder(
    folder: str | os.PathLike[str],
    name: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Weights, written by spanetv2",
) -> Pushed:
    """Put the files of a folder on the Hub, in one commit.

    A card there that somebody wrote is kept: only one that bears this package's mark is replaced.

    Args:
        folder: of the files.
        name: owner/name of the repository, made if it is not there.
        private: whether a new repository is; None leaves it to the Hub.
        token: for the Hub; None takes the one that is kept on this machine.
        revision: an existing branch; None is the main one.
        message: of the commit.

    Raises:
        UserError: no token, no right to write there, no such branch, or the Hub cannot be reached.
    """
    check_push(name, token=token)
    api = HfApi(token=token)
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if is_file(path))
    names = {path.relative_to(folder).as_posix(): path for path in files}
    try:
        api.create_repo(name, private=private, exist_ok=True)
        kept = [CARD] if CARD in names and _has_theirs(name, revision, token) else []
        sent = [
            CommitOperationAdd(path_in_repo=inside, path_or_fileobj=path)
            for inside, path in names.items()
            if inside not in kept
        ]
        with warnings.catch_warnings(action="ignore"):  # remarks on the card's metadata
            done = api.create_commit(name, sent, commit_message=message, revision=revision)
    except Exception as error:  # of several libraries
        _refuse(name, revision, error)
    return Pushed(address=done.commit_url, files=[n for n in names if n not in kept], kept=kept)


def _has_theirs(name: str, revision: str | None, token: str | None) -> bool:
    """Whether a repository has a card that this package did not write."""
    try:
        return is_theirs(Path(hf_hub_download(name, CARD, revision=revision, token=token)))
    except errors.EntryNotFoundError:
        return False


def _refuse(name: str, revision: str | None, error: Exception) -> NoReturn:
    """Say in a line why a folder could not be put on the Hub.

    Raises:
        UserError: always.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HFValidationError):
        told = "no name that a repository can have; expected OWNER/NAME"
    elif isinstance(error, errors.RevisionNotFoundError):
        told = f"no branch {revision} there; make it first, or leave the revision out"
    elif isinstance(error, errors.LocalTokenNotFoundError) or status == 401:
        told = "the Hub does not accept the token; log in again with `hf auth login`"
    elif status == 403 or isinstance(error, errors.RepositoryNotFoundError):
        told = "the token gives no right to write there; choose another owner, or a token that does"
    else:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        told = f"nothing was put on the Hub ({reason}); try again, or write a folder with --folder"
    raise UserError(f"{HUB}{name}: {told}") from error
