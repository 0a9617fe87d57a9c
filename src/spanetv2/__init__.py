"""SPANetV2: spectral-adaptive modulation networks for visual perception.

Importing the package registers its models with timm:
``timm.create_model("spanetv2_s18_pure")`` works from then on.
"""

from spanetv2.api import evaluate, merge, predict, train
from spanetv2.deploy import optimize_for_inference
from spanetv2.errors import ConfigError, Interrupted, UserError
from spanetv2.hub.networks import from_pretrained, push_to_hub, save_pretrained
from spanetv2.models import (
    VARIANTS,
    SPANetV2,
    create_model,
    load_model,
    set_form,
    set_implementation,
)
from spanetv2.models.weights import load_weights, save_weights

__version__ = "0.2.0"

__all__ = [
    "VARIANTS",
    "ConfigError",
    "Interrupted",
    "SPANetV2",
    "UserError",
    "__version__",
    "create_model",
    "evaluate",
    "from_pretrained",
    "load_model",
    "load_weights",
    "merge",
    "optimize_for_inference",
    "predict",
    "push_to_hub",
    "save_pretrained",
    "save_weights",
    "set_form",
    "set_implementation",
    "train",
]
