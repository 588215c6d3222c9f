"""What a card shows to its holder and to a terminal: its files decoded by the tables of the profile.

The result is plain: names, titles in both languages, values as text. What a reader may not see is there too, with the
status word that the card answered.

Source: the profile's tables; ISO/IEC 7816-4:2020, clause 6 (data objects).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography import x509

from card_os.iso7816.tlv import Tlv, TlvError, iterate, parse_all
from personalization.profile import CardProfile
from personalization.profile_rows import FieldRow, FileRow, ObjectRow, Title
from personalization.terminal.channel import CardRefused

_DATE_LENGTH: Final = 8
_TAG_SIGNED: Final = 0x7F21
_TAG_SIGNATURE: Final = 0x5F37
_TAG_CERTIFICATE: Final = 0x7F4E
_TAG_VERSION: Final = 0x80
_TAG_HASH_ALGORITHM: Final = 0x81
_TAG_HASHES: Final = 0xA2
_FID_LENGTH: Final = 2
_HASH_ALGORITHMS: Final = {b"\x01": "SHA-256"}
_FILLERS: Final = b"\x00\xff"


class FileSource(Protocol):
    """Who reads files by their name in the profile: `TerminalSession` or `HolderSession`."""

    def read(self, name: str) -> bytes:
        """Content of a transparent file."""
        ...

    def read_records(self, name: str) -> list[bytes]:
        """Records of a record file."""
        ...


@dataclass(frozen=True, slots=True)
class ShownValue:
    """One value.

    Attributes:
        name: name in the profile, such as "permit_number".
        title: for people.
        value: as text; a date as YYYY-MM-DD.
        meaning: what a coded value means, None when it speaks for itself.
    """

    name: str
    title: Title
    value: str = field(repr=False)
    meaning: Title | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ShownFile:
    """One file.

    Attributes:
        name: such as "EF.IDENTITY".
        fid: file identifier.
        section: identity, service or bank.
        title: for people.
        content: the bytes that were read, records one after the other; empty when refused.
        records: values of each record; of a transparent file one entry, none when it is empty.
        refused: the card's status word and its meaning, None when the file was read.
        problem: why the content cannot be decoded, None when it can.
    """

    name: str
    fid: int
    section: str
    title: Title
    content: bytes = field(default=b"", repr=False)
    records: tuple[tuple[ShownValue, ...], ...] = field(default=(), repr=False)
    refused: str | None = None
    problem: str | None = None

    def to_plain(self) -> dict[str, object]:
        """For JSON: everything but the raw content, of which only the length is told."""
        return {
            "name": self.name,
            "fid": f"{self.fid:04X}",
            "section": self.section,
            "title": self.title.model_dump(),
            "length": len(self.content),
            "refused": self.refused,
            "problem": self.problem,
            "records": [
                [
                    {
                        "name": item.name,
                        "title": item.title.model_dump(),
                        "value": item.value,
                        "meaning": item.meaning.model_dump() if item.meaning else None,
                    }
                    for item in record
                ]
                for record in self.records
            ],
        }


@dataclass(frozen=True, slots=True)
class CardView:
    """All files as one reader sees them.

    Attributes:
        seen_by: "holder" or the name of a role.
        profile: name and version of the profile they were decoded by.
        files: in the order of the profile.
    """

    seen_by: str
    profile: str
    files: tuple[ShownFile, ...]

    def file(self, name: str) -> ShownFile:
        """One file by its name.

        Raises:
            KeyError: the profile has none.
        """
        for item in self.files:
            if item.name == name:
                return item
        raise KeyError(name)

    def to_plain(self) -> dict[str, object]:
        """For JSON."""
        return {
            "seen_by": self.seen_by,
            "profile": self.profile,
            "files": [item.to_plain() for item in self.files],
        }


def view_card(profile: CardProfile, source: FileSource, seen_by: str) -> CardView:
    """Read every file of the profile and decode it; a refusal is shown, not raised.

    Args:
        profile: the card's profile.
        source: an open session.
        seen_by: who that is, "holder" or a role's name.

    Raises:
        ReaderError: the card cannot be reached any more.
        PersonalizationError: "response-not-authentic".
    """
    shown = tuple(_show(profile, source, row) for row in profile.files)
    return CardView(seen_by, profile.identification.decode("ascii"), shown)


def _show(profile: CardProfile, source: FileSource, row: FileRow) -> ShownFile:
    try:
        parts = source.read_records(row.name) if row.records else [source.read(row.name)]
    except CardRefused as refusal:
        reason = f"{refusal.status} {refusal.status.text}"
        return ShownFile(row.name, row.fid, row.section, row.title, refused=reason)
    content = b"".join(parts)
    records: tuple[tuple[ShownValue, ...], ...] = ()
    problem = None
    try:
        records = tuple(values for values in (tuple(decode(profile, row, part)) for part in parts) if values)
    except (TlvError, ValueError) as error:
        problem = str(error)
    return ShownFile(row.name, row.fid, row.section, row.title, content, records, problem=problem)


def decode(profile: CardProfile, row: FileRow, content: bytes) -> Iterator[ShownValue]:
    """Values of one transparent file or record, by the row's kind of content.

    Raises:
        TlvError: malformed data objects.
        ValueError: bytes that are no text of their kind.
    """
    if not content.strip(_FILLERS):
        return
    match row.content:
        case "tlv":
            yield from _decode_template(profile, row, content)
        case "jpeg":
            yield ShownValue("length", _BYTES, str(len(content)))
        case "point":
            yield ShownValue("point", row.title, content.hex().upper())
        case "signature":
            yield from _decode_signature(profile, content)
        case layout:
            for place in profile.fields_of(layout):
                value = content[place.offset : place.offset + place.length]
                if place.kind != "reserved" and value.strip(b" \x00"):
                    yield _shown(profile, place, value)


def _decode_template(profile: CardProfile, row: FileRow, content: bytes) -> Iterator[ShownValue]:
    known = {item.tag: item for item in profile.objects_of(row.template or 0)}
    for outer in parse_all(content, padding=True):
        if outer.tag != row.template:
            raise TlvError(f"template {outer.tag:04X} where {row.template or 0:04X} is expected")
        for item in iterate(outer.value):
            place = known.get(item.tag)
            yield _unknown(item) if place is None else _shown(profile, place, item.value)


def _unknown(item: Tlv) -> ShownValue:
    title = Title(en=f"Data object {item.tag:02X}", zh=f"数据对象 {item.tag:02X}")
    return ShownValue(f"{item.tag:02X}", title, item.value.hex().upper())


def _shown(profile: CardProfile, place: ObjectRow | FieldRow, raw: bytes) -> ShownValue:
    match place.kind:
        case "code":
            text = raw.hex().upper()
        case "utf16":
            text = raw.decode("utf-16-le").rstrip(" \x00")
        case "date":
            text = raw.decode("ascii")
            if len(text) == _DATE_LENGTH and text.isdigit():
                text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
        case "text":
            text = raw.decode("utf-8").rstrip("\x00")
        case _:
            text = raw.decode("ascii").rstrip("\x00")
    return ShownValue(place.name, place.title, text, profile.meanings(place).get(text))


def _decode_signature(profile: CardProfile, content: bytes) -> Iterator[ShownValue]:
    for item in iterate(content):
        if item.tag == _TAG_SIGNED:
            for part in iterate(item.value):
                yield from _decode_signed(profile, part)
        elif item.tag == _TAG_SIGNATURE:
            yield ShownValue("signature", _SIGNATURE, item.value.hex().upper())
        elif item.tag == _TAG_CERTIFICATE:
            certificate = x509.load_der_x509_certificate(item.value)
            yield ShownValue("signer", _SIGNER, certificate.subject.rfc4514_string())
            yield ShownValue("signer_serial", _SIGNER_SERIAL, f"{certificate.serial_number:X}")
            yield ShownValue("signer_until", _SIGNER_UNTIL, certificate.not_valid_after_utc.date().isoformat())
        else:
            yield _unknown(item)


def _decode_signed(profile: CardProfile, part: Tlv) -> Iterator[ShownValue]:
    if part.tag == _TAG_VERSION:
        yield ShownValue("signature_version", _VERSION, part.value.hex().upper())
    elif part.tag == _TAG_HASH_ALGORITHM:
        algorithm = _HASH_ALGORITHMS.get(part.value, part.value.hex().upper())
        yield ShownValue("hash_algorithm", _HASH_ALGORITHM, algorithm)
    elif part.tag == _TAG_HASHES:
        for entry in iterate(part.value):
            fid = int.from_bytes(entry.value[:_FID_LENGTH], "big")
            names = [row.name for row in profile.files if row.fid == fid] or [f"{fid:04X}"]
            title = Title(en=f"Hash of {names[0]}", zh=f"{names[0]} 摘要")
            yield ShownValue(f"hash_{fid:04X}", title, entry.value[_FID_LENGTH:].hex().upper())
    else:
        yield _unknown(part)


_BYTES: Final = Title(en="Length in bytes", zh="字节数")
_VERSION: Final = Title(en="Version of the signature", zh="签名版本")
_HASH_ALGORITHM: Final = Title(en="Hash algorithm", zh="摘要算法")
_SIGNATURE: Final = Title(en="Signature r ‖ s", zh="签名值 r ‖ s")
_SIGNER: Final = Title(en="Document signer", zh="签发者证书主体")
_SIGNER_SERIAL: Final = Title(en="Serial number of its certificate", zh="证书序列号")
_SIGNER_UNTIL: Final = Title(en="Certificate valid until", zh="证书有效期至")
