"""Reports of a batch and its cards for people and programs."""

from personalization.reports.writer import ReportFiles, Translate, write_report

__all__ = ["ReportFiles", "Translate", "write_report"]
