"""Cards at their end: filled to the last byte, worn out, and cut ten thousand times.

Each still answers correctly or says that it cannot (6A84, 6581), and never loses a file that it said 9000 to.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import pytest

from card_os.card import Card
from card_os.hardware.chip import CellKind, Chip, load_chips
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.tlv import encode
from card_os.port import Port, PortMute
from tests.doubles.file_system_card import PIN_BLOCK, boot, new_file_system_card

FILE_SYSTEM: Final = bytes.fromhex("00A4040C07F05A4A4A5A0301")
OK, FULL, WORN, GONE = b"\x90\x00", b"\x6a\x84", b"\x65\x81", b"\x6a\x82"
CHIPS: Final = sorted(load_chips())
TRY_LIMIT: Final = 3
WORN_OUT: Final = {
    "flash": Chip("flash", 24_576, 512, 4, 0xFF, 1, 12, CellKind.FLASH, 1),
    "eeprom": Chip("eeprom", 24_576, 64, 4, 0x00, 1, 12, CellKind.EEPROM, 1),
}
"""Chips whose pages are worn after 12 cycles."""


def card_on(chip: Chip | str) -> NvmImage:
    with new_file_system_card(chip=chip) as card:
        return card.image.fork()


def send(port: Port, ins: int, p1: int, p2: int, data: bytes = b"", ne: int = 0) -> bytes:
    return port.process(CommandApdu(0, ins, p1, p2, data, ne).encode())


def create(port: Port, fid: int, size: int) -> bytes:
    template = encode(
        0x62,
        encode(0x80, size.to_bytes(2, "big")),
        encode(0x82, b"\x01"),
        encode(0x83, fid.to_bytes(2, "big")),
        encode(0x88),
        encode(0x86, bytes.fromhex("7F0100000000")),
    )
    return send(port, 0xE0, 0, 0, template)


def update(port: Port, fid: int, offset: int, data: bytes) -> bytes:
    objects = encode(0x54, offset.to_bytes(2, "big")) + encode(0x53, data)
    return send(port, 0xD7, fid >> 8, fid & 0xFF, objects)


def read(port: Port, fid: int, offset: int, length: int) -> bytes:
    answer = send(port, 0xB1, fid >> 8, fid & 0xFF, encode(0x54, offset.to_bytes(2, "big")), 65_536)
    assert answer[-2:] == OK, (hex(fid), answer[-2:].hex())
    value = answer[:-2]
    return value[-length:] if len(value) >= length else value


def started(card: Card) -> Port:
    card.contact.power_on()
    assert card.contact.process(FILE_SYSTEM) == OK
    return card.contact


# ---------------------------------------------------------------------- full


@pytest.mark.parametrize("chip", CHIPS)
def test_a_card_that_is_filled_to_its_last_byte(chip: str) -> None:
    """6A84 to what has no room, and everything else as ever; what is deleted makes room again."""
    image = card_on(chip)
    card = boot(image.nvm())
    port = started(card)
    files: dict[int, int] = {}
    for size in (0x4000, 0x1000, 0x400, 0x100, 0x40, 0x10, 4, 1):
        while len(files) < 400 and (answer := create(port, 0x4000 + len(files), size)) == OK:
            files[0x4000 + len(files)] = size
        assert answer == FULL
    content = {fid: bytes((fid & 0xFF ^ 0x5A,)) * min(size, 12) for fid, size in files.items()}
    before = image.snapshot()
    for size in (1, 0x4000):
        assert create(port, 0x7777, size) == FULL
    assert send(port, 0xA4, 0, 0x0C, b"\x77\x77") == GONE
    assert image.snapshot() == before, "what is refused changes nothing"
    for fid, data in content.items():
        assert update(port, fid, files[fid] - len(data), data) == OK
    port = started(boot(image.nvm()))
    for fid, data in content.items():
        assert read(port, fid, files[fid] - len(data), len(data)) == data
    assert send(port, 0x20, 0, 0x81, PIN_BLOCK) == OK
    room = next(fid for fid, size in files.items() if size >= 0x400)
    assert send(port, 0xE4, 0, 0, room.to_bytes(2, "big")) == OK
    assert create(port, 0x7777, files[room]) == OK
    assert create(port, 0x7778, files[room]) == FULL
    assert update(port, 0x7777, 0, b"again") == OK
    port = started(boot(image.nvm()))
    del content[room]
    for fid, data in content.items():
        assert read(port, fid, files[fid] - len(data), len(data)) == data


# ---------------------------------------------------------------------- worn


@pytest.mark.parametrize("name", WORN_OUT)
def test_a_card_whose_pages_wear_out(name: str) -> None:
    """Spare pages take over; when they are used up the card says 6581 to what changes it, and reads as ever."""
    image = card_on(WORN_OUT[name])
    card, draw = boot(image.nvm()), random.Random(name)
    port = started(card)
    content: dict[int, bytes] = {}
    for fid in range(0x4001, 0x4005):
        assert create(port, fid, 120) == OK
        content[fid] = bytes(120)
    refused = 0
    for step in range(60_000):
        fid, offset = draw.choice(list(content)), draw.randrange(100)
        data = draw.randbytes(draw.randrange(1, 20))
        answer = update(port, fid, offset, data)
        assert answer in (OK, WORN)
        if answer == OK:
            content[fid] = content[fid][:offset] + data + content[fid][offset + len(data) :]
        refused += answer == WORN
        if refused > 20:
            break
        if step % 50 == 0 or answer == WORN:
            for each, expected in content.items():
                assert read(port, each, 0, 120) == expected
        if step % 500 == 0:
            port = started(boot(image.nvm()))
    assert refused > 20, "it never wore out"
    assert max(image.nvm().wear) > WORN_OUT[name].endurance
    port = started(boot(image.nvm()))
    for fid, expected in content.items():
        assert read(port, fid, 0, 120) == expected
    assert send(port, 0x20, 0, 0x81, PIN_BLOCK) in (OK, WORN)
    assert card.faults == 0


# ---------------------------------------------------------------------- cut


class Holder:
    """A card and what it should hold, while its power is cut at random.

    Args:
        chip: name of its chip.
        seed: of what is drawn.
    """

    def __init__(self, chip: str, seed: int) -> None:
        self.image = card_on(chip)
        self.power = PowerSupply()
        self.draw = random.Random(f"{chip} {seed}")
        self.files: dict[int, bytes] = {}
        self.ring: list[bytes] = []
        self.tries = TRY_LIMIT
        self.cuts = self.boots_cut = self.done = 0
        self.port = self.start()
        ring = "6215 82050641000403 83024100 8800 86067F0100000000"
        assert send(self.port, 0xE0, 0, 0, bytes.fromhex(ring)) == OK

    def start(self) -> Port:
        """Power on, cut again now and then while the card boots."""
        while True:
            self.power.restore()
            if self.draw.randrange(8) == 0:
                self.power.arm(self.draw.randrange(1, 40), self.draw.choice(tuple(CutMoment)))
            card = boot(self.image.nvm(power=self.power))
            try:
                card.contact.power_on()
                selected = card.contact.process(FILE_SYSTEM)
            except PortMute:
                self.cuts += 1
                self.boots_cut += 1
                continue
            self.power.restore()
            assert selected == OK
            self.card = card
            return card.contact

    def cut(self, command: Callable[[Port], bytes]) -> bytes | None:
        """One command with power about to go; None when it went."""
        self.power.arm(self.draw.randrange(1, 60), self.draw.choice(tuple(CutMoment)))
        try:
            answer = command(self.port)
        except PortMute:
            self.cuts += 1
            self.port = self.start()
            return None
        self.power.restore()
        self.done += 1
        return answer

    def step(self) -> None:
        """One change, and what it has to leave."""
        way = self.draw.choice(("update", "update", "create", "delete", "append", "right PIN", "wrong PIN"))
        fid = self.draw.randrange(0x4001, 0x4006)
        if way in ("right PIN", "wrong PIN"):
            self.verify(right=way == "right PIN")
        elif way == "append":
            self.append(self.draw.randbytes(4))
        elif way == "create" and fid not in self.files:
            size = self.draw.randrange(1, 80)
            answer = self.cut(lambda port: create(port, fid, size))
            self.settle(fid, answer, None, bytes(size))
        elif way == "delete" and fid in self.files:
            answer = self.cut(lambda port: send(port, 0xE4, 0, 0, fid.to_bytes(2, "big")))
            self.settle(fid, answer, self.files[fid], None)
        elif fid in self.files:
            old = self.files[fid]
            offset = self.draw.randrange(len(old))
            data = self.draw.randbytes(self.draw.randrange(1, len(old) - offset + 1))
            answer = self.cut(lambda port: update(port, fid, offset, data))
            self.settle(fid, answer, old, old[:offset] + data + old[offset + len(data) :])

    def settle(self, fid: int, answer: bytes | None, old: bytes | None, new: bytes | None) -> None:
        """Old or new after a cut, new after 9000."""
        assert answer in (None, OK)
        held = self.content(fid, len(new or old or b""))
        assert held == new if answer == OK else held in (old, new)
        if held is None:
            self.files.pop(fid, None)
        else:
            self.files[fid] = held

    def content(self, fid: int, length: int) -> bytes | None:
        """A whole file, None when it is not there."""
        if send(self.port, 0xA4, 0, 0x0C, fid.to_bytes(2, "big")) == GONE:
            return None
        answer = send(self.port, 0xB0, 0, 0, b"", length)
        assert answer[-2:] == OK
        return answer[:-2]

    def append(self, record: bytes) -> None:
        new = [record, *self.ring][:3]
        assert send(self.port, 0xA4, 0, 0x0C, b"\x41\x00") == OK

        def command(port: Port) -> bytes:
            return send(port, 0xE2, 0, 0, record)

        answer = self.cut(command)
        assert answer in (None, OK)
        assert send(self.port, 0xA4, 0, 0x0C, b"\x41\x00") == OK
        held = send(self.port, 0xB2, 1, 5, b"", 256)
        records = [held[at : at + 4] for at in range(0, len(held) - 2, 4)]
        assert records == new if answer == OK else records in (self.ring, new)
        self.ring = records

    def verify(self, *, right: bool) -> None:
        """A try is spent before the compare and comes back with the right PIN only; the last one is not torn."""
        if self.tries == 1:
            assert send(self.port, 0x20, 0, 0x81, PIN_BLOCK) == OK
            self.tries = TRY_LIMIT
        after = TRY_LIMIT if right else self.tries - 1
        block = PIN_BLOCK if right else bytes.fromhex("249999FFFFFFFFFF")
        answer = self.cut(lambda port: send(port, 0x20, 0, 0x81, block))
        assert answer in (None, OK if right else bytes((0x63, 0xC0 | after)))
        assert send(self.port, 0x20, 0xFF, 0x81) == OK
        told = send(self.port, 0x20, 0, 0x81)
        assert (told[0], told[1] & 0xF0) == (0x63, 0xC0)
        left = told[1] & 0x0F
        assert left == after if answer is not None else left in {self.tries, self.tries - 1, after}
        self.tries = left

    def look(self) -> None:
        """All that was ever committed is there."""
        for fid, expected in self.files.items():
            assert self.content(fid, len(expected)) == expected
        assert self.card.faults == 0


def cut_at_random(chip: str, cuts: int, record: Callable[[str, object], None]) -> None:
    holder = Holder(chip, cuts)
    while holder.cuts < cuts:
        holder.step()
        if holder.cuts % 10 == 0:
            holder.look()
    holder.look()
    record("cuts", holder.cuts)
    assert holder.done > cuts // 20
    assert holder.boots_cut > cuts // 100


@pytest.mark.parametrize("chip", CHIPS)
def test_a_card_that_is_cut_a_thousand_times(chip: str, record_property: Callable[[str, object], None]) -> None:
    """The same cuts in each run."""
    cut_at_random(chip, 1_000, record_property)


@pytest.mark.long
@pytest.mark.parametrize("chip", CHIPS)
def test_a_card_that_is_cut_a_hundred_thousand_times(chip: str, record_property: Callable[[str, object], None]) -> None:
    cut_at_random(chip, 100_000, record_property)
