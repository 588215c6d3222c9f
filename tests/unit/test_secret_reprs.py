"""No record shows a secret or personal value in its repr, for reprs end up in logs and in tracebacks of others."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Final, cast

import pytest

import applet
import card_os
import permitcard
import personalization
import reader_bridge
from personalization.errors import PersonalizationError
from reader_bridge.connection import ReaderError

SENSITIVE: Final = re.compile(
    r"(^|_)(key|enc|mac|rmac|dek|encryption|master|pin|pins|block|blocks|value|private|secret|passphrase|token|share|nonce"
    r"|seed|plain|pan|account|address|citizen_number|permit_number|text|cells|content|contents|data|digits|portrait"
    r"|pictures|symmetric|pairs|dob|birth_date)$"
)
HARMLESS: Final = {
    "card_os.globalplatform.install_fields.InstallFields.token": "a public token of delegated management",
    "card_os.globalplatform.install_fields.LoadFields.token": "the same",
    "card_os.globalplatform.registry_entry.Application.data": "what the registry keeps, which GET STATUS tells",
    "card_os.globalplatform.tokens.Token.data": "a command that anybody on the line sees",
    "card_os.iso7816.atr.CompactObject.value": "historical bytes, which every reader is told",
    "personalization.preparation.sealed_file._Header.check_value": "tells one key from another and nothing of it",
    "personalization.keys.changes.KeyAct.check_value": "the same",
    "personalization.keys.changes.KeyAct.key": "the name of a key",
    "personalization.sams.maker.Progress.check_value": "the same",
    "personalization.intake.findings_report.FindingLine.value": "masked",
    "personalization.intake.delivery.Delivery.pictures": "an object that shows nothing",
    "personalization.preparation.bulk.delivered.Located.pictures": "a place on the disk",
    "personalization.preparation.bulk.plan.Plan.pictures": "the same",
    "personalization.intake.sample.residents.Draft.cells": "synthetic residents",
    "personalization.intake.sample.residents.Draft.pictures": "drawn faces",
    "personalization.keys.administration.FileKeyAdministration.passphrase": "where it is, not what it is",
    "personalization.keys.ceremony.Component.key": "the name of a key",
    "personalization.production.operators.Operator.public_key": "a public key",
    "personalization.keys.hsm.store.HsmKeyStoreLocation.pin": "where it is, not what it is",
    "personalization.keys.file_store.FileKeyStoreLocation.passphrase": "where it is, not what it is",
}
"""Fields that sound sensitive and may be shown, each with its reason."""
NUMBERS: Final = ("int", "bool", "int | None", "tuple[int, int]")
MARK: Final = "shown in clear"


class _Marked(bytes):
    def __repr__(self) -> str:
        return MARK


def fields_of(kind: type) -> dict[str, str]:
    """Name and annotation."""
    if dataclasses.is_dataclass(kind):
        return {field.name: str(field.type) for field in dataclasses.fields(kind)}
    names = cast("tuple[str, ...]", getattr(kind, "_fields", ()))
    annotations = inspect.get_annotations(kind)
    return {name: str(annotations.get(name)) for name in names}


def with_values(kind: type, values: dict[str, object]) -> object:
    """A record of these values, past its constructor's checks."""
    if issubclass(kind, tuple):
        return tuple.__new__(kind, list(values.values()))
    record: object = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(record, name, value)
    return record


def records() -> Iterator[type]:
    for package in (card_os, applet, personalization, reader_bridge, permitcard):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "conformance" in found.name or "migrations" in found.name:
                continue
            module = importlib.import_module(found.name)
            for kind in vars(module).values():
                if inspect.isclass(kind) and kind.__module__ == found.name and fields_of(kind):
                    yield kind


def test_no_record_shows_a_secret() -> None:
    shown: set[str] = set()
    looked_at = 0
    for kind in records():
        names = fields_of(kind)
        for name in (name for name, what in names.items() if SENSITIVE.search(name) and what not in NUMBERS):
            looked_at += 1
            record = with_values(kind, {field: _Marked(b"\x01") if field == name else b"" for field in names})
            try:
                text = repr(record)
            except (AttributeError, TypeError, ValueError):
                continue  # it shows a part of another field, which these values do not have
            if MARK in text:
                shown.add(f"{kind.__module__}.{kind.__qualname__}.{name}")
    assert looked_at > 40
    assert shown == set(HARMLESS)


@pytest.mark.parametrize("kind", [PersonalizationError, ReaderError])
def test_errors_for_people_show_their_code_and_facts_only(kind: type[PersonalizationError | ReaderError]) -> None:
    assert "some-code" in str(kind("some-code", row=3))
