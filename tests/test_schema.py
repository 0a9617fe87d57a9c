"""Plain values against type hints: every kind of value that a file can hold in the wrong place."""

import dataclasses
from typing import Any, Literal

import pytest

from spanetv2.errors import UserError
from spanetv2.schema import build_from, check_value, plain_fault


@dataclasses.dataclass(frozen=True)
class Head:
    name: Literal["upernet", "fpn"] = "fpn"
    width: int | None = None
    dropout: float = 0.1
    sides: tuple[int, int] = (1, 2)
    scales: tuple[float, ...] = ()
    flip: bool = False

    def __post_init__(self) -> None:
        if self.dropout >= 1:
            raise UserError(f"dropout {self.dropout}, expected below 1")


GOOD: list[dict[str, Any]] = [
    {},
    {"name": "upernet", "width": 8, "dropout": 0, "sides": [3, 4], "scales": [1, 0.5]},
    {"width": None, "flip": True, "scales": []},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": "other"}, "head.name is 'other', expected one of upernet, fpn"),
    ({"width": "8"}, "head.width is '8', expected a whole number or null"),
    ({"width": 8.0}, "expected a whole number"),
    ({"width": True}, "expected a whole number"),
    ({"width": 10**30}, "a number above 1,000,000,000"),
    ({"dropout": float("nan")}, "nan, expected a finite number"),
    ({"dropout": float("inf")}, "inf, expected a finite number"),
    ({"dropout": [0.1]}, "expected a number"),
    ({"dropout": 2}, "expected below 1"),
    ({"sides": [1]}, r"expected a list of 2 \(a whole number, a whole number\)"),
    ({"sides": "12"}, "expected a list of 2"),
    ({"scales": [1, "x"]}, "expected a list, each a number"),
    ({"scales": {"a": 1}}, "expected a list"),
    ({"flip": 1}, "expected true or false"),
    ({"other": 1}, "head has 'other', expected some of name, width"),
]


@pytest.mark.parametrize("values", GOOD)
def test_values_of_the_right_type_are_taken(values: dict[str, Any]) -> None:
    built = build_from(Head, values, name="head")
    assert built == Head(**values)


@pytest.mark.parametrize(("values", "message"), BAD, ids=[str(v)[:30] for v, _ in BAD])
def test_values_of_another_type_are_named_with_what_was_expected(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_from(Head, values, name="head")


@pytest.mark.parametrize("values", [None, [], "text", 3, [["name", "fpn"]]])
def test_only_a_mapping_is_taken_for_fields(values: Any) -> None:
    with pytest.raises(UserError, match=r"head is .*, expected a mapping"):
        build_from(Head, values, name="head")


def test_long_values_are_cut_in_the_message() -> None:
    with pytest.raises(UserError) as caught:
        check_value("classes", "x" * 10_000, list[str])
    assert len(str(caught.value)) < 200


def test_plain_values_have_a_depth_and_a_size() -> None:
    nested: Any = []
    for _ in range(50):
        nested = [nested]
    assert plain_fault({"a": [1, "b", None, True, 2.5]}) is None
    assert "inside more than" in (plain_fault(nested) or "")
    assert "characters" in (plain_fault("x" * 10**6) or "")
    assert "no text" in (plain_fault({1: 2}) or "")
    assert "a object, expected plain values" in (plain_fault([object()]) or "")
