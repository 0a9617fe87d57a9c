"""Which form of a network is the faster one on this processor, and the entry of the table of it.

    python benchmarks/forms.py [--only "compiled training"] [--dtype bfloat16] [--again]

times S18 pure in both forms, in turns (batch 8, 224 x 224): eagerly and compiled, in inference and
in training, in float32 and in bfloat16, each into a result file of its own in
``benchmarks/results/forms``. What has its file is not measured again, so that a run that was
stopped goes on; one part is at most ten minutes on two cores, nearly all of it compiling. Then the
processor's entry in ``ops/linear/forms.json`` is written of its files.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from spanetv2.benchmark import Settings, run_networks
from spanetv2.benchmark.timing import speed_ratio
from spanetv2.environment import processor_kind
from spanetv2.files import write_json
from spanetv2.ops.linear import FORMS, PRECISIONS, WORKS
from spanetv2.ops.linear.choice import TABLE

NETWORK = "spanetv2_s18_pure"
RESULTS = Path(__file__).with_name("results") / "forms"
LEAST_GAIN = 1.03
"""Speed of maps over tokens from which on they are taken."""


def result_path(work: str, dtype: str) -> Path:
    """Where a measurement of this kind of processor is kept."""
    return RESULTS / f"{processor_kind()} {work} {dtype}.json".replace(" ", "_")


def measure(work: str, dtype: str) -> dict[str, Any]:
    """Time both forms of one thing that the table has an entry for."""
    mode, kind = work.split()
    settings = Settings(
        models=tuple(f"{NETWORK}@{form}" for form in FORMS if form != "auto"),
        modes=(mode,),
        passes=(kind,),
        dtypes=(dtype,),
        rounds=9,
    )
    command = f'python benchmarks/forms.py --only "{work}" --dtype {dtype}'
    return run_networks(settings, command=command, progress=True)


def entry(record: dict[str, Any]) -> dict[str, Any]:
    """What the table says of a measurement."""
    seconds = {row["model"].partition("@")[2]: row["seconds"] for row in record["cells"]}
    gain = speed_ratio(seconds["maps"], seconds["tokens"])
    return {
        "form": "maps" if gain >= LEAST_GAIN else "tokens",
        "maps / tokens": round(gain, 2),
        "source": f"commit {record['commit']}, torch {record['packages']['torch']}, "
        f"{record['started'][:10]}",
    }


def main() -> None:
    """Measure what is missing, and write the entry."""
    parser = argparse.ArgumentParser(description="Find the faster form on this processor.")
    parser.add_argument("--only", nargs="+", choices=WORKS, default=WORKS, metavar="WORK")
    parser.add_argument("--dtype", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--again", action="store_true", help="measure what has its file, too")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for work, dtype in itertools.product(arguments.only, arguments.dtype):
        path = result_path(work, dtype)
        if arguments.again or not path.exists():
            print(f"{work}, {dtype}", flush=True)
            write_json(path, measure(work, dtype))
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    row = table.setdefault(processor_kind(), {})
    for work, dtype in itertools.product(WORKS, PRECISIONS):
        path = result_path(work, dtype)
        if path.exists():
            row.setdefault(work, {})[dtype] = entry(json.loads(path.read_text(encoding="utf-8")))
    write_json(TABLE, dict(sorted(table.items())))
    print(f"{processor_kind()}: {json.dumps(row, indent=2)}\nwrote {TABLE}")


if __name__ == "__main__":
    main()
