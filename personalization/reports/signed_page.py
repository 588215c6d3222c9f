"""A signed document as a page for people; what is signed is the JSON beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from personalization.reports.writer import Translate


def signed_page(document: Mapping[str, object], translate: Translate, *, language: str) -> str:
    """The page of a document.

    Args:
        document: what `sign_document` signed; its ``kind`` chooses the title.
        translate: words for ``document.KIND`` and ``document.field.NAME``.
        language: of the page, such as "zh".
    """
    environment = Environment(
        loader=PackageLoader("personalization.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    title = translate(f"document.{str(document['kind']).replace(' ', '-')}")
    rows = [(name, value) for name, value in _rows(document, translate) if name]
    template = environment.get_template("signed.html.j2")
    return template.render(
        t=translate, language=language, title=title, rows=rows, note=translate("document.signed-beside")
    )


def _rows(document: Mapping[str, object], translate: Translate) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if name in {"kind", "version"}:
            continue
        yield translate(f"document.field.{name}"), _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_shown(inner) for inner in value)
    return "–" if value is None else str(value)
