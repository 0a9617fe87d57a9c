"""A bar of images, and what is said of each, where the bar is not in the way."""

import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from spanetv2.data.images import Failure
    from spanetv2.tasks.prediction import Answer, PredictionWriter

__all__ = ["Progress"]


class Progress:
    """Prints what is said of each image, under a bar.

    Args:
        unit: what is counted.
    """

    def __init__(self, unit: str):
        self._unit = unit
        self._bar: Any = None
        self._told = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, count: int) -> None:
        """So many are done, of which ``report`` is told later, if at all."""
        self._told = True
        self._advance(count)

    def report(
        self, answer: "Answer | Failure", writer: "PredictionWriter", lines: list[str]
    ) -> None:
        """Print what is said of an image."""
        from spanetv2.data.images import Failure
        from spanetv2.text import printable

        if not self._told:
            self._advance(1, hidden=writer.prints)
        if isinstance(answer, Failure):
            message = f"error: {printable(answer.path)}: {printable(answer.reason)}"
            self._write(message, sys.stderr)
        for line in lines:
            self._write(line, sys.stdout)

    def problem(
        self, answer: "Answer | Failure", writer: "PredictionWriter", lines: list[str]
    ) -> None:
        """As ``report``, of images that could not be read alone."""
        self.report(answer, writer, [])

    def _write(self, line: str, stream: TextIO) -> None:
        bar = self._bar
        if bar is None or bar.disable or bar.last_print_t < bar.start_t + bar.delay:
            print(line, file=stream)  # tqdm would draw a bar that is not there yet
        else:
            bar.write(line, file=stream)

    def _advance(self, count: int, *, hidden: bool = False) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(unit=f" {self._unit}", disable=hidden, delay=1)
        self._bar.update(count)
