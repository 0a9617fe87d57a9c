"""Whether bfloat16 pays on this processor, into the table that ``--dtype auto`` goes by.

    python -m benchmarks.precision

Networks of three sizes infer in float32 and in bfloat16, eagerly as `predict` and `evaluate` run
them, in turns; the classifier in the package is measured on Fashion-MNIST's 10,000 test images in
both (Debian's package dataset-fashion-mnist, or --data). The row of this kind of processor in
src/spanetv2/precision.json is written anew, the others stay.
"""

import argparse

import spanetv2
from spanetv2.benchmark import Settings, run_networks
from spanetv2.benchmark.timing import speed_ratio
from spanetv2.files import write_json
from spanetv2.precision import MEASURED, PRECISIONS, kind_of_row, measured_processors
from spanetv2.table import Table

MODELS = ("spanetv2_pico_pure", "spanetv2_nano_pure", "spanetv2_s18_pure")
BATCHES = (1, 8)
CLASSIFIER = "spanetv2_pico_pure.fashion_mnist"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure bfloat16 on this processor.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data", help="folder of Fashion-MNIST's files")
    arguments = parser.parse_args()
    settings = Settings(
        models=MODELS,
        passes=("inference",),
        dtypes=tuple(PRECISIONS),
        batches=BATCHES,
        rounds=arguments.rounds,
    )
    record = run_networks(settings, progress=True)
    cells = {(row["model"], row["batch"], row["dtype"]): row for row in record["cells"]}
    networks = []
    for model in MODELS:
        for batch in BATCHES:
            full, low = (cells[model, batch, name] for name in PRECISIONS)
            networks.append(
                {
                    "model": model,
                    "parameters": full["parameters"],
                    "batch": batch,
                    "float32_s": full["median_s"],
                    "bfloat16_s": low["median_s"],
                    "gain": speed_ratio(low["seconds"], full["seconds"]),
                }
            )
    top1 = {
        name: spanetv2.evaluate(
            CLASSIFIER,
            arguments.data,
            dataset="fashion_mnist",
            device="cpu",
            dtype=name,
            progress=True,
        ).figures["top1"]
        for name in PRECISIONS
    }
    rows = measured_processors()
    rows[kind_of_row()] = {
        "networks": networks,
        "classifier": CLASSIFIER,
        "top1": top1,
        "points_lost": 100 * (top1["float32"] - top1["bfloat16"]),
        "torch": record["packages"]["torch"],
        **{name: record[name] for name in ("started", "commit", "hardware")},
    }
    write_json(MEASURED, rows)
    body = [[cell["model"], str(cell["batch"]), f"{cell['gain']:.2f}"] for cell in networks]
    print(Table(kind_of_row(), ["model", "batch", "speed / float32"], body).text())
    print(f"top-1 {top1}")


if __name__ == "__main__":
    main()
