"""Words of the reports in English and Chinese; codes of errors and rules are words of the front door."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files


def catalogue(language: str) -> dict[str, str]:
    """Text by dotted code of one language, "en" or "zh"; ``{name}`` stands for a parameter."""
    text = files("personalization.reports.words").joinpath(f"{language}.toml").read_text("utf-8")
    return dict(_flatten(tomllib.loads(text), ""))


def _flatten(table: Mapping[str, object], prefix: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            pairs += _flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, str(value)))
    return pairs
