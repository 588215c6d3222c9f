"""What is wrong with a command line, in the console's language.

The option parser's library says it in English only. Its sentences are taken for message identifiers, as gettext does:
those of the group ``parser`` in the English catalogue are the library's own, and the same codes have them in Chinese.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from permitcard.translation import Language, Translator

GROUP: Final = "parser."
_PLACE: Final = re.compile(r"\{(\w+)\}")
_NOISE: Final = "Value error, "
"""What the library's validation puts before the words of a wrong choice."""

_INNER: Final = "reason"
"""The place of a template that holds another sentence of the library."""


def in_own_words(sentence: str, translate: Translator) -> str:
    """The library's sentence in the translator's language; one that it never said before stays as it is."""
    plain = sentence.replace(_NOISE, "")
    for code, pattern in _identifiers():
        if (found := pattern.fullmatch(plain)) is not None:
            facts = found.groupdict()
            if _INNER in facts:
                facts[_INNER] = in_own_words(facts[_INNER], translate)
            return translate(code, **facts)
    return plain


@functools.cache
def _identifiers() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Codes and English sentences: first those around other sentences, then those with more words of their own."""
    templates = Translator.load(Language.ENGLISH).templates
    own = [(code, template) for code, template in templates.items() if code.startswith(GROUP)]
    own.sort(key=lambda item: (f"{{{_INNER}}}" not in item[1], -len(_PLACE.sub("", item[1]))))
    return tuple((code, _pattern(template)) for code, template in own)


def _pattern(template: str) -> re.Pattern[str]:
    """A template as an expression that finds its facts in a sentence."""
    parts = _PLACE.split(template)
    words = (re.escape(part) if number % 2 == 0 else f"(?P<{part}>.+?)" for number, part in enumerate(parts))
    return re.compile("".join(words), re.DOTALL)
