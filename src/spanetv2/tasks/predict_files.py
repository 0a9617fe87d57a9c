"""The loop of every task over image files: records of single images, batch by batch."""

import collections
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.tasks.prediction import Predictor
from spanetv2.tasks.shard import Part

__all__ = ["Listing", "predict_files", "write_part"]

Records = list[dict[str, Any]]


class Listing:
    """The files found so far, in batches: what each is to be called, and which are looked at.

    Args:
        predictor: says what answers are called.
        part: the batches that are looked at; None is all.

    Attributes:
        batches: number of batches found.
        waiting: those that are being looked at: number, what answers are called, digest of files.
    """

    def __init__(self, predictor: Predictor, part: Part | None = None):
        self.batches = 0
        self.waiting: collections.deque[tuple[int, list[Any], str]] = collections.deque()
        self._place = predictor.places()
        self._part = part
        self._digest = hashlib.sha256()

    def __call__(self, number: int, entries: list[str | Failure]) -> bool:
        """Take in a batch; gives whether it is to be looked at."""
        self.batches = number + 1
        names = [entry.path if isinstance(entry, Failure) else entry for entry in entries]
        batch = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._digest.update(batch.encode())
        # of batches that others look at too: names are unique over all
        places = [self._place(name) for name in names]
        part = self._part
        if part is not None and part.has(number) and part.files(number) not in (None, batch):
            raise UserError(
                f"the images found are others than those of the run in {part.folder}: batch "
                f"{number + 1} now begins with {names[0]}; choose another folder with --out, or "
                "--overwrite to begin anew"
            )
        if part is not None and not part.takes(number):
            return False
        self.waiting.append((number, places, batch))
        return True

    @property
    def digest(self) -> str:
        """Of all files found, in their order."""
        return self._digest.hexdigest()


def predict_files(
    predictor: Predictor, paths: Iterable[str | os.PathLike[str]], listing: Listing
) -> Iterator[tuple[int, str, Records]]:
    """Look at image files and write the files about single ones.

    Args:
        predictor: a task's.
        paths: files, folders and patterns.
        listing: of this predictor; new.

    Yields:
        For each batch that is looked at its number, the digest of its files, and a record for each
        file: the task's, or ``path`` and ``error`` for one that could not be read.
    """
    found = iter(predictor.predict(paths, chosen=listing))
    for first in found:
        number, places, digest = listing.waiting.popleft()
        batch = [first, *itertools.islice(found, len(places) - 1)]
        records = []
        for prediction, place in zip(batch, places, strict=True):
            if isinstance(prediction, Failure):
                records.append({"path": prediction.path, "error": prediction.reason})
            else:
                records.append(predictor.answer(prediction, place))
        yield number, digest, records


def write_part(
    predictor: Predictor,
    paths: Iterable[str | os.PathLike[str]],
    part: Part,
    tell: Callable[[Records], None],
) -> None:
    """Look at the image files of a part that are still to be looked at, and write its rows.

    Args:
        predictor: a task's.
        paths: files, folders and patterns.
        part: takes the rows.
        tell: told the records of each batch.
    """
    listing = Listing(predictor, part)
    for number, digest, records in predict_files(predictor, paths, listing):
        part.write(number, {"files": digest, "rows": records})
        tell(records)
    part.end({"batches": listing.batches, "listing": listing.digest, **predictor.facts()})
