"""Card profiles: what a card is manufactured as, from a TOML file.

A profile says what the issuer domain is (AID, privileges, protocols, numbers, keys), which other domains there are, the
production data and the issuer's policy, so that a card can stand in for another chip. A running card never reads it.

```toml
name = "test-keys"
life_cycle = "OP_READY"                       # or INITIALIZED
[policy]                                      # see `card_policy.CardPolicy`
[production]                                  # CPLC; numbers in hex, dates as dates
[issuer]
aid = "A000000151000000"
provider_number = "42…"                       # tag 42; image_number tag 45, card_data 66, capabilities 67
channels = [{ protocol = "SCP03", i = "70" }]
[[issuer.keys]]                               # none: the factory set that the caller brings
version = "01"                                # 01 to 7F; FF is the factory's
type = "AES"                                  # or DES; enc, mac, dek
[[domain]]                                    # as the issuer, and: name, parent (a name), root, package
```

Source: GlobalPlatform Card Specification 2.3.1, clauses 5.1.1 (first states), 6.6 (privileges), 7.4 (data) and H.2.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

from card_os.globalplatform.card_policy import DEFAULT_CARD_POLICY, CardPolicy, MissingCode
from card_os.globalplatform.channel_policy import DEFAULT_POLICY, MAX_PAUSE, MAX_TRIES, ChannelPolicy
from card_os.globalplatform.data_objects import DataTag
from card_os.globalplatform.key_types import KeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.privileges import ISSUER_PRIVILEGES, Privilege, is_consistent
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.registry_entry import CardLifeCycle
from card_os.globalplatform.secure_channel import Protocol
from card_os.iso7816.aid import Aid

ISSUER: Final = "issuer"
"""Name of the issuer domain in a profile."""

_FIRST_STATES: Final = (CardLifeCycle.OP_READY, CardLifeCycle.INITIALIZED)
_KEY_TYPES: Final = {"AES": KeyType.AES, "DES": KeyType.DES}
_DATA: Final = {
    "provider_number": DataTag.ISSUER_IDENTIFICATION,
    "image_number": DataTag.CARD_IMAGE,
    "card_data": DataTag.CARD_DATA,
    "capabilities": DataTag.CAPABILITIES,
    "manager_url": DataTag.MANAGER_URL,
}
_PRODUCTION: Final = {
    "ic_fabricator": "ic_fabricator",
    "ic_type": "ic_type",
    "operating_system": "os_identifier",
    "operating_system_date": "os_release_date",
    "operating_system_level": "os_release_level",
    "fabrication_date": "ic_fabrication_date",
    "serial_number": "ic_serial_number",
    "batch": "ic_batch",
    "module_fabricator": "module_fabricator",
    "module_packaging_date": "module_packaging_date",
    "card_manufacturer": "icc_manufacturer",
    "embedding_date": "ic_embedding_date",
    "pre_personalizer": "pre_personalizer",
    "pre_personalization_date": "pre_personalization_date",
    "pre_personalization_equipment": "pre_personalization_equipment",
    "personalizer": "personalizer",
    "personalization_date": "personalization_date",
    "personalization_equipment": "personalization_equipment",
}
_EQUIPMENT: Final = frozenset({"serial_number", "pre_personalization_equipment", "personalization_equipment"})
"""Production data of four bytes; the others have two."""
_DECIMAL: Final = 10
_FACTORY_VERSION: Final = 0xFF
_MAX_VERSION: Final = 0x7F
_MAX_VOLATILE: Final = 0xFFFFFFFF
_KINDS: Final[Mapping[type, str]] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    dict: "table",
    list: "list",
}
"""What TOML calls the types of its values."""


class CardProfileError(ValueError):
    """A card profile makes no sense.

    Args:
        where: path in the file, such as ``issuer.keys[0].version``.
        reason: what is wrong there.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


