"""Linear layers over channels, and the form of the maps that they are applied to."""

from spanetv2.ops.linear.choice import FORMS, PRECISIONS, WORKS, fastest_form, takes_maps
from spanetv2.ops.linear.convolution import is_plain, linear_of_maps, runs_in_place

__all__ = [
    "FORMS",
    "PRECISIONS",
    "WORKS",
    "fastest_form",
    "is_plain",
    "linear_of_maps",
    "runs_in_place",
    "takes_maps",
]
