"""Which form of a network is the faster one on this processor, and the entry of the table of it.

    python benchmarks/forms.py [RESULT.json]

times S18 pure in both forms, eagerly and compiled, in inference and in training (batch 8,
224 x 224, float32), in turns, and writes what was faster into ``ops/linear/forms.json``
under the processor's kind. With a result of an earlier run (of ``spanetv2 benchmark
s18_pure@tokens s18_pure@maps``) it writes that. About ten minutes on two cores.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from spanetv2.benchmark import Settings, run_networks
from spanetv2.benchmark.timing import speed_ratio
from spanetv2.files import write_json
from spanetv2.ops.linear import FORMS, WORKS
from spanetv2.ops.linear.choice import TABLE

NETWORK = "spanetv2_s18_pure"
LEAST_GAIN = 1.03
"""Speed of maps over tokens from which on they are taken."""


def measure() -> dict[str, Any]:
    """Time both forms of everything that the table has an entry for."""
    settings = Settings(
        models=tuple(f"{NETWORK}@{form}" for form in FORMS if form != "auto"),
        modes=("eager", "compiled"),
        rounds=7,
        warmup=1,
    )
    return run_networks(settings, command="python benchmarks/forms.py", progress=True)


def entry(record: dict[str, Any]) -> dict[str, Any]:
    """The table's entry of a processor."""
    seconds = {
        (row["model"].partition("@")[2], f"{row['mode']} {row['work']}"): row["seconds"]
        for row in record["cells"]
    }
    made: dict[str, Any] = {
        "source": f"python benchmarks/forms.py at commit {record['commit']}, "
        f"torch {record['packages']['torch']}, {record['started'][:10]}"
    }
    for work in WORKS:
        gain = speed_ratio(seconds["maps", work], seconds["tokens", work])
        form = "maps" if gain >= LEAST_GAIN else "tokens"
        made[work] = {"form": form, "maps / tokens": round(gain, 2)}
    return made


def main() -> None:
    """Measure, or read, and write the entry."""
    parser = argparse.ArgumentParser(description="Find the faster form on this processor.")
    parser.add_argument("result", nargs="?", type=Path, help="of an earlier run, in place of one")
    given: Path | None = parser.parse_args().result
    if given is not None and not given.is_file():
        parser.error(f"got {given}, expected a result file of spanetv2 benchmark")
    record = measure() if given is None else json.loads(given.read_text(encoding="utf-8"))
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    kind = record["hardware"]["kind"]
    table[kind] = entry(record)
    write_json(TABLE, dict(sorted(table.items())))
    print(f"{kind}: {json.dumps(table[kind], indent=2)}\nwrote {TABLE}")


if __name__ == "__main__":
    main()
