"""What an electronic permit says: the data of the card, its term, and the hash of the portrait.

Claims, CBOR (a CWT):

```
1   issuer: area code of the office
4   end of validity: seconds since 1970 UTC; the first moment of the day after the due day, in China
5   begin of validity, same form
6   time of issue, same form
7   identifier of the pass, 16 bytes
-70001  data of the permit: a map of the fields of `Field`
```

Source: RFC 8392, clause 3.1 (claims); RFC 8949, clause 4.2 (deterministic encoding). The private claim and its fields
are our own.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import cbor2

IDENTIFIER_LENGTH: Final = 16
HASH_LENGTH: Final = 32
CHINA: Final = dt.timezone(dt.timedelta(hours=8), "UTC+8")
_MAX_TEXT: Final = 400


class Claim(IntEnum):
    """Keys of the claims."""

    ISSUER = 1
    EXPIRES = 4
    NOT_BEFORE = 5
    ISSUED_AT = 6
    IDENTIFIER = 7
    PERMIT = -70001


class Field(IntEnum):
    """Keys of the permit's data, in the order of the card's identity section."""

    PERMIT_NUMBER = 1
    NAME = 2
    SEX = 3
    ETHNIC_GROUP = 4
    BIRTH_DATE = 5
    CITIZEN_NUMBER = 6
    REGISTERED_ADDRESS = 7
    CURRENT_ADDRESS = 8
    ISSUING_AUTHORITY = 9
    ISSUE_DATE = 10
    ENDORSEMENT_DUE = 11
    AREA = 12
    PORTRAIT_HASH = 13


class ClaimsError(ValueError):
    """The claims are not those of an electronic permit."""


@dataclass(frozen=True, slots=True)
class ElectronicPermit:
    """The content of a pass.

    Attributes:
        identifier: 16 random bytes; a pass that is issued again has another.
        issued_at: when it was issued, aware, whole seconds.
        portrait_hash: SHA-256 of the portrait's JPEG as it stands on the card.
        current_address: empty when none is registered.
    """

    identifier: bytes
    issued_at: dt.datetime
    area: str
    permit_number: str = field(repr=False)
    name: str = field(repr=False)
    sex: str = field(repr=False)
    ethnic_group: str = field(repr=False)
    birth_date: dt.date = field(repr=False)
    citizen_number: str = field(repr=False)
    registered_address: str = field(repr=False)
    current_address: str = field(repr=False)
    issuing_authority: str
    issue_date: dt.date
    endorsement_due: dt.date
    portrait_hash: bytes = field(repr=False)

    @property
    def expires_at(self) -> dt.datetime:
        """The first moment at which it is no longer good: midnight in China after the due day."""
        return dt.datetime.combine(self.endorsement_due + dt.timedelta(days=1), dt.time(), CHINA)

    def encode(self) -> bytes:
        """The claims in deterministic CBOR."""
        permit = {
            int(Field.PERMIT_NUMBER): self.permit_number,
            int(Field.NAME): self.name,
            int(Field.SEX): self.sex,
            int(Field.ETHNIC_GROUP): self.ethnic_group,
            int(Field.BIRTH_DATE): _digits(self.birth_date),
            int(Field.CITIZEN_NUMBER): self.citizen_number,
            int(Field.REGISTERED_ADDRESS): self.registered_address,
            int(Field.CURRENT_ADDRESS): self.current_address,
            int(Field.ISSUING_AUTHORITY): self.issuing_authority,
            int(Field.ISSUE_DATE): _digits(self.issue_date),
            int(Field.ENDORSEMENT_DUE): _digits(self.endorsement_due),
            int(Field.AREA): self.area,
            int(Field.PORTRAIT_HASH): self.portrait_hash,
        }
        issued = int(self.issued_at.timestamp())
        claims: dict[int, object] = {
            int(Claim.ISSUER): self.area,
            int(Claim.EXPIRES): int(self.expires_at.timestamp()),
            int(Claim.NOT_BEFORE): issued,
            int(Claim.ISSUED_AT): issued,
            int(Claim.IDENTIFIER): self.identifier,
            int(Claim.PERMIT): permit,
        }
        return cbor2.dumps(claims, canonical=True)

    @classmethod
    def decode(cls, raw: bytes) -> ElectronicPermit:
        """Read claims; exactly the bytes that `encode` gives are taken.

        Raises:
            ClaimsError: anything else.
        """
        try:
            claims = cbor2.loads(raw)
        except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError) as error:
            raise ClaimsError("no CBOR") from error
        permit = claims.get(int(Claim.PERMIT)) if isinstance(claims, dict) else None
        if not isinstance(permit, dict) or set(permit) != {int(item) for item in Field}:
            raise ClaimsError("not the fields of a permit")
        if set(claims) != {int(item) for item in Claim}:
            raise ClaimsError("not the claims of a pass")
        found = cls(
            identifier=_octets(claims[Claim.IDENTIFIER], IDENTIFIER_LENGTH),
            issued_at=_time(claims[Claim.ISSUED_AT]),
            area=_text(permit[Field.AREA]),
            permit_number=_text(permit[Field.PERMIT_NUMBER]),
            name=_text(permit[Field.NAME]),
            sex=_text(permit[Field.SEX]),
            ethnic_group=_text(permit[Field.ETHNIC_GROUP]),
            birth_date=_date(permit[Field.BIRTH_DATE]),
            citizen_number=_text(permit[Field.CITIZEN_NUMBER]),
            registered_address=_text(permit[Field.REGISTERED_ADDRESS]),
            current_address=_text(permit[Field.CURRENT_ADDRESS]),
            issuing_authority=_text(permit[Field.ISSUING_AUTHORITY]),
            issue_date=_date(permit[Field.ISSUE_DATE]),
            endorsement_due=_date(permit[Field.ENDORSEMENT_DUE]),
            portrait_hash=_octets(permit[Field.PORTRAIT_HASH], HASH_LENGTH),
        )
        if found.encode() != raw:
            raise ClaimsError("not in the form that is signed")
        return found


def _digits(day: dt.date) -> str:
    return f"{day:%Y%m%d}"


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ClaimsError("no text")
    return value


def _octets(value: object, length: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        raise ClaimsError("no octets of that length")
    return value


def _date(value: object) -> dt.date:
    text = _text(value)
    try:
        return dt.datetime.strptime(text, "%Y%m%d").replace(tzinfo=CHINA).date()
    except ValueError as error:
        raise ClaimsError("no date") from error


def _time(value: object) -> dt.datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ClaimsError("no time")
    try:
        return dt.datetime.fromtimestamp(value, dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ClaimsError("no time") from error
