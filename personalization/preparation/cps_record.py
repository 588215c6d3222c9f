"""An input record after EMV CPS: the data of one application with the instructions for the device that stores them.

The record says what EMV CPS wants a preparer to tell a personalization device: which version of the record this is
(VERSIONCNTL), in which order the groupings go (ORDER), which of them share a STORE DATA command (GROUP), which arrive
encrypted under the transport key and leave encrypted under the card's (ENC), at which security level the session runs
(SECLEV), and a MAC over all of it. Big-endian throughout:

```
VERSIONCNTL    4  text, "02.1"
LENGTH         4  bytes that follow, MAC included
AID            1  its length ‖ AID of the application
SECLEV         1  security level of the session
TKID           1  its length ‖ identifier of the transport key
ORDER          2  how many ‖ DGI (2) each
GROUP          2  how many groups ‖ of each: how many (2) ‖ DGI (2) each
ENC            2  how many ‖ DGI (2) each
DATA           4  length ‖ groupings: DGI (2) ‖ length (1, or FF and 2) ‖ value
MAC            8  leftmost bytes of AES-CMAC over everything before it, under the MAC key of the transport key
```

Deviates: the names and the rules are those of EMV CPS; the layout of the fields is ours, because that text gives it to
licensed readers only. AES-CMAC takes the place of its triple DES MAC.

Source: EMV Card Personalization Specification 1.1, clauses 2 (data groupings, order and grouping), 3 (data
preparation) and 5 (encryption of secret groupings).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import construct
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform.data_key import DataKey
from personalization.globalplatform.store_data import DataGrouping, Padding, encode_grouping, grouped_blocks
from personalization.preparation.dgi import encode_groupings, parse_groupings

VERSION: Final = b"02.1"
_MAC_LENGTH: Final = 8
_HEAD_LENGTH: Final = 8

_BYTE: Final[Any] = construct.Int8ub
_OFFSET: Final[Any] = construct.Tell
_DGI_LIST: Final = construct.PrefixedArray(construct.Int16ub, construct.Int16ub)
_BODY: Final[Any] = construct.Struct(
    "aid" / construct.Prefixed(construct.Int8ub, construct.GreedyBytes),
    "level" / _BYTE,
    "transport_key" / construct.Prefixed(construct.Int8ub, construct.GreedyBytes),
    "order" / _DGI_LIST,
    "groups" / construct.PrefixedArray(construct.Int16ub, _DGI_LIST),
    "encrypted" / _DGI_LIST,
    "data" / construct.Prefixed(construct.Int32ub, construct.GreedyBytes),
    "mac" / construct.Bytes(_MAC_LENGTH),
)
_RECORD: Final[Any] = construct.Struct(
    "version" / construct.Bytes(len(VERSION)),
    "body" / construct.Prefixed(construct.Int32ub, construct.GreedyBytes),
    "end" / _OFFSET,
)


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the personalization device has to do with the groupings (PDI).

    Attributes:
        order: DGIs in the order in which they go; those that are not named follow as they stand.
        groups: DGIs of one inner sequence share a STORE DATA command as far as they fit.
        encrypted: DGIs that are secret.
        level: security level of the session.
    """

    order: tuple[int, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    encrypted: tuple[int, ...] = ()
    level: int = 0x33


@dataclass(frozen=True, slots=True)
class InputRecord:
    """The data of one application on one card.

    Attributes:
        aid: AID of the application.
        groupings: what it gets; secret ones under the transport key.
        instructions: how it gets them.
        transport_key: identifier of the key that secret groupings are under.
    """

    aid: bytes
    groupings: tuple[DataGrouping, ...] = field(repr=False)
    instructions: Instructions = Instructions()
    transport_key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Refuse instructions that do not fit the groupings.

        Raises:
            PersonalizationError: "cps-record-inconsistent".
        """
        present = [item.identifier for item in self.groupings]
        told = self.instructions
        named = [*told.order, *told.encrypted, *(dgi for group in told.groups for dgi in group)]
        if missing := sorted(set(named) - set(present)):
            raise _inconsistent(missing[0], "is named and not there")
        grouped = [dgi for group in told.groups for dgi in group]
        for identifiers in (present, list(told.order), grouped):
            if doubled := sorted(dgi for dgi in set(identifiers) if identifiers.count(dgi) > 1):
                raise _inconsistent(doubled[0], "comes twice")

    def encode(self, mac_key: bytes) -> bytes:
        """The bytes of the record.

        Args:
            mac_key: AES key, MAC key of the transport key.

        Raises:
            PersonalizationError: "cps-record-unfit": a field does not fit its place.
        """
        told = self.instructions
        content: dict[str, object] = {
            "aid": self.aid,
            "level": told.level,
            "transport_key": self.transport_key,
            "order": list(told.order),
            "groups": [list(group) for group in told.groups],
            "encrypted": list(told.encrypted),
            "data": encode_groupings(self.groupings),
            "mac": bytes(_MAC_LENGTH),
        }
        try:
            body: bytes = _BODY.build(content)
        except construct.ConstructError as error:
            raise PersonalizationError("cps-record-unfit") from error
        unsealed = VERSION + len(body).to_bytes(4, "big") + body[:-_MAC_LENGTH]
        return unsealed + _mac(mac_key, unsealed)

    @classmethod
    def parse(cls, raw: bytes, mac_key: bytes) -> InputRecord:
        """Read a record; nothing in it is looked at before its MAC was verified.

        Raises:
            PersonalizationError: "cps-record-not-authentic", "cps-record-malformed", "cps-record-inconsistent".
        """
        if not hmac.compare_digest(_mac(mac_key, raw[:-_MAC_LENGTH]), raw[-_MAC_LENGTH:]):
            raise PersonalizationError("cps-record-not-authentic")
        try:
            record = _RECORD.parse(raw)
            told = _BODY.parse(bytes(record.body))
        except construct.ConstructError as error:
            raise PersonalizationError("cps-record-malformed", reason=type(error).__name__) from None
        if bytes(record.version) != VERSION or record.end != len(raw):
            raise PersonalizationError("cps-record-malformed", reason="another version or length")
        encrypted = tuple(int(dgi) for dgi in told.encrypted)
        groupings = tuple(
            DataGrouping(item.identifier, item.value, item.identifier in encrypted)
            for item in parse_groupings(bytes(told.data))
        )
        instructions = Instructions(
            tuple(int(dgi) for dgi in told.order),
            tuple(tuple(int(dgi) for dgi in group) for group in told.groups),
            encrypted,
            int(told.level),
        )
        return cls(bytes(told.aid), groupings, instructions, bytes(told.transport_key))

    def ordered(self) -> tuple[DataGrouping, ...]:
        """The groupings in the order in which they go, marked where they are secret."""
        told = self.instructions
        rank = {dgi: position for position, dgi in enumerate(told.order)}
        marked = [item._replace(encrypted=item.identifier in told.encrypted) for item in self.groupings]
        return tuple(sorted(marked, key=lambda item: rank.get(item.identifier, len(rank))))

    def store_data(self, data_key: DataKey, max_data: int, padding: Padding = Padding.NEEDED) -> list[CommandApdu]:
        """STORE DATA commands: in order, grouped, secret groupings under the card's key.

        The groupings have to be in clear here: whoever holds the transport key has taken it off before.

        Args:
            data_key: of the session, see `SecureSession.data_key`: the DEK session key in ECB mode for SCP02, the
                static Key-DEK in CBC mode with a zero ICV for SCP03.
            max_data: most data bytes of one command.
            padding: what the application wants of secret groupings.

        Raises:
            PersonalizationError: "too-many-blocks", "grouping-too-long", "grouping-not-whole-blocks".
        """
        return grouped_blocks(
            [
                [(item.encrypted, encode_grouping(item, data_key, padding)) for item in group]
                for group in self._runs(self.ordered())
            ],
            max_data=max_data,
        )

    def _runs(self, ordered: Sequence[DataGrouping]) -> list[list[DataGrouping]]:
        """Neighbours of one group together, every other grouping by itself."""
        group_of = {dgi: number for number, group in enumerate(self.instructions.groups) for dgi in group}
        runs: list[list[DataGrouping]] = []
        for item in ordered:
            group = group_of.get(item.identifier)
            if runs and group is not None and group_of.get(runs[-1][-1].identifier) == group:
                runs[-1].append(item)
            else:
                runs.append([item])
        return runs


def _mac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(data)
    return mac.finalize()[:_MAC_LENGTH]


def _inconsistent(dgi: int, reason: str) -> PersonalizationError:
    return PersonalizationError("cps-record-inconsistent", identifier=f"{dgi:04X}", reason=reason)
