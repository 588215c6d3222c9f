"""Synthetic deliveries for trials, demonstrations and tests: nobody in them exists."""

from personalization.intake.sample.batch import write_sample

__all__ = ["write_sample"]
