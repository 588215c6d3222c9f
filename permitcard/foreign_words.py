"""What others say in English only, in the console's language: the option parser, the system, PC/SC, status words.

Their sentences are taken for message identifiers, as gettext does: those of the groups here are, in the English
catalogue, what is said letter by letter, and the same codes have them in Chinese.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from permitcard.translation import Language, Translator

PARSER: Final = "parser."
"""About a command line."""

SAID: Final = "said."
"""Why something failed: it stands inside a sentence of ours."""

_PLACE: Final = re.compile(r"\{(\w+)\}")
_NOISE: Final = "Value error, "
"""What the parser's validation puts before the words of a wrong choice."""

_INNER: Final = "reason"
"""The place of a template that holds another sentence, whose words the translator finds."""


def in_own_words(sentence: str, translate: Translator) -> str:
    """The sentence in the translator's language; one that nobody said before stays as it is."""
    plain = sentence.replace(_NOISE, "")
    for code, pattern in _identifiers():
        if (found := pattern.fullmatch(plain)) is not None:
            return translate(code, **found.groupdict())
    return plain


@functools.cache
def _identifiers() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Codes and English sentences: first those around other sentences, then those with more words of their own."""
    templates = Translator.load(Language.ENGLISH).templates
    own = [(code, template) for code, template in templates.items() if code.startswith((PARSER, SAID))]
    own.sort(key=lambda item: (f"{{{_INNER}}}" not in item[1], -len(_PLACE.sub("", item[1]))))
    return tuple((code, _pattern(template)) for code, template in own)


def _pattern(template: str) -> re.Pattern[str]:
    """A template as an expression that finds its facts in a sentence."""
    parts = _PLACE.split(template)
    words = (re.escape(part) if number % 2 == 0 else f"(?P<{part}>.+?)" for number, part in enumerate(parts))
    return re.compile("".join(words), re.DOTALL)
