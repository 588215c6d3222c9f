"""Synthetic deliveries for trials, demonstrations and tests: nobody in them exists."""

from personalization.intake.sample.batch import write_sample
from personalization.intake.sample.residents import FIRST_ISSUE

__all__ = ["FIRST_ISSUE", "write_sample"]
