"""Which implementation of the mixers a network runs: a setting, never a conversion."""

from torch import nn

from spanetv2.errors import UserError
from spanetv2.layers import StarReLU
from spanetv2.mixers.spectral import IMPLEMENTATIONS, SpectralRescale
from spanetv2.ops.linear import FORMS

__all__ = ["has_form", "set_form", "set_implementation"]


def set_implementation(model: nn.Module, implementation: str) -> nn.Module:
    """Choose how every SPAM of a network is computed; weights and results stay the same.

    - "auto" (the default): matrix products in place of the FFT on grids where they are faster, and
      the projection in the form that a compiler fuses while ``torch.compile`` runs;
    - "reference": the definitions, with FFTs in float32;
    - "products": as "auto", with matrix products on grids of any size (no FFT is left, as exports
      and half precision want it);
    - "fused": as "auto", with Triton kernels on GPUs: convolutions and spectral filter as one
      operator on grids of at most 64 tokens a side and as two beyond, the projection as one;
      StarReLU as one where nothing is compiled.

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
    for module in model.modules():
        if isinstance(module, SpectralRescale | StarReLU):
            module.implementation = implementation
    return model


def set_form(model: nn.Module, form: str) -> nn.Module:
    """Choose how maps go through a network's blocks; weights and results stay the same.

    - "tokens": as lists of tokens (B, N, C), linear layers as matrix products;
    - "maps": as maps (B, C, H, W) that lie channels last in memory, linear layers as 1 x 1
      convolutions;
    - "auto" (the default): on a CPU in float32 whichever is the faster one there, as a table of
      processors in the package says; "tokens" on processors that were not measured, on GPUs, and
      in graphs that are traced or exported.

    Args:
        model: a SPANetV2, or anything that contains one.
        form: one of the above.

    Returns:
        The same model.

    Raises:
        UserError: an unknown name, or a model without a block of this package.

    Example:
        >>> from spanetv2 import create_model
        >>> model = set_form(create_model("pico_pure", num_classes=2), "maps")
    """
    if form not in FORMS:
        expected = ", ".join(map(repr, FORMS))
        raise UserError(f"got form={form!r}, expected one of {expected}")
    parts = _parts_with_form(model)
    if not parts:
        raise UserError(f"got a {type(model).__name__} without blocks, expected a SPANetV2")
    for module in parts:
        module.form = form  # pyright: ignore[reportArgumentType]
    return model


def has_form(model: nn.Module) -> bool:
    """Whether ``set_form`` takes a model."""
    return bool(_parts_with_form(model))


def _parts_with_form(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if getattr(module, "form", None) in FORMS]
