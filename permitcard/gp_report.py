"""What ``permitcard gp`` shows of a card: what it tells to anybody, its registry, its keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from card_os.iso7816.status import SW
from permitcard.gp_access import GpAccess
from permitcard.terminal_text import at_left, columns_of
from personalization.errors import PersonalizationError
from personalization.globalplatform import card_data, commands
from personalization.globalplatform.card_data import KeyEntry, ProductionLifeCycle
from personalization.globalplatform.commands import StatusScope
from personalization.globalplatform.content import privilege_names
from personalization.globalplatform.guard_ledger import CardRecord
from personalization.globalplatform.guarded_session import CardFacts
from personalization.globalplatform.registry import RegistryEntry, life_cycle_name
from personalization.globalplatform.session import SecureSession, exchange_plain
from reader_bridge.connection import CardConnection

Say = Callable[..., str]
"""Words for a code."""

_DATES: Final = tuple(name for name in ProductionLifeCycle._fields if name.endswith("date"))
_REFUSED: Final = "card-refused"
_WIDE: Final = ("ic_serial_number", "pre_personalization_equipment", "personalization_equipment")


@dataclass(frozen=True, slots=True)
class Report:
    """Rows of (code of a title, value) for people, and the same for programs.

    Attributes:
        rows: in the order in which they are shown; an empty title goes on with the row before.
        content: for programs.
    """

    rows: tuple[tuple[str, str], ...]
    content: dict[str, object] = field(repr=False)

    def text(self, say: Say) -> str:
        """One line a row."""
        titles = [say(f"gp-title.{title}") if title else "" for title, _ in self.rows]
        width = max((columns_of(title) for title in titles), default=0)
        return "\n".join(
            f"{at_left(title, width)}  {value}" for title, (_, value) in zip(titles, self.rows, strict=True)
        )

    def document(self) -> dict[str, object]:
        """For programs."""
        return self.content


def card_report(access: GpAccess) -> Report:
    """Everything that the card tells without authentication, and what the key guard remembers of it."""
    with access.connection() as connection:
        facts = access.guard.look(connection)
        told = {
            tag: _told(connection, tag)
            for tag in (
                card_data.RECOGNITION_DATA,
                card_data.CAPABILITY,
                card_data.ISSUER_IDENTIFICATION,
                card_data.CARD_IMAGE,
                card_data.SEQUENCE_COUNTER,
                card_data.KEY_INFORMATION,
                card_data.PRODUCTION_LIFE_CYCLE,
                card_data.CARD_RESOURCES,
            )
        }
        answer = connection.description.answer.hex().upper()
    rows = [("answer", answer), ("domain", bytes(access.domain).hex().upper())]
    content: dict[str, object] = {"answer": answer, "domain": bytes(access.domain).hex().upper()}
    _add_recognition(told, rows, content)
    for title, tag in (("iin", card_data.ISSUER_IDENTIFICATION), ("cin", card_data.CARD_IMAGE)):
        if told[tag]:
            content[title] = value = card_data.parse_number(told[tag], tag).hex().upper()
            rows.append((title, value))
    if told[card_data.SEQUENCE_COUNTER]:
        counter = card_data.parse_number(told[card_data.SEQUENCE_COUNTER], card_data.SEQUENCE_COUNTER)
        content["sequence_counter"] = int.from_bytes(counter, "big")
        rows.append(("sequence-counter", str(int.from_bytes(counter, "big"))))
    keys = card_data.parse_key_information(told[card_data.KEY_INFORMATION]) if told[card_data.KEY_INFORMATION] else []
    rows += _key_rows(keys)
    content["keys"] = [_key_document(key) for key in keys]
    _add_production(told[card_data.PRODUCTION_LIFE_CYCLE], rows, content)
    if told[card_data.CARD_RESOURCES]:
        resources = card_data.parse_resources(told[card_data.CARD_RESOURCES])
        content["resources"] = resources._asdict()
        rows.append(("resources", f"{resources.memory} / {resources.volatile_memory}"))
    _add_guard(facts, access.guard.record(facts), rows, content)
    return Report(tuple(rows), content)


def key_report(access: GpAccess) -> Report:
    """The keys that the card tells."""
    with access.connection() as connection:
        access.guard.look(connection)
        told = _told(connection, card_data.KEY_INFORMATION)
    if not told:
        raise PersonalizationError("gp-keys-not-told")
    keys = card_data.parse_key_information(told)
    return Report(tuple(_key_rows(keys)), {"keys": [_key_document(key) for key in keys]})


def registry_report(session: SecureSession) -> Report:
    """The registry of the card."""
    rows: list[tuple[str, str]] = []
    content: dict[str, object] = {}
    for scope, title in (
        (StatusScope.ISSUER_DOMAIN, "issuer-domain"),
        (StatusScope.APPLICATIONS, "application"),
        (StatusScope.PACKAGES_AND_MODULES, "package"),
    ):
        entries = _entries(session, scope)
        content[title.replace("-", "_") + "s"] = [_entry_document(scope, entry) for entry in entries]
        for entry in entries:
            name = "security-domain" if title == "application" and entry.is_domain else title
            rows.append((name, f"{entry.aid.hex().upper()}  {life_cycle_name(scope, entry)}"))
            rows += [("", f"  {line}") for line in _entry_lines(entry)]
    return Report(tuple(rows), content)


def _entries(session: SecureSession, scope: StatusScope) -> list[RegistryEntry]:
    """With tags, or without for a card that refuses them or takes packages and modules apart."""
    try:
        return session.get_status(scope)
    except PersonalizationError as error:
        if error.code != _REFUSED:
            raise
    return session.get_status(scope, old_form=True)


def _told(connection: CardConnection, tag: int) -> bytes:
    response = exchange_plain(connection, commands.get_data(tag))
    return response.data if response.sw == SW.OK else b""


def _add_recognition(told: dict[int, bytes], rows: list[tuple[str, str]], content: dict[str, object]) -> None:
    if raw := told[card_data.RECOGNITION_DATA]:
        recognition = card_data.parse_recognition_data(raw)
        version = ".".join(map(str, recognition.version))
        channels = [str(item) for item in recognition.secure_channels]
        content |= {"globalplatform": version, "secure_channels": channels}
        rows += [("globalplatform", version), ("secure-channels", ", ".join(channels))]
    if raw := told[card_data.CAPABILITY]:
        capability = card_data.parse_capability(raw)
        options = [str(item) for item in capability.secure_channels]
        content["capability"] = {
            "secure_channels": options,
            "aes_lengths": list(capability.aes_lengths),
            "domain_privileges": privilege_names(capability.domain_privileges),
            "application_privileges": privilege_names(capability.application_privileges),
            "hashes": list(capability.hashes),
        }
        rows.append(("capability", f"{', '.join(options)}; {', '.join(capability.hashes)}"))


def _key_rows(keys: list[KeyEntry]) -> list[tuple[str, str]]:
    return [("key", _key_text(key)) for key in keys]


def _key_text(key: KeyEntry) -> str:
    size = 8 * key.components[0][1] if key.components else 0
    return f"{key.version:02X}/{key.identifier:02X}  {key.type_name} {size}"


def _key_document(key: KeyEntry) -> dict[str, object]:
    return {
        "version": f"{key.version:02X}",
        "identifier": f"{key.identifier:02X}",
        "type": key.type_name,
        "components": [{"type": f"{kind:02X}", "length": length} for kind, length in key.components],
    }


def _add_production(raw: bytes, rows: list[tuple[str, str]], content: dict[str, object]) -> None:
    if not raw:
        return
    production = card_data.parse_production_life_cycle(raw)
    today = dt.datetime.now(dt.UTC).date()
    shown: dict[str, str] = {}
    for name, value in production._asdict().items():
        text = f"{value:08X}" if name in _WIDE else f"{value:04X}"
        day = card_data.date(value, today) if name in _DATES else None
        shown[name] = text if day is None else f"{text} ({day.isoformat()})"
    content["cplc"] = shown
    rows += [("cplc", f"{name.replace('_', ' ')}: {text}") for name, text in shown.items() if text.strip("0")]


def _add_guard(facts: CardFacts, record: CardRecord, rows: list[tuple[str, str]], content: dict[str, object]) -> None:
    content["guard"] = {
        "identity": facts.identity,
        "unfinished": record.unfinished_in_all,
        "refused": record.refused,
        "when": record.when,
    }
    rows.append(("guard", f"{facts.identity}: {record.unfinished_in_all} / {record.refused}"))


def _entry_lines(entry: RegistryEntry) -> Iterator[str]:
    if names := privilege_names(entry.privileges):
        yield ", ".join(names)
    if entry.package_aid:
        yield f"package {entry.package_aid.hex().upper()}"
    for module in entry.modules:
        yield f"module {module.hex().upper()}"


def _entry_document(scope: StatusScope, entry: RegistryEntry) -> dict[str, object]:
    return {
        "aid": entry.aid.hex().upper(),
        "life_cycle": life_cycle_name(scope, entry),
        "life_cycle_byte": f"{entry.life_cycle:02X}",
        "privileges": privilege_names(entry.privileges),
        "package": entry.package_aid.hex().upper() or None,
        "domain": entry.domain_aid.hex().upper() or None,
        "modules": [module.hex().upper() for module in entry.modules],
        "version": ".".join(map(str, entry.version)) or None,
    }
