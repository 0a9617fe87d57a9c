"""Whether a state dict fits a network: the one comparison behind every loader's refusal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Size, Tensor, device, isfinite, nn

from spanetv2.errors import UserError
from spanetv2.text import one_line

__all__ = [
    "StateDifference",
    "build_described",
    "classifier_prefixes",
    "compare_states",
    "first_names",
]

N = TypeVar("N", bound=nn.Module)

_FIRST = 5
_LARGER, _FREE = 8, 10_000_000
"""A network may have so many times the numbers of its weights, and so many more: a head, filters
for larger images."""


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
    other_types: list[str]
    """names of weights that are whole or complex numbers where the network has others"""
    not_finite: list[str]
    """names of weights that fit but hold NaN or infinite values"""

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def names(self) -> list[str]:
        """All names that differ."""
        return [
            *self.missing,
            *self.unexpected,
            *self.other_shapes,
            *self.other_types,
            *self.not_finite,
        ]

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
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "other shapes": shapes,
            "other kinds of numbers": self.other_types,
            "NaN or infinite": self.not_finite,
        }
        return "; ".join(f"{kind}: {first_names(names)}" for kind, names in kinds.items() if names)


def compare_states(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> StateDifference:
    """Compare weights with what a network expects, by names and shapes; NaN fits nothing.

    A value that is infinite in the network itself, such as a mask's, may be so in the weights.

    Args:
        weights: a state dict, such as a checkpoint's.
        expected: the state dict of the network, or the part of it that the weights must have.
    """
    fitting = {
        name: (value, expected[name])
        for name, value in weights.items()
        if name in expected and value.shape == expected[name].shape
    }
    return StateDifference(
        missing=[name for name in expected if name not in weights],
        unexpected=[name for name in weights if name not in expected],
        other_shapes={
            name: (value.shape, expected[name].shape)
            for name, value in weights.items()
            if name in expected and value.shape != expected[name].shape
        },
        other_types=[name for name, (a, b) in fitting.items() if _type(a) != _type(b)],
        not_finite=[
            name
            for name, (value, own) in fitting.items()
            if not _is_finite(value) and (own.is_meta or _is_finite(own))
        ],
    )


def _type(value: Tensor) -> tuple[bool, bool]:
    return value.is_floating_point(), value.is_complex()


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(isfinite(value.float()).all())


def build_described(build: Callable[[], N], weights: Mapping[str, Tensor], *, where: object) -> N:
    """Build the network that a file describes, if it can be the one that its weights are of.

    Args:
        build: makes the network; called on a device without memory first.
        weights: of the network.
        where: their file, for the message.

    Raises:
        UserError: a description of no network, or of one that has many times the numbers that the
            weights have: none of these is allocated.
    """
    size, held = _size_described(build), sum(value.numel() for value in weights.values())
    if size > _LARGER * held + _FREE:
        raise UserError(
            f"{where}: its record describes a network of {size:,} numbers, its weights have "
            f"{held:,}; the file contradicts itself"
        )
    try:
        return build()
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except Exception as error:  # options of any network, in any combination
        reason = one_line(error) or "no reason given"
        raise UserError(
            f"{where}: its record describes no network that can be built ({reason})"
        ) from error


def _size_described(build: Callable[[], nn.Module]) -> int:
    """Numbers in a network's state; 0 where only a device with memory can tell."""
    try:
        with device("meta"):
            return sum(value.numel() for value in build().state_dict().values())
    except Exception:  # what is wrong is said where it is built in earnest
        return 0


def classifier_prefixes(model: nn.Module) -> tuple[str, ...]:
    """How the names of a timm model's classifier begin, which depends on the number of classes.

    Example:
        >>> import timm
        >>> classifier_prefixes(timm.create_model("test_resnet"))
        ('fc.',)
    """
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
