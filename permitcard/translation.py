"""Words for people: a code with parameters becomes a sentence in English or Chinese."""

from __future__ import annotations

import locale
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.resources import files
from typing import Self


class Language(StrEnum):
    """Languages that have a catalogue in `permitcard/messages`."""

    ENGLISH = "en"
    CHINESE = "zh"

    @classmethod
    def from_environment(cls) -> Language:
        """The language of the locale: Chinese for zh_*, English for all others."""
        for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
            if value := os.environ.get(variable):
                return cls.CHINESE if value.startswith("zh") else cls.ENGLISH
        name = locale.getlocale()[0] or ""
        return cls.CHINESE if name.startswith(("zh", "Chinese")) else cls.ENGLISH


class _Facts(dict[str, object]):
    """Parameters of a message; one that is missing shows its name instead of failing inside an error path."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


@dataclass(frozen=True, slots=True)
class Translator:
    """One catalogue: message templates by code.

    Attributes:
        language: language of the templates.
        templates: text with ``{parameter}`` places by code.
    """

    language: Language
    templates: Mapping[str, str]

    @classmethod
    def load(cls, language: Language) -> Self:
        """Read the catalogue of ``language``."""
        text = files("permitcard").joinpath("messages", f"{language.value}.toml").read_text("utf-8")
        return cls(language, dict(flatten(tomllib.loads(text))))

    def extended(self, templates: Mapping[str, str]) -> Self:
        """With further templates, which come before ours where both have a code."""
        return replace(self, templates={**self.templates, **templates})

    def __call__(self, code: str, **parameters: object) -> str:
        """The sentence for ``code``; an unknown code is shown with its parameters."""
        template = self.templates.get(code)
        if template is None:
            facts = ", ".join(f"{name}={value}" for name, value in parameters.items())
            return f"{code}: {facts}" if facts else code
        return template.format_map(_Facts(parameters))


def flatten(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Dotted codes of a nested table of texts: {"batch": {"done": "…"}} gives "batch.done"."""
    pairs: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, str(value)))
    return pairs
