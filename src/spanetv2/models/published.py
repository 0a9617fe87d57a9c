"""Where the weights of the published variants are to be had: one table, filled in as they appear.

A line here is all that ``pretrained=True`` needs. The files are the authors' to publish.
"""

from dataclasses import dataclass

from spanetv2.errors import UserError
from spanetv2.models.variants import VARIANTS

__all__ = ["PUBLISHED", "NoWeightsError", "PublishedWeights", "need_published"]


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Where a variant's ImageNet-1K weights are, with interleaved heads and the plain sigmoid."""

    url: str = ""
    """address of the authors' file (.pth) or of a safetensors file; "" where there is none"""
    hf_hub_id: str = ""
    """owner/name of a repository on the Hugging Face Hub; "" where there is none"""
    hf_hub_filename: str = ""
    """file in it, where that is not model.safetensors or pytorch_model.bin"""

    @property
    def is_there(self) -> bool:
        """Whether they can be fetched."""
        return bool(self.url or self.hf_hub_id)


PUBLISHED: dict[str, PublishedWeights] = {
    "spanetv2_s18_pure": PublishedWeights(),
    "spanetv2_s18_hybrid": PublishedWeights(),
    "spanetv2_s36_pure": PublishedWeights(),
    "spanetv2_s36_hybrid": PublishedWeights(),
    "spanetv2_m36_pure": PublishedWeights(),
    "spanetv2_m36_hybrid": PublishedWeights(),
    "spanetv2_b36_pure": PublishedWeights(),
    "spanetv2_b36_hybrid": PublishedWeights(),
}


class NoWeightsError(UserError, RuntimeError):
    """There are no weights to fetch for a variant; timm raises a ``RuntimeError`` here, too."""


def need_published(variant: str) -> PublishedWeights:
    """Where a variant's weights are.

    Args:
        variant: its name.

    Raises:
        NoWeightsError: nowhere; the message says what to do.

    Example:
        >>> need_published("spanetv2_nano_pure")
        Traceback (most recent call last):
        spanetv2.models.published.NoWeightsError: No pretrained weights exist for \
spanetv2_nano_pure: a variant of this package that was not trained on ImageNet; train it \
(`spanetv2 train classification`), or give weights of yours: create_model("nano_pure", FILE), \
--weights FILE
    """
    known = PUBLISHED.get(variant, PublishedWeights())
    if known.is_there:
        return known
    short = variant.partition("_")[2]
    how = f'create_model("{short}", FILE), --weights FILE'
    if VARIANTS[variant].published:
        why = (
            "its authors have not published theirs at an address that is known here; get their "
            f"file from them and give it: {how}"
        )
    else:
        why = (
            "a variant of this package that was not trained on ImageNet; train it (`spanetv2 train "
            f"classification`), or give weights of yours: {how}"
        )
    raise NoWeightsError(f"No pretrained weights exist for {variant}: {why}")
