"""The study: the paper's argument about windows and frequencies, simulated beside its laws."""

from spanetv2.theory.study.curves import Curve, Settings
from spanetv2.theory.study.run import Study, run_study

__all__ = ["Curve", "Settings", "Study", "run_study"]
