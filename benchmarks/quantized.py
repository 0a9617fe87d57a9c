"""What int8 costs in accuracy: the classifier in the package, exported with and without.

    python -m benchmarks.quantized

The network is calibrated on training images of Fashion-MNIST by `spanetv2 export`, and both files
are measured on its 10,000 test images in ONNX Runtime and OpenVINO (Debian's package
dataset-fashion-mnist, or --data). Writes benchmarks/results/int8/cpu.json.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from torch import Tensor, nn

from spanetv2.data.preprocessing import eval_transform
from spanetv2.deploy.runtimes import open_runtime
from spanetv2.environment import describe_environment
from spanetv2.files import write_json
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.table import Table
from spanetv2.tasks.classification.data.loader import eval_loader
from spanetv2.tasks.classification.data.sources import DatasetSpec, ImageSource, open_dataset
from spanetv2.tasks.classification.evaluate import evaluate
from spanetv2.tasks.classification.weights import load_classifier

CLASSIFIER = "spanetv2_pico_pure.fashion_mnist"


class Exported(nn.Module):
    """An exported file as a module."""

    def __init__(self, runtime: str, path: Path) -> None:
        super().__init__()
        self.call = open_runtime(runtime, path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.call(x_BCHW)


def export(path: Path, *options: str) -> None:
    """What ``spanetv2 export`` does."""
    command = [sys.executable, "-m", "spanetv2", "export", CLASSIFIER, "--out", str(path)]
    subprocess.run([*command, *options], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a quantised classifier.")
    parser.add_argument("--data", help="folder of Fashion-MNIST's files")
    parser.add_argument("--images", type=int, default=256, help="to calibrate with")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/int8/cpu.json"))
    arguments = parser.parse_args()
    checkpoint = read_checkpoint(CLASSIFIER)
    _, _, preprocessing = load_classifier(checkpoint)

    def part(split: str) -> ImageSource:
        source = open_dataset(DatasetSpec(name="fashion_mnist", root=arguments.data, split=split))
        assert isinstance(source, ImageSource)
        return source

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        train = part("train")
        for index in range(arguments.images):
            train[index][0].save(images / f"{index:04}.png")
        files = {"float32": Path(folder) / "full.onnx", "int8": Path(folder) / "whole.onnx"}
        export(files["float32"])
        export(files["int8"], "--quantize", "int8", "--calibrate", str(images))
        test = part("val")
        test.transform = eval_transform(preprocessing)
        loader = eval_loader(test, batch_size=64)
        for dtype, path in files.items():
            for runtime in ("onnxruntime", "openvino"):
                module = Exported(runtime, path)
                found = evaluate(module, loader, classes=checkpoint.classes or [], progress=True)
                rows.append(
                    {"dtype": dtype, "runtime": runtime, "top1": found.top1, "loss": found.loss}
                    | {"images": found.images, "bytes": path.stat().st_size}
                )
    record = {
        **describe_environment(),
        "classifier": CLASSIFIER,
        "calibration_images": arguments.images,
        "command": "python -m benchmarks.quantized",
        "rows": rows,
    }
    write_json(arguments.out, record)
    body = [[r["dtype"], r["runtime"], f"{100 * r['top1']:.2f}", str(r["bytes"])] for r in rows]
    print(Table("", ["dtype", "runtime", "top-1 (%)", "bytes"], body).text())


if __name__ == "__main__":
    main()
