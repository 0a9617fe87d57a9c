"""All variants of the network, as one table."""

from dataclasses import dataclass

__all__ = ["PREFIX", "VARIANTS", "Variant"]

PREFIX = "spanetv2_"

_PURE = ("spam", "spam", "spam", "spam")
_HYBRID = ("spam", "spam", "mixed_attention", "attention")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table: the architecture, and what is known about it at 224 x 224 pixels."""

    name: str
    """timm name, such as spanetv2_s18_pure"""
    depths: tuple[int, ...]
    """blocks per stage"""
    dims: tuple[int, ...]
    """channels per stage"""
    mixers: tuple[str, ...]
    """token mixer per stage"""
    params: float
    """parameters in millions, 1000 classes, interleaved, plain sigmoid"""
    gmacs: float
    """multiply-adds in billions, FFT not counted"""
    top1: float | None
    """published ImageNet-1K top-1 accuracy in percent (head order interleaved, plain sigmoid)"""
    published: bool = True
    """False for this project's own small variants"""

    @property
    def init_std(self) -> float | None:
        """Standard deviation of the initial weights; None for 1 / sqrt(inputs) of each layer."""
        return 0.02 if self.published else None


def _pair(
    size: str,
    depths: tuple[int, ...],
    dims: tuple[int, ...],
    params: tuple[float, float],
    gmacs: tuple[float, float],
    top1: tuple[float | None, float | None],
    *,
    published: bool = True,
) -> list[Variant]:
    return [
        Variant(
            name=f"{PREFIX}{size}_{form}",
            depths=depths,
            dims=dims,
            mixers=mixers,
            params=params[i],
            gmacs=gmacs[i],
            top1=top1[i],
            published=published,
        )
        for i, (form, mixers) in enumerate((("pure", _PURE), ("hybrid", _HYBRID)))
    ]


# Source: SPANetV2's table of variants. Parameters and multiply-adds are those of the authors'
# implementation: it does not have the 61 M (M36 pure) and 100 M (both B36) that their table prints.
_TABLE = [
    _pair("s18", (3, 3, 9, 3), (64, 128, 320, 512), (29.163, 26.992), (4.192, 4.192), (83.4, 83.9)),
    _pair(
        "s36", (3, 12, 18, 3), (64, 128, 320, 512), (44.099, 40.669), (8.145, 8.179), (84.4, 84.7)
    ),
    _pair(
        "m36", (3, 12, 18, 3), (96, 192, 384, 576), (62.935, 58.335), (13.725, 13.676), (84.9, 85.3)
    ),
    _pair(
        "b36",
        (3, 12, 18, 3),
        (128, 256, 512, 768),
        (109.558, 101.803),
        (24.251, 23.934),
        (85.0, 85.6),
    ),
    # Ours: for small images, CPUs and quick studies.
    _pair(
        "pico",
        (2, 2, 4, 1),
        (24, 48, 96, 128),
        (1.717, 1.608),
        (0.247, 0.268),
        (None, None),
        published=False,
    ),
    _pair(
        "nano",
        (2, 2, 6, 1),
        (32, 64, 160, 256),
        (5.111, 4.759),
        (0.691, 0.732),
        (None, None),
        published=False,
    ),
]

VARIANTS: dict[str, Variant] = {variant.name: variant for pair in _TABLE for variant in pair}
