"""What the kernels for GPUs are meant to reach on one H100 or H200, in bfloat16.

They are judged by name, as ``@fused``: by itself the package takes them where a committed result
says that they are faster.
"""

from dataclasses import replace

from studies.performance.goal import MEMORY, Goal, Measure, Where, compare

__all__ = ["GPU_GOALS"]

_ON_GPU = {"device": "cuda", "dtype": "bfloat16", "batch": 128}
_PURE = Where(model="spanetv2_s18_pure@fused", **_ON_GPU)
_HYBRID = Where(model="spanetv2_s18_hybrid@fused", **_ON_GPU)
_NETWORKS = (
    ("S18 pure", _PURE, "convformer_s18"),
    ("S18 hybrid", _HYBRID, "caformer_s18"),
)
_TRAINED = replace(_PURE, work="training")
_START = "GPU, bfloat16, batch 128"

OVER_PASS = {
    "inference": Measure(lambda judged, other: judged["median_s"] / other["memory_floor_s"]),
    # A training step's floor is five maps, those that are moved at least; a pass is two.
    "training": Measure(lambda judged, other: 2.5 * judged["median_s"] / other["memory_floor_s"]),
}
"""Time of an operator in passes over the memory: its map read once, and written once."""
ERROR = Measure(lambda judged, other: judged["error"], show=".1e")


def _parity(text: str, dtype: str, bound: float) -> Goal:
    worst = Where(kind="parity", model="worst", dtype=dtype, mode="", batch=None, size=None)
    return compare(text, replace(worst, device="cuda", work=""), bound, ERROR)


GPU_GOALS = [
    *(
        goal
        for mode, words in (("compiled", "compiled"), ("graphs", "CUDA graphs"))
        for name, start, peer in _NETWORKS
        for goal in (
            compare(
                f"{_START}, {words}, inference: {name} / {peer}",
                *(replace(start, mode=mode), 1.0),
                model=peer,
            ),
            compare(
                f"{_START}, {words}, inference: {name} / reference path",
                *(replace(start, mode=mode), 2.5),
                model=start.model.replace("@fused", "@reference"),
            ),
        )
    ),
    compare(
        f"{_START}, compiled, training: S18 pure / convformer_s18",
        *(_TRAINED, 1.0),
        model="convformer_s18",
    ),
    compare(
        f"{_START}, compiled, training: S18 pure / reference path",
        *(_TRAINED, 3.0),
        model="spanetv2_s18_pure@reference",
    ),
    compare(
        f"{_START}, compiled, training: memory of S18 pure / of convformer_s18",
        *(_TRAINED, 1.05, MEMORY),
        model="convformer_s18",
    ),
    *(
        compare(
            f"{_START}, eager, {start.work}: S18 pure / convformer_s18",
            *(replace(start, mode="eager"), 1.0),
            model="convformer_s18",
        )
        for start in (_PURE, _TRAINED)
    ),
    *(
        compare(
            f"GPU, bfloat16, compiled, {start.work}, {side} x {side}: S18 pure / convformer_s18",
            *(replace(start, batch=None, size=side), 0.8),
            model="convformer_s18",
        )
        for side in (384, 512)
        for start in (_PURE, _TRAINED)
    ),
    *(
        compare(
            f"GPU, bfloat16, {mode}, {start.work}, maps of 800 x 1280: S18 pure / convformer_s18",
            *(replace(start, kind="features", mode=mode, batch=None, size=None), 0.8),
            model="convformer_s18",
        )
        for mode in ("eager", "compiled")
        for start in (_PURE, _TRAINED)
    ),
    *(
        compare(
            f"{_START}, {work}: time of {words} / of a pass over memory, {side} x {side}",
            Where(kind="operators", model=model, mode="eager", work=work, side=side, **_ON_GPU),
            *(bound, OVER_PASS[work]),
        )
        for work, bound in (("inference", 5.0), ("training", 8.0))
        for words, model in (("local mixing", "local@fused"), ("the projection", "project@fused"))
        for side in (56, 28, 14)
    ),
    _parity("GPU, float32: error of the worst golden value", "float32", 1e-4),
    _parity("GPU, bfloat16: error of the worst logits", "bfloat16", 0.02),
]
