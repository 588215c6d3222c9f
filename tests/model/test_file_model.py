"""The file commands against a model of lists and byte arrays, with resets, reboots and power cuts in between."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from card_os.card import Card
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.tlv import encode
from card_os.port import PortMute
from tests.doubles.file_card import FILE_CARD, install_files, make_file_card
from tests.doubles.recording_applet import blank_memory

SIZE = 300
BINARY = 0x88
"""Short identifier 8: a transparent file that WRITE joins with OR."""
OK = b"\x90\x00"
FIXED, VARIABLE, CYCLIC = 2, 3, 4
LENGTH = {FIXED: 8, CYCLIC: 4}
COUNT = {FIXED: 5, VARIABLE: 3, CYCLIC: 3}
GREATEST = 12
RECORD_FILES = st.sampled_from([FIXED, VARIABLE, CYCLIC])
CONTENT = st.binary(min_size=1, max_size=14)


class FileMachine(RuleBasedStateMachine):
    """The card and what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.image = NvmImage.create()
        self.power = PowerSupply()
        self.card: Card = make_file_card(self.image.nvm(power=self.power))
        self.binary = bytearray(SIZE)
        self.records: dict[int, list[bytes]] = {FIXED: [], VARIABLE: [], CYCLIC: []}

    @initialize()
    def make(self) -> None:
        self.image = blank_memory()
        self.card = make_file_card(self.image.nvm(power=self.power))
        install_files(self.card)
        self.select()

    def select(self) -> None:
        self.card.contact.power_on()
        assert self.send(0xA4, 4, 0x0C, FILE_CARD) == OK

    def send(self, ins: int, p1: int, p2: int, data: bytes = b"", ne: int = 0) -> bytes:
        return self.card.contact.process(CommandApdu(0, ins, p1, p2, data, ne).encode())

    # ---- what happens

    @rule(offset=st.integers(0, 255), data=st.binary(min_size=1, max_size=100))
    def update(self, offset: int, data: bytes) -> None:
        answer = self.send(0xD6, BINARY, offset, data)
        if offset + len(data) > SIZE:
            assert answer == b"\x6a\x84"
        else:
            assert answer == OK
            self.binary[offset : offset + len(data)] = data

    @rule(offset=st.integers(0, SIZE + 20), ne=st.integers(1, 255))
    def read(self, offset: int, ne: int) -> None:
        assert self.send(0xB0, BINARY, 0, b"", 1)[-2:] == OK
        answer = self.send(0xB0, offset >> 8, offset & 0xFF, b"", ne)
        if offset >= SIZE:
            assert answer == b"\x6b\x00"
        else:
            wanted = bytes(self.binary[offset : offset + ne])
            assert answer == wanted + (OK if len(wanted) == ne else b"\x62\x82")

    @rule(sfi=RECORD_FILES, data=CONTENT)
    def append(self, sfi: int, data: bytes) -> None:
        data = self.fitting(sfi, data)
        records = self.records[sfi]
        answer = self.send(0xE2, 0, sfi << 3, data)
        if len(data) > GREATEST:
            assert answer == b"\x67\x00"
        elif sfi == CYCLIC:
            assert answer == OK
            self.records[sfi] = [data, *records][: COUNT[sfi]]
        elif len(records) == COUNT[sfi]:
            assert answer == b"\x6a\x84"
        else:
            assert answer == OK
            records.append(data)

    @rule(sfi=RECORD_FILES, number=st.integers(1, 6), data=CONTENT)
    def update_record(self, sfi: int, number: int, data: bytes) -> None:
        data = self.fitting(sfi, data)
        answer = self.send(0xDC, number, sfi << 3 | 4, data)
        if len(data) > GREATEST:
            assert answer == b"\x67\x00"
        elif number > len(self.records[sfi]):
            assert answer == b"\x6a\x83"
        else:
            assert answer == OK
            self.records[sfi][number - 1] = data

    @rule(offset=st.integers(0, 255), data=st.binary(min_size=1, max_size=40), odd=st.booleans())
    def write(self, offset: int, data: bytes, odd: bool) -> None:
        objects = encode(0x54, bytes((offset,))) + encode(0x53, data)
        answer = self.send(0xD1, 0, BINARY & 0x1F, objects) if odd else self.send(0xD0, BINARY, offset, data)
        if offset + len(data) > SIZE:
            assert answer == b"\x6a\x84"
        else:
            assert answer == OK
            for at, value in enumerate(data, offset):
                self.binary[at] |= value

    @rule(first=st.integers(0, SIZE + 5), end=st.integers(0, SIZE + 5))
    def erase(self, first: int, end: int) -> None:
        bounds = encode(0x54, first.to_bytes(2, "big")) + encode(0x54, end.to_bytes(2, "big"))
        answer = self.send(0x0F, 0, BINARY & 0x1F, bounds)
        if first < end <= SIZE:
            assert answer == OK
            self.binary[first:end] = bytes(end - first)
        else:
            assert answer == b"\x6b\x00"

    @rule(offset=st.integers(0, 255), wanted=st.binary(min_size=1, max_size=3))
    def search(self, offset: int, wanted: bytes) -> None:
        place = self.binary.find(wanted, offset)
        answer = self.send(0xA0, BINARY, offset, wanted, 2)
        assert answer == (place.to_bytes(2, "big") + OK if place >= 0 else b"\x62\x82")

    @rule(sfi=RECORD_FILES, number=st.integers(1, 4), wanted=st.binary(min_size=1, max_size=2))
    def search_records(self, sfi: int, number: int, wanted: bytes) -> None:
        records = self.records[sfi]
        found = bytes(at for at, record in enumerate(records, 1) if at >= number and wanted in record)
        answer = self.send(0xA2, number, sfi << 3 | 4, wanted, 10)
        if number > len(records):
            assert answer == b"\x6a\x83"
        else:
            assert answer == (found + OK if found else b"\x62\x82")

    @rule(sfi=RECORD_FILES, number=st.integers(1, 4), rest=st.booleans())
    def erase_record(self, sfi: int, number: int, rest: bool) -> None:
        records = self.records[sfi]
        answer = self.send(0x0C, number, sfi << 3 | 4 + rest)
        if number > len(records):
            assert answer == b"\x6a\x83"
            return
        assert answer == OK
        for at in range(number - 1, len(records) if rest else number):
            records[at] = bytes(len(records[at]))

    @rule(
        sfi=RECORD_FILES,
        number=st.integers(1, 3),
        offset=st.integers(0, 12),
        data=st.binary(min_size=1, max_size=6),
        how=st.integers(4, 7),
    )
    def update_part(self, sfi: int, number: int, offset: int, data: bytes, how: int) -> None:
        records = self.records[sfi]
        answer = self.send(0xDD, number, sfi << 3 | how, encode(0x54, bytes((offset,))) + encode(0x53, data))
        if number > len(records):
            assert answer == b"\x6a\x83"
        elif offset >= len(records[number - 1]):
            assert answer == b"\x6b\x00"
        elif offset + len(data) > len(records[number - 1]):
            assert answer == b"\x6a\x84"
        else:
            assert answer == OK
            record = bytearray(records[number - 1])
            for at, value in enumerate(data, offset):
                record[at] = (value, record[at] & value, record[at] | value, record[at] ^ value)[how - 4]
            records[number - 1] = bytes(record)

    @staticmethod
    def fitting(sfi: int, data: bytes) -> bytes:
        length = LENGTH.get(sfi)
        return data if length is None else data[:length].ljust(length, b"\xaa")

    @rule()
    def reset(self) -> None:
        self.card.contact.reset()
        assert self.send(0xA4, 4, 0x0C, FILE_CARD) == OK

    @rule()
    def reboot(self) -> None:
        self.card = make_file_card(self.image.nvm(power=self.power))
        self.select()

    @rule(
        unit=st.integers(1, 40),
        moment=st.sampled_from(CutMoment),
        offset=st.integers(0, 200),
        data=st.binary(min_size=1, max_size=60),
    )
    def torn_update(self, unit: int, moment: CutMoment, offset: int, data: bytes) -> None:
        self.power.arm(unit, moment)
        new = bytearray(self.binary)
        new[offset : offset + len(data)] = data
        try:
            assert self.send(0xD6, BINARY, offset, data) == OK
            self.binary = new
        except PortMute:
            pass
        self.power.restore()
        self.select()
        held = self.whole()
        assert held in (self.binary, new)
        self.binary = bytearray(held)

    # ---- what holds

    def whole(self) -> bytes:
        return b"".join(self.send(0xB0, BINARY, at, b"", 100)[:-2] for at in (0, 100, 200))

    @invariant()
    def the_card_holds_what_the_model_holds(self) -> None:
        if not self.card.contact.powered:
            return
        assert self.whole() == self.binary
        for sfi, records in self.records.items():
            answer = self.send(0xB2, 1, sfi << 3 | 5, b"", 256)
            assert answer == (b"".join(records) + OK if records else b"\x6a\x83")
        assert self.card.faults == 0


FileMachine.TestCase.settings = settings(max_examples=260, stateful_step_count=40, deadline=None)
TestFileModel = FileMachine.TestCase
