"""Reading, recognising, converting, loading and saving weights."""

from typing import Any

from spanetv2.models.weights.convert import to_native
from spanetv2.models.weights.describe import Description, describe
from spanetv2.models.weights.load import LoadReport, load_weights
from spanetv2.models.weights.read import Checkpoint, read_checkpoint
from spanetv2.models.weights.save import save_state_dict, save_weights

__all__ = [
    "Checkpoint",
    "Description",
    "LoadReport",
    "describe",
    "load_model",
    "load_weights",
    "read_checkpoint",
    "save_state_dict",
    "save_weights",
    "to_native",
]


def load_model(*args: Any, **kwargs: Any) -> Any:
    """See ``spanetv2.load_model``."""
    from spanetv2.models.factory import load_model as build

    return build(*args, **kwargs)
