"""Whether a state dict fits a network: the one comparison behind every loader's refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Size, Tensor, nn

__all__ = ["StateDifference", "classifier_prefixes", "compare_states", "first_names"]

_FIRST = 5


def first_names(names: Sequence[str]) -> str:
    """A few names for a message.

    Example:
        >>> first_names(list("abcdefg"))
        'a, b, c, d, e and 2 more'
    """
    more = f" and {len(names) - _FIRST} more" if len(names) > _FIRST else ""
    return ", ".join(names[:_FIRST]) + more


@dataclass(frozen=True, kw_only=True)
class StateDifference:
    """Where a state dict differs from the one that a network has; false where it does not."""

    missing: list[str]
    """names that the network has and the weights lack"""
    unexpected: list[str]
    """names that the network does not have"""
    other_shapes: dict[str, tuple[Size, Size]]
    """name -> shape in the weights, shape in the network"""

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def names(self) -> list[str]:
        """All names that differ."""
        return [*self.missing, *self.unexpected, *self.other_shapes]

    def first(self) -> str:
        """The first names that differ, for a message."""
        return first_names(self.names)

    def explain(self) -> str:
        """The first names of each kind, for a message.

        Example:
            >>> expected = {"a": Tensor([1.0]), "b": Tensor([1.0])}
            >>> compare_states({"b": Tensor([1.0, 2.0])}, expected).explain()
            'missing: a; other shapes: b is (2,), expected (1,)'
        """
        shapes = [
            f"{name} is {tuple(shape)}, expected {tuple(expected)}"
            for name, (shape, expected) in self.other_shapes.items()
        ]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "other shapes": shapes}
        return "; ".join(f"{kind}: {first_names(names)}" for kind, names in kinds.items() if names)


def compare_states(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> StateDifference:
    """Compare weights with what a network expects, by names and shapes.

    Args:
        weights: a state dict, such as a checkpoint's.
        expected: the state dict of the network, or the part of it that the weights must have.
    """
    return StateDifference(
        missing=[name for name in expected if name not in weights],
        unexpected=[name for name in weights if name not in expected],
        other_shapes={
            name: (value.shape, expected[name].shape)
            for name, value in weights.items()
            if name in expected and value.shape != expected[name].shape
        },
    )


def classifier_prefixes(model: nn.Module) -> tuple[str, ...]:
    """How the names of a timm model's classifier begin, which depends on the number of classes.

    Example:
        >>> import timm
        >>> classifier_prefixes(timm.create_model("test_resnet"))
        ('fc.',)
    """
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
