"""What ``evaluate`` and ``predict`` ask in common: where to compute, which part, which folder."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2.arguments import check_count, check_path
from spanetv2.errors import ConfigError, UserError
from spanetv2.failures import describe_failure

if TYPE_CHECKING:
    import torch

    from spanetv2.many.ranks import Ranks
    from spanetv2.many.ray_cluster import Pool
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.precision import Precision
    from spanetv2.tasks import Task
    from spanetv2.tasks.shard import Shard

__all__ = [
    "batch_of",
    "check_places",
    "computing",
    "part_of",
    "paths_of",
    "pool_of",
    "rows_folder",
    "told_plainly",
]


def batch_of(given: int | None, usual: int) -> int:
    """Images per forward pass.

    Args:
        given: what the caller says; None is nothing.
        usual: the task's number.

    Raises:
        UserError: no whole number, or less than one.
    """
    if given is not None:
        check_count("batch_size", given, least=1)
    return usual if given is None else given


def paths_of(name: str, given: Any) -> list[str]:
    """One path or several, as texts.

    Raises:
        UserError: none, or something that is no path.
    """
    if isinstance(given, str | PathLike) or not isinstance(given, Iterable):
        given = [given]
    several = list(given)
    if not several:
        raise UserError(f"got no {name}, expected one or several")
    for path in several:
        check_path(name, path, kind="a path or several")
    return [fspath(path) for path in several]


def check_places(**places: Any) -> None:
    """Refuse what is no path among files and folders; None is none.

    Raises:
        UserError: naming the first.
    """
    for name, value in places.items():
        if value is not None:
            check_path(name, value)


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Around work with files: what cannot be read or written is told as the commands do.

    Raises:
        UserError: in the place of an error of the system about a file.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or (told := describe_failure(error)) is None:
            raise
        raise UserError(told) from error


@contextlib.contextmanager
def pool_of(engine: str, devices: Sequence[str], ranks: "Ranks | None") -> "Iterator[Pool | None]":
    """The processes of a Ray cluster, where that is to compute.

    Raises:
        UserError: another engine, or no Ray, or no such devices.
    """
    if engine not in ("local", "ray"):
        raise ConfigError(f"got engine {engine!r}, expected local or ray")
    if engine == "local":
        yield None
        return
    if ranks is not None:
        raise ConfigError("got engine ray under torchrun, expected one of them")
    from spanetv2.many.ray_cluster import connected

    with connected(devices) as pool:
        yield pool


def computing(
    record: "Checkpoint",
    task: "Task",
    device: "str | torch.device",
    dtype: str,
    *,
    here: bool = True,
) -> "tuple[torch.device, Precision]":
    """The device and the precision in which weights are to be used; not ``here``, the precision
    there and the CPU, on which this process prepares."""
    import torch

    from spanetv2.device import choose_device
    from spanetv2.precision import choose_precision

    chosen = choose_device(str(device)) if here else torch.device(device)
    parameters = sum(weight.numel() for weight in record.state_dict.values())
    precision = choose_precision(dtype, chosen, parameters=parameters, supported=task.dtypes)
    return chosen if here else torch.device("cpu"), precision


def part_of(
    out: str | PathLike[str] | None,
    shard: str | None,
    ranks: "Ranks | None",
    *,
    resume: bool,
    overwrite: bool,
) -> "Shard | None":
    """The part that is asked for; None for all.

    Raises:
        UserError: there is no folder for it, or an impossible combination.
    """
    from spanetv2.tasks.shard import Shard

    if resume and overwrite:
        raise ConfigError("got resume and overwrite, expected one of them")
    if ranks is not None and shard is not None:
        raise ConfigError(
            f"got shard {shard} under torchrun, whose {ranks.world} processes take a part each; "
            "expected one of them"
        )
    words = {"--shard": shard is not None, "--resume": resume, "--overwrite": overwrite}
    if out is None and (given := [word for word, there in words.items() if there]):
        raise ConfigError(
            f"got {' and '.join(given)} without --out, expected the folder where rows are kept"
        )
    return None if shard is None else Shard.parse(shard)


@contextlib.contextmanager
def rows_folder(out: str | PathLike[str] | None, ranks: "Ranks | None") -> Iterator[Path]:
    """The folder of the rows; one that goes away where none is given."""
    if ranks is not None:
        with ranks.together(out) as folder:
            yield folder
        return
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="spanetv2-") as folder:
        yield Path(folder)
