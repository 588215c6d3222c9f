"""File commands, selection, boot, fork and manufacture of the card, beside the floors measured in the same run.

The floor of a command is the smallest function that takes the command's bytes and gives the response's: no class byte,
channel, rule, transaction or memory. The floor of boot, fork and manufacture is one copy of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from benchmarks.turns import beside
from card_os.applet_api import (
    AccessRule,
    Context,
    Instruction,
    Proof,
    create_pin,
    instruction_table,
    pin_block,
    pin_instructions,
)
from card_os.card import Card
from card_os.files.commands import FILE_INSTRUCTIONS
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.registry import ApplicationLifeCycle, Privilege
from card_os.hardware.chip import DEFAULT_CHIP, Chip, load_chips
from card_os.hardware.image import NvmImage
from card_os.iso7816.tlv import encode
from card_os.manufacture import manufacture
from card_os.port import Port

_MAPPED = "mapped-flash-144k"
_AID = bytes.fromhex("F042454E434802")
_RULE = AccessRule((int(Proof.key(1) | Proof.SECURE_MESSAGING), int(Proof.pin(1) | Proof.CONTACT), int(Proof.CONTACT)))
_KEYS = KeySet(0xFF, bytes(16), bytes(range(16)), bytes(range(1, 17)))
_SELECT = b"\x00\xa4\x04\x00\x07" + _AID + b"\x00"
_READ = bytes.fromhex("00B00010C8")
_UPDATE = bytes.fromhex("00D6001080") + bytes(range(128))
_READ_RECORD = bytes.fromhex("00B2011420")
_PIN = pin_block("1234")
_VERIFY = bytes.fromhex("0020008108") + _PIN

Row = tuple[str, float, float]
_Floor = Callable[[bytes], bytes]


class BenchmarkApplet:
    """A transparent file of 1 KB and a record file, both under a rule with three alternatives, and a PIN."""

    package_aid: ClassVar[bytes] = _AID[:-1]
    module_aid: ClassVar[bytes] = _AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *FILE_INSTRUCTIONS, *pin_instructions()
    )

    def install(self, context: Context, parameters: bytes) -> None:  # noqa: ARG002 - the protocol's arguments
        """Create the files and a PIN."""
        create_pin(context, 0x81, _PIN, number=1, try_limit=3)
        rules = dict.fromkeys(AccessMode, _RULE)
        context.files.create(FileSpec(0x0101, FileStructure.TRANSPARENT, 1024, 1, rules=rules))
        records = FileSpec(0x0102, FileStructure.LINEAR_FIXED, 384, 2, record_length=32, record_count=12, rules=rules)
        context.files.append_record(context.files.create(records), bytes(32))

    def select(self, context: Context) -> bytes:
        """Answer the name."""
        return encode(0x6F, encode(0x84, context.application.aid))

    def deselect(self, context: Context) -> None:
        """Keep nothing."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """Take nothing."""


def _blank(chip: Chip) -> NvmImage:
    image = NvmImage.create(chip=chip)
    manufacture(image.nvm(), ProductionData(ic_serial_number=1), _KEYS)
    return image


def _issued(chip: Chip) -> NvmImage:
    image = _blank(chip)
    Card(image.nvm(), [BenchmarkApplet]).platform.install(
        package_aid=_AID[:-1],
        module_aid=_AID,
        aid=_AID,
        privileges=Privilege.NONE,
        domain=1,
        life_cycle=ApplicationLifeCycle.SELECTABLE,
    )
    return image


def _command(port: Port, raw: bytes) -> Callable[[], object]:
    if port.process(raw)[-2:] != b"\x90\x00":
        raise RuntimeError("the card refused a command that is measured")
    return _call(port.process, raw)


def _call(process: Callable[[bytes], bytes], raw: bytes) -> Callable[[], object]:
    return lambda: process(raw)


def _floors() -> tuple[_Floor, _Floor, _Floor, _Floor]:
    content, cells, pins = bytes(1024), bytearray(1024), {0x81: _PIN}
    names = {_AID: encode(0x6F, encode(0x84, _AID)) + b"\x90\x00"}

    def read(raw: bytes) -> bytes:
        offset = raw[2] << 8 | raw[3]
        return content[offset : offset + raw[4]] + b"\x90\x00"

    def update(raw: bytes) -> bytes:
        offset = raw[2] << 8 | raw[3]
        cells[offset : offset + raw[4]] = raw[5:]
        return b"\x90\x00"

    def select(raw: bytes) -> bytes:
        return names[raw[5 : 5 + raw[4]]]

    def verify(raw: bytes) -> bytes:
        return b"\x90\x00" if pins[raw[3]] == raw[5:] else b"\x63\xc2"

    return read, update, select, verify


def run() -> list[Row]:
    """Rows of (name, ours in µs, floor in µs), of the default chip and of a mapped one."""
    chips = load_chips()
    mapped = [(f"{name}, mapped", ours, floor) for name, ours, floor in _rows(chips[_MAPPED])]
    return [*_rows(chips[DEFAULT_CHIP]), *mapped]


def _rows(chip: Chip) -> list[Row]:
    image = _issued(chip)
    card = Card(image.nvm(), [BenchmarkApplet])
    port = card.contact
    port.power_on()
    read, update, select, verify = _floors()
    cells = image.snapshot()
    commands = (
        ("SELECT by AID", _SELECT, select),
        ("READ BINARY 200 B", b"\x00\xa4\x00\x0c\x02\x01\x01", None),
        ("READ BINARY 200 B", _READ, read),
        ("UPDATE BINARY 128 B, committed", _UPDATE, update),
        ("VERIFY, the try spent and given back", _VERIFY, verify),
        ("READ RECORD 32 B by short identifier", _READ_RECORD, read),
    )
    rows: list[Row] = []
    for name, raw, floor in commands:
        ours = _command(port, raw)
        if floor is not None:
            rows.append((name, *beside(ours, _call(floor, raw))))

    def copy() -> None:
        bytearray(cells)

    def boot() -> None:
        Card(image.nvm(), [BenchmarkApplet]).contact.power_on()

    def blank() -> None:
        manufacture(NvmImage.create(chip=chip).nvm(), ProductionData(ic_serial_number=1), _KEYS)

    rows.append(("boot from an image, domain selected", *beside(boot, copy, 20)))
    rows.append(("fork of a card's image", *beside(image.fork, copy, 20)))
    rows.append(("manufacture of a blank card", *beside(blank, copy, 20)))
    return rows


if __name__ == "__main__":
    for label, ours_us, floor_us in run():
        print(f"{label:<45} {ours_us:8.2f} µs {floor_us:8.2f} µs {ours_us / floor_us:6.2f} ×")
