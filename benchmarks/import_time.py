"""What ``import spanetv2`` costs beside ``import timm``: fresh interpreters in turns, medians.

python benchmarks/import_time.py --rounds 15
"""

import argparse
import statistics
import subprocess
import sys

STATEMENTS = ("import timm", "import spanetv2")
TARGET = 0.3  # seconds more than timm, at most


def seconds(statement: str) -> float:
    """Time of one statement in a fresh interpreter, without the interpreter's own start."""
    code = (
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> int:
    """Print both medians and their difference; the exit status says whether it is small enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for statement in STATEMENTS:
        seconds(statement)  # compiles and caches what the timed rounds read
    for number in range(rounds):
        for statement in STATEMENTS if number % 2 else STATEMENTS[::-1]:
            times[statement].append(seconds(statement))
    timm, ours = (statistics.median(times[statement]) for statement in STATEMENTS)
    difference = statistics.median(
        own - other for own, other in zip(times[STATEMENTS[1]], times[STATEMENTS[0]], strict=True)
    )
    print(f"import timm {timm:.3f} s, import spanetv2 {ours:.3f} s (medians of {rounds} rounds)")
    print(
        f"difference {difference:+.3f} s (median over the rounds), target at most {TARGET:+.1f} s"
    )
    return int(difference > TARGET)


if __name__ == "__main__":
    sys.exit(main())
