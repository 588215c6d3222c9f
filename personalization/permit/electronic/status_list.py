"""The status list: which permits and passes are not good any more, signed, with deltas between issues.

An entry is found by a hash under the list's salt, so that the list names nobody. Content, deterministic CBOR, signed as
a COSE_Sign1:

```
1  sequence, counts issues from 1
2  time of issue, seconds since 1970 UTC
3  salt, 16 bytes, the same in all issues of a list
4  entries: handle (8) ‖ status (1), in order of the handles, each handle once
5  delta only: sequence that it changes
6  delta only: handles (8 each) that are taken out
7  delta only: SHA-256 of the entries of the list that comes out
```

handle = first 8 bytes of SHA-256(salt ‖ kind (1) ‖ permit number as ASCII, or identifier of the pass).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import cbor2

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyStore
from personalization.permit.electronic.signed_message import SignatureRefused, TrustedSigners, sign_message

SALT_LENGTH: Final = 16
_HANDLE: Final = 8
_ENTRY: Final = _HANDLE + 1
_USE: Final = b"permitcard status list 1"
_FULL: Final = frozenset({1, 2, 3, 4})
_DELTA: Final = _FULL | {5, 6, 7}


class Kind(IntEnum):
    """What an entry is about."""

    PERMIT = 1
    PASS = 2


class Standing(IntEnum):
    """Why something is not good any more."""

    CANCELLED = 1
    LOST = 2
    REPLACED = 3
    REVOKED = 4


@dataclass(frozen=True, slots=True)
class StatusList:
    """One issue of a list.

    Attributes:
        sequence: counts issues from 1.
        issued_at: aware, whole seconds.
        salt: 16 bytes.
        entries: standing by handle.
    """

    sequence: int
    issued_at: dt.datetime
    salt: bytes
    entries: Mapping[bytes, Standing]

    @classmethod
    def empty(cls, salt: bytes, issued_at: dt.datetime) -> StatusList:
        """The first issue of a list."""
        return cls(1, issued_at, salt, MappingProxyType({}))

    def standing(self, kind: Kind, value: bytes) -> Standing | None:
        """Why a permit or pass is not good any more, None when the list does not hold it."""
        return self.entries.get(self.handle(kind, value))

    def handle(self, kind: Kind, value: bytes) -> bytes:
        """The name under which a permit number or an identifier of a pass stands."""
        return hashlib.sha256(self.salt + bytes((kind,)) + value).digest()[:_HANDLE]

    def changed(
        self,
        issued_at: dt.datetime,
        added: Mapping[tuple[Kind, bytes], Standing],
        removed: frozenset[tuple[Kind, bytes]] = frozenset(),
    ) -> StatusList:
        """The next issue, with entries added and taken out."""
        entries = dict(self.entries)
        for kind, value in removed:
            entries.pop(self.handle(kind, value), None)
        for (kind, value), standing in added.items():
            entries[self.handle(kind, value)] = standing
        return replace(self, sequence=self.sequence + 1, issued_at=issued_at, entries=MappingProxyType(entries))

    def age(self, now: dt.datetime) -> dt.timedelta:
        """How old the issue is."""
        return now - self.issued_at

    def sign(self, store: KeyStore) -> bytes:
        """The whole issue, signed."""
        return sign_message(store, _dumps(self._head() | {4: _packed(self.entries)}), _USE)

    def sign_delta(self, store: KeyStore, base: StatusList) -> bytes:
        """What changed since an earlier issue of the same list, signed."""
        added = {handle: standing for handle, standing in self.entries.items() if base.entries.get(handle) != standing}
        removed = sorted(base.entries.keys() - self.entries.keys())
        content = self._head() | {
            4: _packed(added),
            5: base.sequence,
            6: b"".join(removed),
            7: _digest(self.entries),
        }
        return sign_message(store, _dumps(content), _USE)

    def _head(self) -> dict[int, object]:
        return {1: self.sequence, 2: int(self.issued_at.timestamp()), 3: self.salt}


def read_status_list(message: bytes, signers: TrustedSigners) -> StatusList:
    """A whole issue, once its signature and form are right.

    Raises:
        PersonalizationError: "status-list-refused" (exit 1) with the reason.
    """
    content = _content(message, signers, _FULL)
    return StatusList(content[1], _time(content[2]), content[3], MappingProxyType(_unpacked(content[4])))


def apply_delta(base: StatusList, message: bytes, signers: TrustedSigners) -> StatusList:
    """The issue that a delta leads to from ``base``; it is what the office signed, or nothing.

    Raises:
        PersonalizationError: "status-list-refused" with the reason: "base" when it changes another issue or another
            list, "digest" when something else comes out.
    """
    content = _content(message, signers, _DELTA)
    if content[5] != base.sequence or content[3] != base.salt or content[1] <= base.sequence:
        raise _refused("base")
    if not isinstance(content[6], bytes) or len(content[6]) % _HANDLE:
        raise _refused("form")
    entries = dict(base.entries)
    for at in range(0, len(content[6]), _HANDLE):
        entries.pop(content[6][at : at + _HANDLE], None)
    entries.update(_unpacked(content[4]))
    if _digest(entries) != content[7]:
        raise _refused("digest")
    return StatusList(content[1], _time(content[2]), base.salt, MappingProxyType(entries))


def _content(message: bytes, signers: TrustedSigners, keys: frozenset[int]) -> dict[int, Any]:
    try:
        payload = signers.verify(message, _USE)
        content = cbor2.loads(payload)
    except SignatureRefused as error:
        raise _refused(error.code) from error
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise _refused("form") from error
    if not isinstance(content, dict) or frozenset(content) != keys or _dumps(content) != payload:
        raise _refused("form")
    salt = content[3]
    if not isinstance(content[1], int) or not isinstance(salt, bytes) or len(salt) != SALT_LENGTH:
        raise _refused("form")
    return content


def _packed(entries: Mapping[bytes, Standing]) -> bytes:
    return b"".join(handle + bytes((entries[handle],)) for handle in sorted(entries))


def _unpacked(raw: object) -> dict[bytes, Standing]:
    if not isinstance(raw, bytes) or len(raw) % _ENTRY:
        raise _refused("form")
    pieces = [raw[at : at + _ENTRY] for at in range(0, len(raw), _ENTRY)]
    try:
        entries = {piece[:_HANDLE]: Standing(piece[_HANDLE]) for piece in pieces}
    except ValueError as error:
        raise _refused("form") from error
    if _packed(entries) != raw:
        raise _refused("form")
    return entries


def _digest(entries: Mapping[bytes, Standing]) -> bytes:
    return hashlib.sha256(_packed(entries)).digest()


def _dumps(content: Mapping[int, object]) -> bytes:
    return cbor2.dumps(dict(content), canonical=True)


def _time(value: object) -> dt.datetime:
    if not isinstance(value, int):
        raise _refused("form")
    try:
        return dt.datetime.fromtimestamp(value, dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise _refused("form") from error


def _refused(reason: str) -> PersonalizationError:
    return PersonalizationError("status-list-refused", reason=reason)
