"""Predicting on a Ray cluster: whole batches go through Ray Data, an actor for each device.

A row of the data set is a batch, as ``many`` counts them, rather than an image: the blocks of
``ray.data.read_binary_files`` end where files are large, and a batch would then be put together
otherwise than by one device, whose answers are to be the same to the last bit.
"""

import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spanetv2.errors import UserError
from spanetv2.extras import need_extra
from spanetv2.files import atomic_path
from spanetv2.many.folder import inside
from spanetv2.many.ray_device import Answers, Given, Job, RayDevice
from spanetv2.many.urls import Source, is_url
from spanetv2.tasks.predict_files import Listing, Records
from spanetv2.tasks.prediction import Predictor
from spanetv2.tasks.shard import Part
from spanetv2.text import one_line

__all__ = ["Pool", "connected", "write_part_on_ray"]

_IMAGES = 64
"""Images that an actor is given at a time, at least a batch."""


@dataclass(frozen=True)
class Pool:
    """The processes that compute.

    Args:
        kind: cpu or cuda.
        size: how many there are.
    """

    kind: str
    size: int


@contextlib.contextmanager
def connected(devices: Sequence[str]) -> Iterator[Pool]:
    """Around work on a Ray cluster: that of ``RAY_ADDRESS``, or of this machine.

    Args:
        devices: ``cpu``, ``cuda`` or ``auto`` once is all of the cluster; several are so many.

    Raises:
        UserError: Ray is not installed or does not answer, or the cluster has no such devices.
    """
    need_extra("ray", use="predictions on Ray clusters")
    _check(devices)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it would write among the answers
    import ray

    ours = not ray.is_initialized()
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        if ours:
            _begin()
        with _ended_by_sigterm():
            yield _pool(devices, ray.cluster_resources())
    finally:
        if ours:
            ray.shutdown()
        logger.setLevel(level)


def _begin() -> None:
    import ray

    _reach(os.environ.get("RAY_ADDRESS", ""))
    try:
        with _silence():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        said = one_line(error)
        raise UserError(f"no Ray cluster answers ({said}); check RAY_ADDRESS") from None


def _reach(address: str) -> None:
    """Refuse an address where nobody listens, which Ray would try for ten minutes.

    Args:
        address: ``host:port``, ``ray://host:port``, or a word that Ray knows.

    Raises:
        UserError: nobody listens.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); check RAY_ADDRESS"
        ) from None


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End in order at SIGTERM, which Ray's own code would answer with a trace of its stack."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep from standard error what is written there past Python; failures are exceptions."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check(devices: Sequence[str]) -> None:
    if len(set(devices)) > 1 or devices[0] not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"got device {','.join(devices)!r} with --engine ray, expected auto, cpu or cuda: once "
            "for all of the cluster, or as often as there are to be processes (cuda,cuda); Ray "
            "says which device is whose"
        )


def _pool(devices: Sequence[str], resources: Mapping[str, float]) -> Pool:
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    kind = devices[0]
    if kind == "auto":
        kind = "cuda" if gpus else "cpu"
    there = gpus if kind == "cuda" else cpus
    wanted = len(devices) if len(devices) > 1 else max(1, there)
    if wanted > there:
        raise UserError(
            f"got {wanted} processes on {kind} for a Ray cluster with {cpus} CPUs and {gpus} GPUs, "
            f"expected at most {there}"
        )
    return Pool(kind, wanted)


def write_part_on_ray(
    predictor: Predictor,
    sources: Sequence[Source],
    part: Part,
    tell: Callable[[Records], None],
    *,
    pool: Pool,
    given: Given,
) -> None:
    """Do what ``write_part`` does, on a Ray cluster.

    Args:
        predictor: a task's, in this process: it says what answers are called.
        sources: of the images; see ``find_sources``.
        part: takes the rows.
        tell: told the records of each batch.
        pool: the processes that compute.
        given: what they compute with.
    """
    listing, size = Listing(predictor, part), given[2].batch_size
    jobs = list(_jobs(listing, sources, size))
    for answers in _answered(jobs, pool, given, size):
        for name, content in answers.pictures.items():
            assert predictor.folder is not None
            with atomic_path(inside(predictor.folder, Path(name))) as target:
                target.write_bytes(content)
        part.write(answers.number, {"files": answers.digest, "rows": answers.records})
        tell(answers.records)
    part.end({"batches": listing.batches, "listing": listing.digest, **predictor.facts()})


def _jobs(listing: Listing, sources: Sequence[Source], size: int) -> Iterator[Job]:
    """The batches that are looked at."""
    for number, first in enumerate(range(0, len(sources), size)):
        batch = sources[first : first + size]
        entries = [entry for entry, _ in batch]
        if listing(number, entries):
            _, places, digest = listing.waiting.popleft()
            full = [s if is_url(s) else os.path.abspath(s) for _, s in batch]  # noqa: PTH100
            yield Job(number, entries, full, places, digest)


def _answered(jobs: Sequence[Job], pool: Pool, given: Given, size: int) -> Iterator[Answers]:
    """The answers for batches, in their order.

    Raises:
        UserError: an actor failed.
    """
    if not jobs:
        return
    import ray
    import ray.data
    from ray.exceptions import RayError

    together = max(1, min(_IMAGES // size, len(jobs) // (2 * pool.size)))
    blocks = -(-len(jobs) // together)
    try:
        with _in_order_and_quiet():
            rows = ray.data.from_items(
                [{"job": pickle.dumps(job)} for job in jobs], override_num_blocks=blocks
            )
            answers = rows.map_batches(
                RayDevice,
                fn_constructor_args=(ray.put(given), pool.kind),
                batch_size=together,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=min(pool.size, blocks)),
                num_cpus=int(pool.kind == "cpu"),
                num_gpus=int(pool.kind == "cuda"),
            )
            for job, row in zip(jobs, answers.iter_rows(), strict=True):
                answer = pickle.loads(row["answers"])  # noqa: S301 - our own process's
                if isinstance(answer, str):
                    raise UserError(answer)
                assert answer.number == job.number
                yield answer
    except RayError as error:
        said = one_line(error)[:300]
        raise UserError(
            f"the Ray cluster failed ({said}); what is written stays: --resume goes on"
        ) from None


@contextlib.contextmanager
def _in_order_and_quiet() -> Iterator[None]:
    """Ray Data's settings, put back afterwards: the caller may have data sets of its own."""
    from ray.data import DataContext

    context, logger = DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, context.execution_options.preserve_order, logger.level
    context.enable_progress_bars, context.execution_options.preserve_order = False, True
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars, context.execution_options.preserve_order, level = before
        logger.setLevel(level)
