"""Card production life cycle data (CPLC), and the number of the chip that is part of it.

42 bytes, big-endian:

```
offset  0 2 IC fabricator      offset 10 2 IC fabrication date   offset 26 2 IC pre-personalizer
offset  2 2 IC type            offset 12 4 IC serial number      offset 28 2 date
offset  4 2 operating system   offset 16 2 IC batch              offset 30 4 equipment
offset  6 2 its release date   offset 18 2 module fabricator     offset 34 2 IC personalizer
offset  8 2 its release level  offset 20 2 module packaging date offset 36 2 date
                               offset 22 2 ICC manufacturer      offset 38 4 equipment
                               offset 24 2 IC embedding date
```

Dates are YDDD in BCD: last digit of the year, day of the year.

Source: GlobalPlatform Card Specification 2.3.1, appendix H.6 names tag 9F7F; the layout is the industry's (Visa GP Card
Production Guide), not the specification's.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import Final, Self

CPLC_LENGTH: Final = 42
CARD_NUMBER_LENGTH: Final = 10
_FABRICATOR_AND_TYPE: Final = slice(0, 4)
_SERIAL: Final = slice(12, 16)
_BATCH: Final = slice(16, 18)
_LAYOUT: Final = struct.Struct(">HHHHHHIHHHHHHHIHHI")


@dataclass(frozen=True, slots=True)
class ProductionData:
    """CPLC; numbers of two bytes but where said.

    Attributes:
        ic_fabricator: IC fabricator.
        ic_type: IC type.
        os_identifier: operating system.
        os_release_date: YDDD.
        os_release_level: release level.
        ic_fabrication_date: YDDD.
        ic_serial_number: four bytes.
        ic_batch: IC batch.
        module_fabricator: module fabricator.
        module_packaging_date: YDDD.
        icc_manufacturer: card manufacturer.
        ic_embedding_date: YDDD.
        pre_personalizer: who pre-personalized.
        pre_personalization_date: YDDD.
        pre_personalization_equipment: four bytes.
        personalizer: who personalized.
        personalization_date: YDDD.
        personalization_equipment: four bytes.
    """

    ic_fabricator: int = 0
    ic_type: int = 0
    os_identifier: int = 0
    os_release_date: int = 0
    os_release_level: int = 0
    ic_fabrication_date: int = 0
    ic_serial_number: int = 0
    ic_batch: int = 0
    module_fabricator: int = 0
    module_packaging_date: int = 0
    icc_manufacturer: int = 0
    ic_embedding_date: int = 0
    pre_personalizer: int = 0
    pre_personalization_date: int = 0
    pre_personalization_equipment: int = 0
    personalizer: int = 0
    personalization_date: int = 0
    personalization_equipment: int = 0

    def encode(self) -> bytes:
        """The 42 bytes.

        Raises:
            ValueError: a number does not fit its field.
        """
        try:
            return _LAYOUT.pack(*astuple(self))
        except struct.error as error:
            raise ValueError("a number does not fit its field") from error

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read 42 bytes.

        Raises:
            ValueError: not 42 bytes.
        """
        if len(raw) != CPLC_LENGTH:
            raise ValueError(f"CPLC has {CPLC_LENGTH} bytes")
        return cls(*_LAYOUT.unpack(raw))

    @property
    def card_number(self) -> bytes:
        """The number of the chip, 10 bytes: fabricator ‖ type ‖ batch ‖ serial number."""
        return card_number(self.encode())


def card_number(cplc: bytes) -> bytes:
    """The number of the chip out of its CPLC, 10 bytes: fabricator 2 ‖ type 2 ‖ batch 2 ‖ serial 4."""
    return cplc[_FABRICATOR_AND_TYPE] + cplc[_BATCH] + cplc[_SERIAL]
