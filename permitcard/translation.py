"""Words for people: a code with parameters becomes a sentence in English or Chinese."""

from __future__ import annotations

import functools
import locale
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Final, Self

from permitcard.terminal_text import at_left

_PARTS: Final = ("", "-reasons", "-said")
"""Files of a catalogue."""

_CAUSES: Final = frozenset({"cause", "meaning", "reason", "what"})
"""Facts that are words of their own: a code of the group ``reason``, or what somebody else said in English."""

_PLACES: Final = "places"
_LIST: Final = ", "


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
class _Coded:
    """A fact that may be a code, or several with commas: ``{state:row}`` takes its words from the group ``row``.

    Attributes:
        code: the fact.
        templates: of the catalogue.
        facts: of the whole message, which the words of a code may name, too.
    """

    code: str
    templates: Mapping[str, str]
    facts: Mapping[str, object]

    def __format__(self, group: str) -> str:
        if (columns := group.removeprefix("<")).isdecimal():
            return at_left(self.code, int(columns))
        if not group[:1].isalpha():
            return format(self.code, group)
        return _LIST.join(self._words(group, code) for code in self.code.split(_LIST))

    def _words(self, group: str, code: str) -> str:
        words = self.templates.get(f"{group}.{code}")
        return code if words is None else words.format_map(_Facts(self.facts))


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
        return cls(language, _catalogue(language))

    def __call__(self, code: str, **parameters: object) -> str:
        """The sentence for ``code``; an unknown code is shown with its parameters."""
        template = self.templates.get(code)
        if template is None:
            shown = ", ".join(f"{name}={value}" for name, value in parameters.items())
            return f"{code}: {shown}" if shown else code
        facts = _Facts(parameters)
        for name, fact in parameters.items():
            told = self._told(fact) if name in _CAUSES else self._placed(fact) if name == _PLACES else fact
            facts[name] = _Coded(told, self.templates, parameters) if isinstance(told, str) else told
        return template.format_map(facts)

    def _told(self, cause: object) -> object:
        """A cause as people are told it."""
        if not isinstance(cause, str):
            return cause
        if (words := self.templates.get(f"reason.{cause}")) is not None or self.language is Language.ENGLISH:
            return words or cause
        from permitcard.foreign_words import in_own_words

        return in_own_words(cause, self)

    def _placed(self, places: object) -> str:
        """``WHERE: WHAT; …``, as the check of a file tells what is wrong with it."""
        parts = (part.partition(": ") for part in str(places).split("; "))
        return "; ".join(f"{where}{mark}{self._told(what)}" for where, mark, what in parts)


@functools.cache
def _catalogue(language: Language) -> Mapping[str, str]:
    """Templates of a language; a command asks for them before and after its line was understood."""
    folder = files("permitcard").joinpath("messages")
    texts = (folder.joinpath(f"{language.value}{part}.toml").read_text("utf-8") for part in _PARTS)
    return dict(pair for text in texts for pair in flatten(tomllib.loads(text)))


def flatten(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Dotted codes of a nested table of texts: {"batch": {"done": "…"}} gives "batch.done"."""
    pairs: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, str(value)))
    return pairs
