"""What the cards at hand call their applications, files, data objects and keys, for the decoder.

Whoever has a card profile fills these rows; the decoder itself knows the standards only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class FieldName:
    """A value at a fixed place of a file or record.

    Attributes:
        offset: bytes from the beginning.
        length: bytes.
        name: field name.
    """

    offset: int
    length: int
    name: str


@dataclass(frozen=True, slots=True)
class FileName:
    """A file.

    Attributes:
        fid: file identifier.
        name: such as "EF.IDENTITY".
        sfi: short identifier, 0 for none.
        objects: names of its data objects by tag.
        fields: places of a file without data objects.
    """

    fid: int
    name: str
    sfi: int = 0
    objects: Mapping[int, str] = field(default_factory=dict[int, str])
    fields: tuple[FieldName, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplicationName:
    """An application.

    Attributes:
        aid: its AID, or the beginning that all of its kind share.
        name: for people.
        files: its files.
        pins: names of PINs by reference.
        keys: names of keys by reference.
        objects: names of data objects of GET DATA and of data groupings of STORE DATA, by tag or identifier.
        commands: names of its own commands by (proprietary class, INS).
    """

    aid: bytes
    name: str
    files: tuple[FileName, ...] = ()
    pins: Mapping[int, str] = field(default_factory=dict[int, str], repr=False)
    keys: Mapping[int, str] = field(default_factory=dict[int, str], repr=False)
    objects: Mapping[int, str] = field(default_factory=dict[int, str])
    commands: Mapping[tuple[bool, int], str] = field(default_factory=dict[tuple[bool, int], str])

    def file(self, fid: int) -> FileName | None:
        """The file with that identifier."""
        return next((item for item in self.files if item.fid == fid), None)

    def short(self, sfi: int) -> FileName | None:
        """The file with that short identifier."""
        return next((item for item in self.files if item.sfi == sfi), None)


WELL_KNOWN: Final = (
    ApplicationName(bytes.fromhex("A000000151000000"), "issuer security domain"),
    ApplicationName(bytes.fromhex("A000000003000000"), "issuer security domain (Visa)"),
    ApplicationName(b"1PAY.SYS.DDF01", "payment system environment"),
    ApplicationName(b"2PAY.SYS.DDF01", "proximity payment system environment"),
    ApplicationName(bytes.fromhex("A000000333010101"), "UnionPay debit"),
    ApplicationName(bytes.fromhex("A000000333010102"), "UnionPay credit"),
    ApplicationName(bytes.fromhex("A000000333010103"), "UnionPay quasi-credit"),
    ApplicationName(bytes.fromhex("A000000333010106"), "UnionPay electronic cash"),
    ApplicationName(bytes.fromhex("A000000632010105"), "T-Union, electronic purse"),
    ApplicationName(bytes.fromhex("A000000632010106"), "T-Union, electronic cash"),
    ApplicationName(bytes.fromhex("A0000002471001"), "electronic travel document (ICAO)"),
    ApplicationName(bytes.fromhex("A000000063504B43532D3135"), "PKCS #15"),
    ApplicationName(bytes.fromhex("A000000308"), "PIV"),
    ApplicationName(bytes.fromhex("D27600012401"), "OpenPGP card"),
    ApplicationName(bytes.fromhex("D2760000850101"), "NFC Forum type 4 tag"),
    ApplicationName(bytes.fromhex("A0000006472F0001"), "FIDO"),
)
"""Applications whose AID is published (ISO/IEC 7816-5, EMVCo, GlobalPlatform, UnionPay, ICAO, NFC Forum)."""


@dataclass(frozen=True, slots=True)
class CardNames:
    """All that is known by name.

    Attributes:
        applications: the longest AID that fits counts.
    """

    applications: tuple[ApplicationName, ...] = WELL_KNOWN

    def application(self, aid: bytes) -> ApplicationName | None:
        """The application with that AID or the beginning of it."""
        fitting = [row for row in self.applications if aid.startswith(row.aid)]
        return max(fitting, key=lambda row: len(row.aid), default=None)

    def with_applications(self, *applications: ApplicationName) -> CardNames:
        """These first, then what was there."""
        return CardNames((*applications, *self.applications))
