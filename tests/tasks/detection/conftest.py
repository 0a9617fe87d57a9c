"""Small detectors and images that are made, not read."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
