"""HTML report of an evaluation: one file that needs nothing else."""

from nnunet_weak.report.page import report_html

__all__ = ["report_html"]
