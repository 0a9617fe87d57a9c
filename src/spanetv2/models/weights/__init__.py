"""Reading, recognising, converting, loading and saving weights."""

from spanetv2.models.weights.convert import to_native
from spanetv2.models.weights.describe import Description, describe
from spanetv2.models.weights.images import image_preprocessing
from spanetv2.models.weights.load import LoadReport, load_weights
from spanetv2.models.weights.read import Checkpoint, CheckpointSource, read_checkpoint
from spanetv2.models.weights.save import save_state_dict, save_weights
from spanetv2.models.weights.shipped import ShippedWeights, shipped_weights
from spanetv2.models.weights.to_authors import to_authors

__all__ = [
    "Checkpoint",
    "CheckpointSource",
    "Description",
    "LoadReport",
    "ShippedWeights",
    "describe",
    "image_preprocessing",
    "load_weights",
    "read_checkpoint",
    "save_state_dict",
    "save_weights",
    "shipped_weights",
    "to_authors",
    "to_native",
]
