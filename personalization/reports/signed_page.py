"""A signed document as a page for people; what is signed is the JSON beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from personalization.reports.reasons import ReportWords, Translate

_BY_KEY: Final = frozenset({"check_values", "components", "destroyed_keys", "keys"})
_BY_RULE: Final = frozenset({"refused_by_rule"})
_IN_WORDS: Final[Mapping[str, Callable[[ReportWords, str], str]]] = {
    "reason": ReportWords.reason,
    "disposal": lambda words, value: words.label("disposals", value),
    "change": lambda words, value: _worded(words, f"document.change.{value}", value),
    "key": lambda words, value: _worded(words, f"key-name.{value}", value),
    "with": lambda words, value: _worded(words, f"key-name.{value}", value),
    "generated": lambda words, value: _worded(words, f"key-name.{value}", value),
}


def signed_page(document: Mapping[str, object], translate: Translate, *, language: str) -> str:
    """The page of a document.

    Args:
        document: what `sign_document` signed; its ``kind`` chooses the title.
        translate: the front door's words, among them ``document.KIND`` and ``document.field.NAME``.
        language: of the page, such as "zh".
    """
    environment = Environment(
        loader=PackageLoader("personalization.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    words = ReportWords(translate, language)
    title = words(f"document.{str(document['kind']).replace(' ', '-')}")
    rows = list(document_rows(document, words))
    template = environment.get_template("signed.html.j2")
    return template.render(t=words, language=language, title=title, rows=rows, note=words("document.signed-beside"))


def document_rows(document: Mapping[str, object], words: ReportWords) -> Iterator[tuple[str, str]]:
    """What a document says, each name and value in words."""
    for name, value in document.items():
        if name in {"kind", "version"}:
            continue
        yield _worded(words, f"document.field.{name}", name), _shown(name, value, words)


def _shown(name: str, value: object, words: ReportWords) -> str:
    """A value in words; what it is the value of says which words it has."""
    match value:
        case None:
            return "–"
        case bool():
            return words("document.yes" if value else "document.no")
        case Mapping():
            return "; ".join(
                f"{_named(name, inner, words)}: {_shown(inner, told, words)}" for inner, told in value.items()
            )
        case list() | tuple():
            return "; ".join(_shown(name, inner, words) for inner in value)
        case str() if name in _IN_WORDS and value:
            return _IN_WORDS[name](words, value)
        case _:
            return str(value)


def _named(name: str, inner: str, words: ReportWords) -> str:
    """The word for a name inside a value: of a key, of a rule, or of a further field."""
    if name in _BY_KEY:
        code = f"key-name.{inner}"
    elif name in _BY_RULE:
        return words.code(inner)
    else:
        code = f"document.field.{inner}"
    return _worded(words, code, inner)


def _worded(words: ReportWords, code: str, name: str) -> str:
    """The words for a code; the name where there are none."""
    told = words(code)
    return name if told == code else told
