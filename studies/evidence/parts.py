"""The questions by name, in the order in which they are asked."""

from spanetv2.errors import UserError
from studies.evidence.accuracy import Accuracy
from studies.evidence.bands import Bands
from studies.evidence.cues import Cue
from studies.evidence.gates import Gates
from studies.evidence.part import Part
from studies.evidence.rates import Rates
from studies.evidence.tuning import Tuning

__all__ = ["PARTS", "find_part"]

PARTS: dict[str, Part] = {
    part.name: part for part in (Tuning(), Accuracy(), Rates(), Gates(), Cue(), Bands())
}


def find_part(name: str) -> Part:
    """A part by name.

    Raises:
        UserError: no such part.
    """
    if name not in PARTS:
        raise UserError(f"got part {name!r}, expected one of {', '.join(PARTS)}")
    return PARTS[name]
