"""The study of token mixers as figures for a paper, tables, and one page that explains them."""

from spanetv2.analysis.theory_report.report import write_report

__all__ = ["write_report"]
