"""The commands as functions: ``spanetv2.train``, ``evaluate``, ``predict`` and ``merge``.

Importing this package costs nothing: what a function needs is imported when it is called.
"""

from spanetv2.api.running import evaluate, merge, predict
from spanetv2.api.training import resolve_training, train

__all__ = ["evaluate", "merge", "predict", "resolve_training", "train"]
