"""The smallest scale in which every part has something to do."""

from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.mixers.matching import Skeleton

SKELETON = Skeleton(
    depths=(1, 1, 1, 1), dims=(16, 32, 48, 64), stem_stride=1, image=(1, 8, 8), num_classes=10
)
TINY = Scale(
    name="tiny",
    title="the smallest",
    data="digits",
    skeleton=SKELETON,
    rows=("spam", "attention"),
    seeds=(0, 1),
    recipe=Recipe(updates=4, batch=8),
    rates=(1e-3, 1e-2),
    shapes=("digits",),
    shape_side=8,
    textured=60,
    tests=20,
    points=2,
)
