"""The three sizes in which every question can be asked: minutes on a core, hours on one, a GPU."""

from dataclasses import dataclass, replace

from spanetv2.errors import UserError
from studies.evidence.recipe import Recipe
from studies.mixers.matching import Skeleton
from studies.mixers.plan import PLANS

__all__ = ["SCALES", "Scale", "find_scale"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What all questions share at one size.

    Args:
        name: as on the command line.
        title: one line.
        data: digits or fashion_mnist.
        skeleton: of the networks that see the data set's own images.
        rows: mixers whose accuracy is compared.
        seeds: of every run.
        recipe: but for the rate that a row is tuned to; its ``updates`` are the most that a budget
            is spent on.
        rates: learning rates to choose from.
        decays: weight decays to choose from.
        shapes: data sets whose shapes are drawn with textures.
        shape_side: side of those images, in pixels; the stem keeps them whole.
        textured: textured images to learn from.
        tests: images of every test of textures, and waves' and probes' images.
        points: of a curve.
    """

    name: str
    title: str
    data: str
    skeleton: Skeleton
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    recipe: Recipe
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    decays: tuple[float, ...] = (0.05,)
    shapes: tuple[str, ...]
    shape_side: int
    textured: int
    tests: int = 1000
    points: int = 12

    def whole(self, side: int) -> Skeleton:
        """The skeleton for grey images of a side, every pixel a token of the first stage."""
        return replace(self.skeleton, image=(1, side, side), stem_stride=1)


_CENTRAL = ("attention", "spam", "spam_no_srf", "sepconv", "spam_9")

SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            name="small",
            title="scikit-learn's digits, minutes a part on one CPU core",
            data="digits",
            skeleton=Skeleton(
                depths=(1, 1, 1, 1),
                dims=(16, 32, 48, 64),
                stem_stride=1,
                image=(1, 8, 8),
                num_classes=10,
            ),
            rows=_CENTRAL,
            seeds=(0, 1, 2),
            recipe=Recipe(updates=500, batch=64, shift=1),
            shapes=("digits",),
            shape_side=16,
            textured=4000,
            tests=500,
        ),
        Scale(
            name="cpu",
            title="Fashion-MNIST, 100 minutes a part on two CPU cores",
            data="fashion_mnist",
            skeleton=PLANS["cpu"].skeleton,
            rows=_CENTRAL,
            seeds=(0, 1, 2),
            recipe=Recipe(updates=2 * 468, flip=True),
            shapes=("digits", "fashion_mnist"),
            shape_side=16,
            textured=20_000,
        ),
        Scale(
            name="gpu",
            title="Fashion-MNIST, pico, thirty epochs, one GPU",
            data="fashion_mnist",
            skeleton=PLANS["gpu"].skeleton,
            rows=("attention", "spam", "spam_no_srf", "spam_3", "sepconv", "spam_9"),
            seeds=(0, 1, 2),
            recipe=Recipe(updates=30 * 468, flip=True, warmup=1 / 30),
            decays=(0.05, 0.2),
            shapes=("digits", "fashion_mnist"),
            shape_side=32,
            textured=50_000,
            tests=5000,
            points=30,
        ),
    )
}


def find_scale(name: str) -> Scale:
    """A scale by name.

    Raises:
        UserError: no such scale.
    """
    if name not in SCALES:
        raise UserError(f"got scale {name!r}, expected one of {', '.join(SCALES)}")
    return SCALES[name]
