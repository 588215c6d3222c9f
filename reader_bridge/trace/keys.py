"""The keys that open a trace: given in a file, or by whoever holds them.

```toml
[[secure-channel]]          # static keys of a GlobalPlatform security domain, SCP02 or SCP03
version = "01"              # key version; without: any
enc = "404142434445464748494A4B4C4D4E4F"
mac = "404142434445464748494A4B4C4D4E4F"

[[role]]                    # a pair K.ENC, K.MAC of MUTUAL AUTHENTICATE, 32 bytes
reference = "81"
key = "..."

[[session]]                 # session keys of secure messaging, in the order in which the sessions begin
cipher = "aes"              # or "3des"
enc = "..."
mac = "..."
counter = "00000000000000000000000000000000"    # send sequence counter before the first command
```

PACE resists somebody who only listens: its password does not open a trace, its session keys do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self, cast

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from reader_bridge.connection import ReaderError

_LENGTHS: Final = frozenset({16, 24, 32})
_PAIR: Final = 32
_COUNTERS: Final = {"aes": 16, "3des": 8}


@dataclass(frozen=True, slots=True)
class ChannelKeys:
    """Static keys of a security domain; the values never show.

    Attributes:
        enc: Key-ENC.
        mac: Key-MAC.
        version: key version, None for any.
    """

    enc: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    version: int | None = None


@dataclass(frozen=True, slots=True)
class MessagingKeys:
    """Session keys of secure messaging; the values never show.

    Attributes:
        enc: KS.ENC.
        mac: KS.MAC.
        counter: send sequence counter before the first command.
        tdes: triple DES with a counter of 8 bytes, else AES with one of 16.
    """

    enc: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    counter: int = 0
    tdes: bool = False


class TraceKeys(Protocol):
    """Whoever knows keys of the card that a trace is of."""

    def saw(self, command: CommandApdu, response: ResponseApdu) -> None:
        """A plain exchange, from which the holder may learn which card it is."""
        ...

    def channel(self, version: int, diversification: bytes) -> tuple[ChannelKeys, ...]:
        """Key sets that a security domain may have used, to be tried in order."""
        ...

    def role(self, reference: int) -> bytes | None:
        """K.ENC ‖ K.MAC of a role key, 32 bytes."""
        ...

    def session(self, number: int) -> MessagingKeys | None:
        """Session keys of the secure messaging session with this number, counted from 0."""
        ...


@dataclass(frozen=True, slots=True)
class FileKeys:
    """Keys out of a file.

    Attributes:
        channels: static keys of security domains.
        roles: by reference.
        sessions: in their order.
    """

    channels: tuple[ChannelKeys, ...] = ()
    roles: Mapping[int, bytes] = field(default_factory=dict[int, bytes], repr=False)
    sessions: tuple[MessagingKeys, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            ReaderError: "trace-keys-unreadable", or "trace-keys-invalid" with the reason.
        """
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ReaderError("trace-keys-unreadable", path=str(path)) from error
        except tomllib.TOMLDecodeError as error:
            raise ReaderError("trace-keys-invalid", path=str(path), reason="no TOML") from error
        try:
            return cls._read(document)
        except ValueError as error:
            raise ReaderError("trace-keys-invalid", path=str(path), reason=str(error)) from error

    @classmethod
    def _read(cls, document: Mapping[str, object]) -> Self:
        if extra := document.keys() - {"secure-channel", "role", "session"}:
            raise ValueError(f"{min(extra)} is none of secure-channel, role, session")
        channels = tuple(
            ChannelKeys(
                _octets(row, "enc", _LENGTHS),
                _octets(row, "mac", _LENGTHS),
                _octets(row, "version", {1})[0] if "version" in row else None,
            )
            for row in _rows(document, "secure-channel", {"enc", "mac", "dek", "version"})
        )
        roles = {
            _octets(row, "reference", {1})[0]: _octets(row, "key", {_PAIR})
            for row in _rows(document, "role", {"reference", "key"})
        }
        sessions = tuple(_session(row) for row in _rows(document, "session", {"cipher", "enc", "mac", "counter"}))
        return cls(channels, roles, sessions)

    def saw(self, command: CommandApdu, response: ResponseApdu) -> None:
        """Nothing: the keys are those of one card."""

    def channel(self, version: int, diversification: bytes) -> tuple[ChannelKeys, ...]:
        """Key sets of that version or of any."""
        del diversification
        return tuple(keys for keys in self.channels if keys.version in {None, version})

    def role(self, reference: int) -> bytes | None:
        """The pair with that reference."""
        return self.roles.get(reference)

    def session(self, number: int) -> MessagingKeys | None:
        """The session with that number."""
        return self.sessions[number] if number < len(self.sessions) else None


def _session(row: Mapping[str, object]) -> MessagingKeys:
    cipher = row.get("cipher", "aes")
    if cipher not in _COUNTERS:
        raise ValueError("cipher is aes or 3des")
    counter = _octets(row, "counter", {_COUNTERS[str(cipher)]}) if "counter" in row else b""
    return MessagingKeys(
        _octets(row, "enc", _LENGTHS), _octets(row, "mac", _LENGTHS), int.from_bytes(counter, "big"), cipher == "3des"
    )


def _rows(document: Mapping[str, object], name: str, keys: set[str]) -> list[Mapping[str, object]]:
    found = document.get(name, [])
    rows: list[Mapping[str, object]] = []
    for row in cast("list[object]", found) if isinstance(found, list) else [found]:
        if not isinstance(row, dict):
            raise ValueError(f"[[{name}]] is a list of tables")  # noqa: TRY004 - a user's mistake in a file
        table = cast("dict[str, object]", row)
        if extra := table.keys() - keys:
            raise ValueError(f"{min(extra)} says nothing in [[{name}]]")
        rows.append(table)
    return rows


def _octets(row: Mapping[str, object], name: str, lengths: frozenset[int] | set[int]) -> bytes:
    """A hexadecimal value; the message never repeats it."""
    try:
        value = bytes.fromhex(str(row[name]))
    except KeyError as error:
        raise ValueError(f"{name} is missing") from error
    except ValueError as error:
        raise ValueError(f"{name} is not hexadecimal") from error
    if len(value) not in lengths:
        raise ValueError(f"{name} has {' or '.join(map(str, sorted(lengths)))} bytes")
    return value
