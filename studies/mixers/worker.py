"""One run in a process of its own: ``python -m studies.mixers.worker FOLDER``.

The folder holds ``job.json``, what to do; it gets the training run and ``result.json``.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError
from spanetv2.files import write_json

__all__ = ["JOB", "RESULT", "main", "train"]

JOB, RESULT = "job.json", "result.json"


def train(task: str, config: dict[str, Any], folder: Path) -> None:
    """Train as a configuration says; go on where an interrupted run stopped.

    Args:
        task: name of the task.
        config: groups and values, as in a recipe.
        folder: the run folder; the recipe is written there, for the reader.

    Raises:
        UserError: wrong input.
        Interrupted: a signal stopped it, after saving.
    """
    import spanetv2

    write_json(folder / "recipe.yaml", config)  # JSON is YAML
    spanetv2.train(task, config, resume=True)


def _plain(value: Any) -> Any:
    """JSON has no number for what is not one (a cut-off that is never reached)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(folder: Path) -> None:
    """Train what is not trained yet, measure it, and write the result."""
    from studies.mixers.measure import measure_classifier, measure_segmenter

    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    if not (folder / "metrics.json").is_file():
        train(job["task"], job["config"], folder)
    if job["task"] == "segmentation":
        found = measure_segmenter(folder)
    else:
        found = measure_classifier(folder, **job["measure"])
    write_json(folder / RESULT, _plain({**job["facts"], **found}))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except BaseException as error:
        if (status := getattr(error, "status", None)) is None:
            raise
        print(error, file=sys.stderr)
        sys.exit(status)