@dataclass(frozen=True, slots=True)
class DomainProfile:
    """A security domain as it is made.

    Attributes:
        name: name in the profile.
        aid: its AID.
        privileges: its privileges.
        parent: name of the domain that it is associated with, its own for the root of a hierarchy.
        channels: its secure channel protocols.
        data: data objects by tag.
        keys: key sets; none for the issuer domain stand for the factory's.
        packages: load files in read-only memory that are associated with it, and their modules.
    """

    name: str
    aid: Aid
    privileges: Privilege
    parent: str
    channels: ChannelPolicy = DEFAULT_POLICY
    data: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    keys: tuple[KeySet, ...] = ()
    packages: tuple[tuple[Aid, tuple[Aid, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class CardProfile:
    """What a card is manufactured as.

    Attributes:
        name: name of the profile.
        life_cycle: OP_READY or INITIALIZED.
        policy: the issuer's decisions.
        production: CPLC without the serial number.
        issuer: the issuer domain.
        domains: the other domains, each after its parent.
    """

    name: str
    life_cycle: CardLifeCycle
    policy: CardPolicy
    production: ProductionData
    issuer: DomainProfile
    domains: tuple[DomainProfile, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a profile.

        Raises:
            CardProfileError: it is no TOML, or makes no sense; says where.
        """
        try:
            table = _Table(tomllib.loads(text), "")
        except tomllib.TOMLDecodeError as error:
            raise CardProfileError("file", str(error)) from error
        issuer = _domain(table.table("issuer"), ISSUER, ISSUER, ISSUER_PRIVILEGES)
        domains: list[DomainProfile] = []
        for row in table.tables("domain"):
            name = row.text("name")
            if not name or name in (ISSUER, *(one.name for one in domains)):
                raise CardProfileError(row.at("name"), "is empty, or another domain's")
            parent = name if row.flag("root") else row.text("parent", ISSUER)
            if parent not in (name, ISSUER, *(one.name for one in domains)):
                raise CardProfileError(row.at("parent"), "no domain before this one has that name")
            domains.append(_domain(row, name, parent, Privilege.SECURITY_DOMAIN | Privilege.TRUSTED_PATH))
        aids = [one.aid for one in (issuer, *domains)]
        if len(set(aids)) != len(aids):
            raise CardProfileError("domain", "two domains have one AID")
        life_cycle = table.member("life_cycle", CardLifeCycle, _FIRST_STATES)
        profile = cls(
            table.text("name"),
            CardLifeCycle(life_cycle),
            _policy(table.table("policy")),
            _production(table.table("production")),
            issuer,
            tuple(domains),
        )
        table.finish()
        return profile


def load_profile(name: str | Path) -> CardProfile:
    """Read a profile by its name, when it comes with the product, or from a file.

    Raises:
        CardProfileError: it makes no sense.
        OSError: it cannot be read.
    """
    if str(name) in profile_names():
        return CardProfile.parse(_FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    return CardProfile.parse(Path(name).read_text(encoding="utf-8"))


def profile_names() -> list[str]:
    """The profiles that come with the product."""
    return sorted(item.name.removesuffix(".toml") for item in _FOLDER.iterdir() if item.name.endswith(".toml"))


_FOLDER: Final = files("card_os.globalplatform").joinpath("profiles")


class _Table:
    """A TOML table that knows where it stands, and which of its keys were not asked for."""

    def __init__(self, content: dict[str, Any], path: str) -> None:
        self._content = dict(content)
        self._path = path

    def at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _take(self, key: str, kind: type, default: object) -> Any:
        value = self._content.pop(key, default)
        if value is None:
            raise CardProfileError(self.at(key), "is missing")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CardProfileError(self.at(key), f"is no {_KINDS[kind]}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._take(key, str, default))

    def flag(self, key: str) -> bool:
        return bool(self._take(key, bool, default=False))

    def number(self, key: str, default: int, most: int) -> int:
        value = int(self._take(key, int, default))
        if not 0 <= value <= most:
            raise CardProfileError(self.at(key), f"is not from 0 to {most}")
        return value

    def hexadecimal(self, key: str, default: str | None = None) -> bytes:
        text = self.text(key, default)
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise CardProfileError(self.at(key), "is no hexadecimal text") from error

    def byte(self, key: str) -> int:
        raw = self.hexadecimal(key)
        if len(raw) != 1:
            raise CardProfileError(self.at(key), "is not one byte")
        return raw[0]

    def aid(self, key: str) -> Aid:
        try:
            return Aid(self.hexadecimal(key))
        except ValueError as error:
            raise CardProfileError(self.at(key), str(error)) from error

    def member(self, key: str, kind: Any, allowed: tuple[Any, ...]) -> Any:
        name = self.text(key).upper()
        if name not in [item.name for item in allowed]:
            raise CardProfileError(self.at(key), f"is none of {', '.join(item.name for item in allowed)}")
        return kind[name]

    def table(self, key: str) -> _Table:
        return _Table(self._take(key, dict, {}), self.at(key))

    def tables(self, key: str) -> list[_Table]:
        rows = self._take(key, list, [])
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise CardProfileError(f"{self.at(key)}[{index}]", "is no table")
        return [_Table(row, f"{self.at(key)}[{index}]") for index, row in enumerate(rows)]

    def strings(self, key: str) -> list[str]:
        items = self._take(key, list, [])
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise CardProfileError(f"{self.at(key)}[{index}]", "is no text")
        return list(items)

    def has(self, key: str) -> bool:
        return key in self._content

    def pop(self, key: str) -> Any:
        return self._content.pop(key)

    def finish(self) -> None:
        if self._content:
            raise CardProfileError(self.at(next(iter(self._content))), "is not known here")


def _domain(row: _Table, name: str, parent: str, default: Privilege) -> DomainProfile:
    keys = tuple(_keys(entry) for entry in row.tables("keys"))
    if len({one.version for one in keys}) != len(keys):
        raise CardProfileError(row.at("keys"), "two sets have one version")
    domain = DomainProfile(
        name,
        row.aid("aid"),
        _privileges(row, default),
        parent,
        _channels(row),
        {int(tag): row.hexadecimal(key) for key, tag in _DATA.items() if row.has(key)},
        keys,
        tuple(_package(entry) for entry in row.tables("package")),
    )
    row.finish()
    return domain


def _privileges(row: _Table, default: Privilege) -> Privilege:
    if not row.has("privileges"):
        return default
    privileges = Privilege.NONE
    for name in row.strings("privileges"):
        if name.upper() not in Privilege.__members__:
            raise CardProfileError(row.at("privileges"), f"there is no privilege {name}")
        privileges |= Privilege[name.upper()]
    if not privileges & Privilege.SECURITY_DOMAIN or not is_consistent(privileges):
        raise CardProfileError(row.at("privileges"), "privileges that exclude each other, or lack one that they need")
    return privileges


def _channels(row: _Table) -> ChannelPolicy:
    protocols = DEFAULT_POLICY.protocols
    if row.has("channels"):
        protocols = tuple(_channel(entry) for entry in row.tables("channels"))
    tries = row.number("try_limit", DEFAULT_POLICY.try_limit, MAX_TRIES)
    pauses = row.number("first_pause_ms", 0, MAX_PAUSE), row.number("longest_pause_s", 0, MAX_PAUSE)
    try:
        return ChannelPolicy(protocols, tries, *pauses)
    except ValueError as error:
        raise CardProfileError(row.at("channels"), str(error)) from error


def _channel(row: _Table) -> tuple[Protocol, int]:
    channel = Protocol(row.member("protocol", Protocol, tuple(Protocol))), row.byte("i")
    row.finish()
    return channel


def _keys(row: _Table) -> KeySet:
    kind = row.text("type")
    if kind not in _KEY_TYPES:
        raise CardProfileError(row.at("type"), f"is none of {', '.join(_KEY_TYPES)}")
    enc, mac, dek = (row.hexadecimal(name) for name in ("enc", "mac", "dek"))
    keys = KeySet(row.byte("version"), enc, mac, dek, _KEY_TYPES[kind])
    if len({len(key) for key in (keys.enc, keys.mac, keys.dek)}) != 1 or len(keys.enc) not in (16, 24, 32):
        raise CardProfileError(row.at("enc"), "three keys of 16, 24 or 32 bytes are expected")
    if not 0 < keys.version <= _MAX_VERSION and keys.version != _FACTORY_VERSION:
        raise CardProfileError(row.at("version"), "is neither 01 to 7F nor FF, the factory's")
    row.finish()
    return keys


def _package(row: _Table) -> tuple[Aid, tuple[Aid, ...]]:
    aid = row.aid("aid")
    try:
        modules = tuple(Aid(bytes.fromhex(module)) for module in row.strings("modules"))
    except ValueError as error:
        raise CardProfileError(row.at("modules"), str(error)) from error
    row.finish()
    return aid, modules


def _policy(row: _Table) -> CardPolicy:
    missing = MissingCode.REFUSE
    if row.has("missing_code"):
        missing = MissingCode(row.member("missing_code", MissingCode, tuple(MissingCode)))
    policy = CardPolicy(
        missing,
        row.flag("open_identification"),
        row.flag("domains_over_the_field"),
        row.number("volatile_memory", DEFAULT_CARD_POLICY.volatile_memory, _MAX_VOLATILE),
        row.flag("answers_without_le"),
    )
    row.finish()
    return policy


def _production(row: _Table) -> ProductionData:
    values: dict[str, int] = {}
    for key, name in _PRODUCTION.items():
        if row.has(key):
            values[name] = _production_value(row, key)
    row.finish()
    data = ProductionData(**values)
    try:
        data.encode()
    except ValueError as error:
        raise CardProfileError("production", str(error)) from error
    return data


def _production_value(row: _Table, key: str) -> int:
    if not key.endswith("_date"):
        raw, length = row.hexadecimal(key), 4 if key in _EQUIPMENT else 2
        if len(raw) != length:
            raise CardProfileError(row.at(key), f"has not {length} bytes")
        return int.from_bytes(raw, "big")
    value = row.pop(key)
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise CardProfileError(row.at(key), "is no date")
    return encode_date(value)


def encode_date(day: dt.date) -> int:
    """A date of CPLC: YDDD in BCD, last digit of the year and day of the year."""
    return int(f"{day.year % _DECIMAL}{day.timetuple().tm_yday:03d}", 16)
