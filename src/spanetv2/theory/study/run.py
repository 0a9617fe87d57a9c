"""Run all parts of the study, one after another."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from spanetv2.theory.study import mixers, points
from spanetv2.theory.study.curves import Curve, Settings

__all__ = ["PARTS", "Study", "run_study"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """All results, in the order in which they are shown."""

    settings: Settings
    windows: list[Curve]  # window graphs
    signed: list[Curve]  # kernels by family
    positive: list[Curve]
    nonnegative: list[Curve]
    softmaxed: list[Curve]
    attention_sharp: list[Curve]  # logits of standard deviation 1
    attention_default: list[Curve]  # 1/3, as PyTorch starts
    residuals: list[Curve]
    spam: list[Curve]
    tokens: list[Curve]  # attention on 1/f tokens
    connectivity: list[points.Connectivity]
    scaling: list[points.Scaling]
    selectivity: list[points.Selectivity]
    shape: list[points.Shape]
    padding: list[points.Padding]

    @property
    def curves(self) -> list[Curve]:
        """Every curve."""
        return [
            *self.windows,
            *self.signed,
            *self.positive,
            *self.nonnegative,
            *self.softmaxed,
            *self.attention_sharp,
            *self.attention_default,
            *self.residuals,
            *self.spam,
            *self.tokens,
        ]


# field of Study -> (what it is called while it runs, how it is made)
PARTS: dict[str, tuple[str, Callable[[Settings], Iterable[Any]]]] = {
    "windows": ("window graphs", mixers.window_curves),
    "signed": ("signed kernels", lambda s: mixers.kernel_curves(s, "signed")),
    "positive": ("positive-mean kernels", lambda s: mixers.kernel_curves(s, "positive mean")),
    "nonnegative": ("non-negative kernels", lambda s: mixers.kernel_curves(s, "non-negative")),
    "softmaxed": ("softmaxed kernels", lambda s: mixers.kernel_curves(s, "softmaxed")),
    "attention_sharp": ("sharp attention", lambda s: mixers.attention_curves(s, mixers.SHARP)),
    "attention_default": ("soft attention", lambda s: mixers.attention_curves(s, mixers.DEFAULT)),
    "residuals": ("residual forms", mixers.residual_curves),
    "spam": ("SPAM heads", mixers.spam_curves),
    "tokens": ("correlated tokens", mixers.token_curves),
    "connectivity": ("connectivity", points.connectivity),
    "scaling": ("numbers of tokens", points.scalings),
    "selectivity": ("selectivity", points.selectivities),
    "shape": ("shape and texture", points.shapes),
    "padding": ("zero padding", lambda s: points.paddings()),
}


def run_study(
    settings: Settings | None = None, *, progress: Callable[[str], None] | None = None
) -> Study:
    """Run the study. The same settings give the same numbers.

    Args:
        settings: grid, draws and seed; 16, 30 and 0 by default.
        progress: called with the name of each part before it runs.

    Returns:
        All curves and numbers.
    """
    settings = settings or Settings()
    results = {}
    for name, (title, make) in PARTS.items():
        if progress is not None:
            progress(title)
        results[name] = list(make(settings))
    return Study(settings=settings, **results)
