"""A key ceremony: keys that several custodians bring in components, put together where no one of them sees the whole.

A key is the XOR of its components; any of them alone, and all but one together, say nothing of it. Each component comes
with its check value, which is compared before it is taken; the check value of the whole is compared with what the
custodians have on paper. Nothing of a component or a key is in the transcript.

A component file, one custodian's, mode 600::

    permitcard key component
    key: card
    custodian: li
    component: 8C1A…           hexadecimal
    check value: 3FA201

Source: ISO 11568:2023, clauses 4 and 5 (split knowledge, dual control); the XOR of full-length components is that of
ANSI X9.24-1-2017, clause 7.3.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError, unread
from personalization.keys.check_values import aes_check_value, hmac_check_value
from personalization.keys.keystore import KEY_LENGTHS, KEY_USES, KeyName, KeyStore, KeyUse

TRANSCRIPT_KIND: Final = "permitcard key ceremony transcript"
VERSION: Final = 1
FEWEST_CUSTODIANS: Final = 2

_FILE_TITLE: Final = "permitcard key component"
_USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Component:
    """One custodian's part of one key.

    Attributes:
        key: which key.
        custodian: whose.
        value: as long as the key.
    """

    key: KeyName
    custodian: str
    value: bytes = field(repr=False)

    @property
    def check_value(self) -> bytes:
        """Three bytes."""
        return check_value_of(self.key, self.value)


def check_value_of(name: KeyName, value: bytes) -> bytes:
    """Check value of a key or component that is in the host."""
    return hmac_check_value(value) if KeyUse.RECOGNISE in KEY_USES[name] else aes_check_value(value)


def new_component(key: KeyName, custodian: str) -> Component:
    """A component at random.

    Raises:
        PersonalizationError: "component-of-a-pair" (exit 2), a key pair has no components.
    """
    return Component(key, custodian, os.urandom(length_of(key)))


def length_of(key: KeyName) -> int:
    """Bytes of a symmetric key.

    Raises:
        PersonalizationError: "component-of-a-pair", exit 2.
    """
    if key not in KEY_LENGTHS:
        raise PersonalizationError("component-of-a-pair", exit_code=_USAGE, key=key.value)
    return KEY_LENGTHS[key]


def entered(key: KeyName, custodian: str, value: str, check_value: str) -> Component:
    """A component as a custodian typed it, with the check value that is on the custodian's paper.

    Raises:
        PersonalizationError: exit 2: "component-malformed", "component-check-value".
    """
    try:
        component = Component(key, custodian, bytes.fromhex(value))
        expected = bytes.fromhex(check_value)
    except ValueError:
        raise PersonalizationError(
            "component-malformed", exit_code=_USAGE, key=key.value, custodian=custodian
        ) from None
    if len(component.value) != length_of(key):
        raise PersonalizationError("component-malformed", exit_code=_USAGE, key=key.value, custodian=custodian)
    if not hmac.compare_digest(component.check_value, expected):
        raise PersonalizationError("component-check-value", exit_code=_USAGE, key=key.value, custodian=custodian)
    return component


def combine(key: KeyName, components: Sequence[Component]) -> bytes:
    """The key: the XOR of all components.

    Raises:
        PersonalizationError: exit 2: "custodians-too-few", "custodian-twice", "components-equal" (two that are equal
            cancel each other), "key-weak" (the whole is nothing but zeros).
    """
    if len(components) < FEWEST_CUSTODIANS:
        raise PersonalizationError("custodians-too-few", exit_code=_USAGE, key=key.value, fewest=FEWEST_CUSTODIANS)
    if len({component.custodian for component in components}) != len(components):
        raise PersonalizationError("custodian-twice", exit_code=_USAGE, key=key.value)
    if len({component.value for component in components}) != len(components):
        raise PersonalizationError("components-equal", exit_code=_USAGE, key=key.value)
    whole = 0
    for component in components:
        whole ^= int.from_bytes(component.value, "big")
    if not whole:
        raise PersonalizationError("key-weak", exit_code=_USAGE, key=key.value)
    return whole.to_bytes(length_of(key), "big")


def write_component(path: Path, component: Component) -> None:
    """Write a component file that only its owner can read.

    Raises:
        PersonalizationError: "component-exists", exit 2.
    """
    lines = (
        _FILE_TITLE,
        f"key: {component.key.value}",
        f"custodian: {component.custodian}",
        f"component: {component.value.hex().upper()}",
        f"check value: {component.check_value.hex().upper()}",
    )
    try:
        write_atomically(path, "\n".join([*lines, ""]).encode(), replace=False)
    except FileExistsError:
        raise PersonalizationError("component-exists", exit_code=_USAGE, file=str(path)) from None


def read_component(path: Path) -> Component:
    """Read a component file.

    Raises:
        PersonalizationError: exit 2: "component-file-malformed", "component-check-value", "component-file-missing".
    """
    try:
        title, *lines = path.read_text("utf-8").splitlines()
        named = dict(line.split(": ", 1) for line in lines if line)
        key = KeyName(named["key"])
        custodian, value, check_value = named["custodian"], named["component"], named["check value"]
    except OSError as error:
        missing = PersonalizationError("component-file-missing", exit_code=_USAGE, file=str(path))
        raise unread(error, path, missing) from None
    except (ValueError, KeyError):
        # The cause is not chained: it may quote the component.
        raise PersonalizationError("component-file-malformed", exit_code=_USAGE, file=str(path)) from None
    if title != _FILE_TITLE:
        raise PersonalizationError("component-file-malformed", exit_code=_USAGE, file=str(path))
    return entered(key, custodian, value, check_value)


def transcript(
    store: KeyStore,
    components: Mapping[KeyName, Sequence[Component]],
    witnesses: Sequence[str],
    *,
    rehearsal: bool,
    place: str,
) -> dict[str, object]:
    """What happened, to be signed: who brought what, by check value, and which keys the store holds now."""
    return {
        "kind": TRANSCRIPT_KIND,
        "version": VERSION,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rehearsal": rehearsal,
        "production": store.production,
        "store": place,
        "witnesses": list(witnesses),
        "components": {
            name.value: {part.custodian: part.check_value.hex().upper() for part in parts}
            for name, parts in components.items()
        },
        "generated": [name.value for name in KeyName if name not in components],
        "check_values": {name.value: store.check_value(name).hex().upper() for name in KeyName},
    }
