"""Long runs: ``python -m tests.fuzz --minutes 30``, or ``--inputs 5000``.

Inputs are drawn until the time or their number is used up. A fault of a new kind is shrunk to a
small input and kept in ``tests/fuzz/cases``, from where the tests run it again; the run goes on.
"""

import argparse
import json
import math
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.judge import SORTS
from tests.fuzz.kinds import KINDS, recipes
from tests.fuzz.run import CASES, FaultError, run_input, working

_ROUND = 200  # inputs that are drawn at a time
_LONGEST_SHRINK = 120  # seconds


class _Over(BaseException):
    """The time is used up."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="30, where --inputs does not say how long")
    parser.add_argument("--inputs", type=int, help="end after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=sorted(KINDS), choices=sorted(KINDS))
    parser.add_argument("--keep", type=Path, default=CASES, help="folder for failing inputs")
    options = parser.parse_args()
    if options.minutes is None:
        options.minutes = 30.0 if options.inputs is None else math.inf
    hypothesis.configuration.set_hypothesis_home_dir(Path(tempfile.mkdtemp(prefix="hypothesis-")))
    hunt = _Hunt(options)
    with working() as (worker, folder):
        hunt.run(worker, folder)
    hunt.tell()
    return bool(hunt.found)


class _Hunt:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.start = time.monotonic()
        self.counts = dict.fromkeys(options.kinds, 0)
        self.found: dict[str, int] = {}
        self.sorts: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.since = 0.0

    def over(self) -> bool:
        done = sum(self.counts.values())
        if self.options.inputs is not None and done >= self.options.inputs:
            return True
        return time.monotonic() - self.start > 60 * self.options.minutes

    def run(self, worker: Any, folder: Path) -> None:
        number = self.options.seed * 100_000
        while not self.over():
            number += 1
            try:
                self._round(worker, folder, number)
            except FaultError as fault:
                self._keep(fault)
            except _Over:
                break
            except hypothesis.errors.Flaky as error:
                print(f"not the same twice: {error}", flush=True)

    def _round(self, worker: Any, folder: Path, number: int) -> None:
        fresh: str | None = None

        @hypothesis.seed(number)
        @settings(
            max_examples=_ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(made=recipes())
        def look(made: dict[str, Any]) -> None:
            nonlocal fresh
            if made["kind"] not in self.options.kinds:
                return
            if fresh is None:
                if self.over():
                    raise _Over
                self.counts[made["kind"]] += 1
            elif time.monotonic() - self.since > _LONGEST_SHRINK and made != self.last:
                return
            try:
                run_input(worker, folder, made)
            except Exception as error:
                own = FaultError(
                    f"the fuzzer itself: {error!r}", f"fuzzer: {error!r}"[:100], "other"
                )
                fault = error if isinstance(error, FaultError) else own
                self.sorts[fault.sort] += fresh is None
                if fresh is None and fault.kind in self.found:
                    self.found[fault.kind] += 1
                elif fresh in (None, fault.kind):
                    if fresh is None:
                        self.since = time.monotonic()
                        print(f"found: {fault}", flush=True)
                    fresh, self.last = fault.kind, made
                    raise fault from error

        look()

    def _keep(self, fault: FaultError) -> None:
        self.found[fault.kind] = 1
        name = re.sub(r"[^a-z0-9]+", "_", fault.kind.lower()).strip("_")[:70]
        self.options.keep.mkdir(parents=True, exist_ok=True)
        case = {"fault": fault.kind, **self.last}
        (self.options.keep / f"{name}.json").write_text(json.dumps(case, indent=1) + "\n")
        print(f"FAULT {fault.kind}\n  {fault}", flush=True)

    def tell(self) -> None:
        minutes = (time.monotonic() - self.start) / 60
        counts = ", ".join(f"{kind} {count}" for kind, count in self.counts.items())
        print(f"{sum(self.counts.values())} inputs ({counts}) in {minutes:.1f} minutes")
        print(f"{len(self.found)} kinds of faults")
        # for docs/reliability.md
        total = sum(self.counts.values())
        cells = [f"`--seed {self.options.seed}`", f"{total:,}", f"{minutes:.0f}"]
        cells += [counts, *(f"{self.sorts[sort]:,}" for sort in SORTS)]
        print(f"| run | inputs | minutes | of each kind | {' | '.join(SORTS)} |")
        print(f"|---|--:|--:|---|{'--:|' * len(SORTS)}")
        print(f"| {' | '.join(cells)} |")
        for kind, times in sorted(self.found.items()):
            print(f"  {times} x {kind}")


if __name__ == "__main__":
    sys.exit(main())
