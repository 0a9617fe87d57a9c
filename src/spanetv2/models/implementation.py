"""Which implementation of the mixers a network runs: a setting, never a conversion."""

from torch import nn

from spanetv2.errors import UserError
from spanetv2.mixers.spectral import IMPLEMENTATIONS, SpectralRescale

__all__ = ["set_implementation"]


def set_implementation(model: nn.Module, implementation: str) -> nn.Module:
    """Choose how every SPAM of a network is computed; weights and results stay the same.

    - "auto" (the default): matrix products in place of the FFT on grids where they are faster, and
      the projection in the form that a compiler fuses while ``torch.compile`` runs;
    - "reference": the definitions, with FFTs in float32;
    - "products": as "auto", with matrix products on grids of any size (no FFT is left, as exports
      and half precision want it);
    - "fused": as "auto", with convolutions and spectral filter as one Triton operator on GPUs, for
      grids of at most 64 tokens a side.

    Args:
        model: a SPANetV2, or anything that contains one.
        implementation: one of the above.

    Returns:
        The same model.

    Raises:
        UserError: an unknown name, or a model without SPAM.

    Example:
        >>> from spanetv2 import create_model
        >>> model = set_implementation(create_model("pico_pure", num_classes=2), "reference")
    """
    if implementation not in IMPLEMENTATIONS:
        expected = ", ".join(map(repr, IMPLEMENTATIONS))
        raise UserError(f"got implementation={implementation!r}, expected one of {expected}")
    filters = [module for module in model.modules() if isinstance(module, SpectralRescale)]
    if not filters:
        raise UserError(f"got a {type(model).__name__} without SPAM, expected a SPANetV2")
    for module in filters:
        module.implementation = implementation
    return model
