"""The record between preparation and production: all that a station needs for one card but the card's number.

```
offset 0    1   version, 1
       1    4   row number
       5    32  recognition value of the permit number
       37   32  recognition value of the citizen number
       69   32  SHA-256 of the card's portrait: the face data of the row names the same picture
       101  1   number of PINs, then for each: PIN number (1) ‖ PIN block (8, ISO 9564 format 2)
            32  chip private key, P-256, big-endian
            …   plain groupings
```

Numbers are big-endian. The record is sealed on its own under the transport key (see `sealed_file`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, Self

from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import DataGrouping
from personalization.preparation.dgi import encode_groupings, parse_groupings

_VERSION: Final = 1
_HEADER: Final = struct.Struct(">BI32s32s32sB")
_PIN: Final = struct.Struct(">B8s")
_CHIP_KEY: Final = 32


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """One card's data as a station gets it; see the module for the form.

    Attributes:
        row_number: row of the batch.
        permit_recognition: HMAC of the permit number, 32 bytes.
        citizen_recognition: HMAC of the citizen number, 32 bytes.
        portrait_digest: SHA-256 of the portrait on the card; the reference to the row's face data.
        pin_blocks: PIN number (1..8) and PIN block.
        chip_private_key: 32 bytes, big-endian.
        groupings: what travels in plain, in order: file creation, file contents, identification last.
    """

    row_number: int
    permit_recognition: bytes = field(repr=False)
    citizen_recognition: bytes = field(repr=False)
    portrait_digest: bytes = field(repr=False)
    pin_blocks: tuple[tuple[int, bytes], ...] = field(repr=False)
    chip_private_key: bytes = field(repr=False)
    groupings: tuple[DataGrouping, ...] = field(repr=False)

    def encode(self) -> bytes:
        """The record in plain; it is sealed before it is written anywhere."""
        header = _HEADER.pack(
            _VERSION,
            self.row_number,
            self.permit_recognition,
            self.citizen_recognition,
            self.portrait_digest,
            len(self.pin_blocks),
        )
        pins = [_PIN.pack(number, block) for number, block in self.pin_blocks]
        return b"".join((header, *pins, self.chip_private_key, encode_groupings(self.groupings)))

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read an opened record.

        Raises:
            PersonalizationError: "record-malformed" or "grouping-malformed".
        """
        try:
            version, row_number, permit, citizen, portrait, pins = _HEADER.unpack_from(raw)
            if version != _VERSION:
                raise PersonalizationError("record-malformed", version=version)
            at = _HEADER.size
            blocks: list[tuple[int, bytes]] = []
            for _ in range(pins):
                number, block = _PIN.unpack_from(raw, at)
                blocks.append((number, block))
                at += _PIN.size
        except struct.error:
            raise PersonalizationError("record-malformed", length=len(raw)) from None
        chip_key = raw[at : at + _CHIP_KEY]
        if len(chip_key) != _CHIP_KEY:
            raise PersonalizationError("record-malformed", length=len(raw))
        return cls(
            row_number, permit, citizen, portrait, tuple(blocks), chip_key, parse_groupings(raw[at + _CHIP_KEY :])
        )
