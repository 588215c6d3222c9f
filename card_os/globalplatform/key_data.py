"""Key data fields of PUT KEY: from the bytes of the command to keys in clear.

```
basic      type (1)     ‖ length ‖ component …  ‖ check value length ‖ check value
extended   FF ‖ type (1) ‖ length ‖ component …  ‖ the same ‖ usage length ‖ usage ‖ access length ‖ access
```

A component of a secret key is encrypted: whole blocks, or the clear length and then whole blocks. Every type of
component is 80 or more and every length of a check value less, so the end of the components shows (11.8.2.3.1).

Source: GlobalPlatform Card Specification 2.3.1, clause 11.8.2.3 (tables 11-67 to 11-77); Amendment D v1.1.1,
clause 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from card_os.globalplatform.curve_parameters import with_reference
from card_os.globalplatform.key_types import (
    CHECKED_TYPES,
    SECRET_TYPES,
    DomainKey,
    KeyComponent,
    KeyType,
    check_components,
)
from card_os.iso7816.errors import SecurityStatusNotSatisfied, WrongData
from card_os.security.cryptography import CHECK_VALUE_LENGTH, equal

if TYPE_CHECKING:
    from card_os.globalplatform.secure_channel import DomainChannel

_EXTENDED: Final = 0xFF
_FIRST_TYPE: Final = 0x80
_LONGEST_ONE_BYTE: Final = 0x80
_TWO_BYTES: Final = 0x81
_THREE_BYTES: Final = 0x82
_USAGE_BYTES: Final = 2


class _Reader:
    """A position in the data field."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    @property
    def at(self) -> int:
        """Offset of the next byte."""
        return self._at

    def peek(self) -> int:
        """The next byte, which stays; 0 at the end."""
        return self._data[self._at] if self._at < len(self._data) else 0

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            WrongData: 6A80, there are fewer.
        """
        end = self._at + count
        if end > len(self._data):
            raise WrongData("key data is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def length(self) -> int:
        """A length: 00 to 80, 81 and one byte, or 82 and two (11.8.2.3.1).

        Raises:
            WrongData: 6A80, another form.
        """
        first = self.take(1)[0]
        if first <= _LONGEST_ONE_BYTE:
            return first
        if first == _TWO_BYTES:
            return self.take(1)[0]
        if first == _THREE_BYTES:
            return int.from_bytes(self.take(2), "big")
        raise WrongData("no form of a length")

    @classmethod
    def of(cls, data: bytes) -> Self:
        """A reader from the beginning."""
        return cls(data, 0)


def parse_keys(data: bytes, channel: DomainChannel, *, identifier: int, several: bool) -> list[DomainKey]:
    """The keys of a data field: new version (1) ‖ key data fields.

    Args:
        data: data field of PUT KEY.
        channel: the session, whose key for sensitive data decrypts.
        identifier: of the first key; each next one has one more.
        several: more than one key may come.

    Raises:
        WrongData: 6A80, malformed, or no sound key.
        SecurityStatusNotSatisfied: 6982, a check value is wrong; a host may leave it out (its length is 00 then), and
            compares what the card answers.
    """
    reader = _Reader.of(data)
    version = reader.take(1)[0]
    keys: list[DomainKey] = []
    while not keys or (several and reader.at < len(data)):
        keys.append(_parse_key(reader, channel, version, identifier + len(keys)))
    if reader.at < len(data):
        raise WrongData("more data than one key")
    return keys


def _parse_key(reader: _Reader, channel: DomainChannel, version: int, identifier: int) -> DomainKey:
    extended = reader.peek() == _EXTENDED
    components: list[KeyComponent] = []
    while reader.peek() >= _FIRST_TYPE:
        components.append(_parse_component(reader, channel, extended=extended))
    check = reader.take(reader.length())
    usage, access = 0, None
    if extended:
        qualifier, allowed = reader.take(reader.length()), reader.take(reader.length())
        if len(qualifier) > _USAGE_BYTES or len(allowed) > 1:
            raise WrongData("key usage or key access is too long")
        usage = int.from_bytes(qualifier.ljust(_USAGE_BYTES, b"\x00"), "big")
        access = allowed[0] if allowed else None
    try:
        key = DomainKey(version, identifier, with_reference(tuple(components)), usage, access)
        check_components(key.components)
    except (ValueError, IndexError) as error:
        raise WrongData("no sound key") from error
    if check and (key.key_type not in CHECKED_TYPES or len(check) != CHECK_VALUE_LENGTH):
        raise WrongData("a check value of another length, or where none is defined")
    if check and not equal(key.check_value(), check):
        raise SecurityStatusNotSatisfied("the check value is wrong")
    return key


def _parse_component(reader: _Reader, channel: DomainChannel, *, extended: bool) -> KeyComponent:
    if extended and reader.take(1)[0] != _EXTENDED:
        raise WrongData("basic and extended format in one key")
    try:
        key_type = KeyType(reader.take(1)[0])
    except ValueError as error:
        raise WrongData("no type of key that this domain keeps") from error
    block = reader.take(reader.length())
    return KeyComponent(key_type, _decrypt(block, channel) if key_type in SECRET_TYPES else block)


def _decrypt(block: bytes, channel: DomainChannel) -> bytes:
    """The clear value: a block that is no whole number of cipher blocks begins with the clear length (11.8.2.3.3)."""
    reader = _Reader.of(block)
    length = len(block) if len(block) % channel.sensitive_block == 0 else reader.length()
    cryptogram = reader.take(len(block) - reader.at)
    if not length or not length <= len(cryptogram) < length + channel.sensitive_block:
        raise WrongData("clear length and cryptogram do not fit")
    try:
        return channel.decrypt_sensitive(cryptogram)[:length]
    except ValueError as error:
        raise WrongData("an encrypted component is no whole number of blocks") from error
