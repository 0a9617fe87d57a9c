"""Every number that a run can be told, found by looking: odd ones are refused by one clear line."""

import re
import typing
from collections.abc import Iterator
from typing import Any

from spanetv2.errors import ConfigError
from spanetv2.tasks import all_tasks
from spanetv2.training.parser import RunParser

NO_NUMBERS = [float("nan"), float("inf")]
HUGE = 10**30

MAY_BE_NEGATIVE = {
    "freeze",  # held against the network's stages
    "preprocessing.mean",
    "detector.mean",
    "trainer.devices",  # all
    "trainer.max_epochs",  # no limit
    "trainer.max_steps",  # no limit
    "trainer.num_sanity_val_steps",  # all
}


def _kinds(hint: Any) -> Iterator[type]:
    """int and float, where a value or its items may be one."""
    if hint in (int, float):
        yield hint
    for part in typing.get_args(hint):
        yield from _kinds(part)


def _numbers(parser: RunParser) -> Iterator[tuple[str, set[type], bool]]:
    """(option, int or float or both, whether it may be several)."""
    for action in parser._parser._actions:
        hint = getattr(action, "_typehint", None) or action.type
        if repr(hint) == "int | float | null":  # of one that reads both
            hint = int | float
        kinds = set(_kinds(hint))
        if action.dest in parser.options and kinds:
            yield action.dest, kinds, bool(re.search("list|tuple", str(hint), re.I))


def _options() -> Iterator[tuple[RunParser, str, set[type], bool]]:
    """Every option of every task, those of several once."""
    seen = set()
    for task in all_tasks():
        parser = RunParser(task.name, task.config)
        for name, kinds, several in _numbers(parser):
            if name not in seen:
                seen.add(name)
                yield parser, name, kinds, several


def test_odd_numbers_are_refused_by_name() -> None:
    taken, unclear, asked = [], [], 0
    for parser, name, kinds, several in _options():
        defaults = parser.defaults()
        usual = defaults[name]
        many = len(usual) if isinstance(usual, list | tuple) else 2
        for number in [*(NO_NUMBERS if float in kinds else ()), HUGE, -1]:
            for value in (number, [number] * many) if several else (number,):
                asked += 1
                try:
                    parser.build(parser.add_values({name: value}, defaults))
                except ConfigError as error:
                    told = str(error)
                    clear = name.rpartition(".")[2] in told and "\n" not in told
                    if not clear or re.search(r"\w(Error|Exception)\b", told):
                        unclear.append(f"{name}={value}: {told}")
                else:
                    if number != -1 or name not in MAY_BE_NEGATIVE:
                        taken.append(f"{name}={value}")
    assert asked > 300
    assert not unclear, "\n".join(unclear)
    assert not taken, "\n".join(taken)
