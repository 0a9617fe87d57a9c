"""Makes the modules that write data importable for the tests beside them; a detector for them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of leaves and stones that has learned nothing."""
    from small_detectors import light_detector

    from spanetv2.tasks.detection.weights import save_detector

    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    detector = light_detector(2, score_threshold=0.0, detections=5)
    save_detector(detector, path, classes=["leaf", "stone"], category_ids=[1, 2])
    return path
