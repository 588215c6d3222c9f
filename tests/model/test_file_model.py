"""The file commands against a model of lists and byte arrays, with resets, reboots and power cuts in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from card_os.card import Card
from card_os.hardware.chip import DEFAULT_CHIP, load_chips
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


CREATED = st.integers(0x0801, 0x0804)
"""Identifiers of files that come and go."""
ACTIVATED, DEACTIVATED, TERMINATED = 0x05, 0x04, 0x0C
MOVES = {
    (0x44, ACTIVATED): ACTIVATED,
    (0x44, DEACTIVATED): ACTIVATED,
    (0x04, ACTIVATED): DEACTIVATED,
    (0x04, DEACTIVATED): DEACTIVATED,
    (0xE8, ACTIVATED): TERMINATED,
    (0xE8, DEACTIVATED): TERMINATED,
}
"""ISO/IEC 7816-4:2020, 7.4.10: the state after ACTIVATE, DEACTIVATE and TERMINATE EF; what is not here is refused."""
ROOM = 32
"""Bytes of data objects that the application's own DF has room for."""
TAGS = st.sampled_from([0x5A, 0x5B, 0x5C])
IMAGES: dict[str, NvmImage] = {}


class Created(NamedTuple):
    """A file that was created: its content and its state."""

    content: bytes
    state: int


class FileMachine(RuleBasedStateMachine):
    """The card and what it should hold.

    Attributes:
        chip: chip of the card.
        steps: steps that all runs took.
    """

    chip: ClassVar[str] = DEFAULT_CHIP
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.power = PowerSupply()
        self.image = new_image(self.chip)
        self.card: Card = make_file_card(self.image.nvm(power=self.power))
        self.binary = bytearray(SIZE)
        self.records: dict[int, list[bytes]] = {FIXED: [], VARIABLE: [], CYCLIC: []}
        self.created: dict[int, Created] = {}
        self.objects: dict[int, bytes] = {}

    @initialize()
    def make(self) -> None:
        self.select()

    def select(self) -> None:
        self.card.contact.power_on()
        assert self.send(0xA4, 4, 0x0C, FILE_CARD) == OK

    def send(self, ins: int, p1: int, p2: int, data: bytes = b"", ne: int = 0) -> bytes:
        return self.card.contact.process(CommandApdu(0, ins, p1, p2, data, ne).encode())

    # ---- what happens

    @rule(fid=CREATED, size=st.integers(1, 40))
    def create(self, fid: int, size: int) -> None:
        template = encode(
            0x62,
            encode(0x80, size.to_bytes(2, "big")),
            encode(0x82, b"\x01"),
            encode(0x83, fid.to_bytes(2, "big")),
            encode(0x88),
            encode(0x86, bytes.fromhex("7F0100000000")),
        )
        answer = self.send(0xE0, 0, 0, template)
        if fid in self.created:
            assert answer == b"\x6a\x89"
        else:
            assert answer == OK
            self.created[fid] = Created(bytes(size), ACTIVATED)

    @rule(fid=CREATED)
    def delete(self, fid: int) -> None:
        answer = self.send(0xE4, 0, 0, fid.to_bytes(2, "big"))
        assert answer == (OK if self.created.pop(fid, None) else b"\x6a\x82")

    @rule(fid=CREATED, ins=st.sampled_from([0x44, 0x04, 0xE8]))
    def move(self, fid: int, ins: int) -> None:
        file = self.created.get(fid)
        answer = self.send(ins, 0, 0, fid.to_bytes(2, "big"))
        if file is None:
            assert answer == b"\x6a\x82"
            return
        after = MOVES.get((ins, file.state))
        assert answer == (b"\x69\x85" if after is None else OK)
        if after is not None:
            self.created[fid] = file._replace(state=after)

    @rule(fid=CREATED, offset=st.integers(0, 45), data=st.binary(min_size=1, max_size=20))
    def update_created(self, fid: int, offset: int, data: bytes) -> None:
        answer = self.send(0xD7, fid >> 8, fid & 0xFF, encode(0x54, bytes((offset,))) + encode(0x53, data))
        file = self.created.get(fid)
        if file is None:
            assert answer == b"\x6a\x82"
        elif file.state != ACTIVATED:
            assert answer == b"\x69\x85"
        elif offset >= len(file.content):
            assert answer == b"\x6b\x00"
        elif offset + len(data) > len(file.content):
            assert answer == b"\x6a\x84"
        else:
            assert answer == OK
            content = file.content[:offset] + data + file.content[offset + len(data) :]
            self.created[fid] = file._replace(content=content)

    @rule(tag=TAGS, value=st.binary(min_size=1, max_size=16))
    def put(self, tag: int, value: bytes) -> None:
        assert self.send(0xA4, 0, 0x0C, b"\x3f\x00") == OK
        answer = self.send(0xDA, 0, tag, value)
        after = self.objects | {tag: value}
        if sum(2 + len(each) for each in after.values()) > ROOM:
            assert answer == b"\x6a\x84"
        else:
            assert answer == OK
            self.objects = after

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
        type(self).steps += 1
        assert self.whole() == self.binary
        for sfi, records in self.records.items():
            answer = self.send(0xB2, 1, sfi << 3 | 5, b"", 256)
            assert answer == (b"".join(records) + OK if records else b"\x6a\x83")
        for fid, file in self.created.items():
            answer = self.send(0xB1, fid >> 8, fid & 0xFF, b"\x54\x01\x00", 256)
            expected = encode(0x53, file.content) + OK if file.state == ACTIVATED else b"\x69\x85"
            assert answer == expected
        assert self.send(0xA4, 0, 0x0C, b"\x3f\x00") == OK
        for tag in (0x5A, 0x5B, 0x5C):
            value = self.objects.get(tag)
            assert self.send(0xCA, 0, tag, b"", 256) == (b"\x6a\x88" if value is None else value + OK)
        assert self.card.faults == 0


def new_image(chip: str) -> NvmImage:
    """A card with the files, made once a chip."""
    if chip not in IMAGES:
        image = blank_memory(chip=chip)
        install_files(make_file_card(image.nvm()))
        IMAGES[chip] = image
    return IMAGES[chip].fork()


def run_machine(chip: str, examples: int, record: Callable[[str, object], None], *, explore: bool) -> int:
    """Let the machine run on a chip; returns how many steps it took beside the model."""

    class Machine(FileMachine):
        """Of this chip."""

    Machine.chip, Machine.steps = chip, 0
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            derandomize=not explore,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    record("steps", Machine.steps)
    return Machine.steps


@pytest.mark.parametrize("chip", ["flash-144k", "mapped-flash-144k"])
def test_the_files_of_a_card_are_those_of_the_model(chip: str, record_property: Callable[[str, object], None]) -> None:
    """10,000 steps at least on both kinds of memory, the same in each run of the tests."""
    assert run_machine(chip, 120, record_property, explore=False) >= 5_000


@pytest.mark.long
@pytest.mark.parametrize("chip", sorted(load_chips()))
def test_the_files_of_a_card_are_those_of_the_model_for_hours(
    chip: str, record_property: Callable[[str, object], None]
) -> None:
    """1,000,000 steps at least on the chips together, others in each run."""
    assert run_machine(chip, 5_600, record_property, explore=True) >= 250_000  # about 47 steps an example
