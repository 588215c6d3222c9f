"""What any text on a card must be: composed, visible, and made of characters that stay what they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

_NONCHARACTER_MASK: Final = 0xFFFE
_NONCHARACTERS: Final = range(0xFDD0, 0xFDF0)
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
# Cf holds zero-width and direction marks: invisible on the card face, yet a different name in every register.
_CONTROL_CATEGORIES: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
_SPACE_CATEGORY: Final = "Zs"
_SEPARATOR: Final = "|"
_AFTER: Final = _SEPARATOR + " "
_BEFORE: Final = " " + _SEPARATOR

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TextRule:
    """One row of the table.

    Args:
        code: of the rule.
        broken_by: returns facts for the message when the text breaks the rule, else None.
    """

    code: str
    broken_by: Callable[[str], Facts | None]


def are_plain(cells: Sequence[object]) -> TypeGuard[tuple[str, ...]]:
    """Whether all cells are text and no rule of this table can be broken by any of them; one look at a whole row.

    A cell that is not plain may still break no rule. `_SEPARATOR` composes with no character and stands in no cell of
    ordinary text, so what is true of the row is true of its cells; printable text has no space but U+0020.

    Source: Unicode Standard Annex 15, clause 9 (concatenation of normalized strings).
    """
    try:
        joined = _SEPARATOR.join(cells)  # type: ignore[arg-type]  # raises for a cell that is no text
    except TypeError:
        return False
    return (
        joined.isprintable()
        and _REPLACEMENT not in joined
        and _AFTER not in joined
        and _BEFORE not in joined
        and joined[:1] != " "
        and joined[-1:] != " "
        and unicodedata.is_normalized("NFC", joined)
    )


def _has_category(text: str, categories: frozenset[str]) -> Facts | None:
    for place, character in enumerate(text, 1):
        if unicodedata.category(character) in categories:
            return {"place": place, "code_point": f"U+{ord(character):04X}"}
    return None


def _control(text: str) -> Facts | None:
    return None if text.isprintable() else _has_category(text, _CONTROL_CATEGORIES)


def _private_use(text: str) -> Facts | None:
    return None if text.isprintable() else _has_category(text, frozenset({"Co"}))


def _surrogate(text: str) -> Facts | None:
    return None if text.isprintable() else _has_category(text, frozenset({"Cs"}))


def _noncharacter(text: str) -> Facts | None:
    if text.isprintable() and _REPLACEMENT not in text:
        return None
    # Unassigned code points pass: characters of newer Unicode versions occur in names.
    for place, character in enumerate(text, 1):
        point = ord(character)
        if character == _REPLACEMENT or point & _NONCHARACTER_MASK == _NONCHARACTER_MASK or point in _NONCHARACTERS:
            return {"place": place, "code_point": f"U+{point:04X}"}
    return None


def _spaces(text: str) -> Facts | None:
    if _SPACE_CATEGORY in (unicodedata.category(text[0]), unicodedata.category(text[-1])):
        return {}
    return None


def _composed(text: str) -> Facts | None:
    return None if unicodedata.is_normalized("NFC", text) else {}


TEXT_RULES: Final = (
    TextRule("text-surrogate", _surrogate),
    TextRule("text-noncharacter", _noncharacter),
    TextRule("text-control", _control),
    TextRule("text-private-use", _private_use),
    TextRule("text-spaces", _spaces),
    TextRule("text-not-composed", _composed),
)
