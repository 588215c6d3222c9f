"""A card that is full, a card that wears out, a card that is cut again and again, two copies of a card; on every chip.

What was committed is there, or the card says 6581 or 6A84; it never answers wrongly.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from applet.file_system.sample import MF_RULES
from card_os.files.card_information import MAX_COMMAND
from card_os.hardware.chip import CellKind, Chip, load_chips
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.atr import Atr
from card_os.iso7816.tlv import encode
from card_os.port import Port, PortMute
from tests.doubles.ruled_card import PIN_1, boot, control_parameters, new_ruled_image, send, verify

CHIPS = load_chips()
CREATE, SELECT, READ, UPDATE, DELETE = 0xE0, 0xA4, 0xB0, 0xD6, 0xE4
OPEN = encode(0x8C, bytes.fromhex("7F00000000000000"))
OK, FULL, WORN = 0x9000, 0x6A84, 0x6581


def started(image: NvmImage, power: PowerSupply | None = None) -> Port:
    port = boot(image.nvm(power=power)).contact
    assert Atr.parse(port.power_on()).protocols == (0, 1)
    return port


def create(port: Port, fid: int, size: int) -> int:
    return send(port, CREATE, 0, control_parameters(fid, OPEN, size=size))[1]


def update(port: Port, fid: int, data: bytes) -> int:
    assert send(port, SELECT, 0x000C, fid.to_bytes(2, "big"))[1] == OK
    return send(port, UPDATE, 0, data)[1]


def content(port: Port, fid: int, length: int) -> bytes:
    assert send(port, SELECT, 0x000C, fid.to_bytes(2, "big"))[1] == OK
    data, sw = send(port, READ, 0, ne=length)
    assert sw == OK
    return data


@pytest.mark.parametrize("chip", CHIPS)
def test_a_card_filled_to_its_last_byte_works_on(chip: str) -> None:
    image = new_ruled_image(MF_RULES, chip)
    port = started(image)
    files: list[int] = []
    for size in (20_000, 4_000, 500, 60, 8, 1):
        while (sw := create(port, 0x0101 + len(files), size)) == OK:
            files.append(0x0101 + len(files))
            assert update(port, files[-1], files[-1].to_bytes(2, "big")[: min(size, 2)]) == OK
        assert sw == FULL
    for port_again in (port, started(image)):
        assert create(port_again, 0x0F00, 1) == FULL
        assert update(port_again, files[0], b"\x5a\xa5") == OK, "what is there can be changed"
        verify(port_again, 1)
        for fid in files[1:]:
            assert content(port_again, fid, 1) == fid.to_bytes(2, "big")[:1]
    port = started(image)
    assert content(port, files[0], 2) == b"\x5a\xa5"
    assert send(port, DELETE, 0, files[-1].to_bytes(2, "big"))[1] == OK
    assert create(port, files[-1], 1) == OK
    assert create(port, 0x0F00, 1) in (OK, FULL)
    assert port.last_error is None or port.last_error.sw == FULL


@pytest.mark.parametrize("chip", [name for name, chip in CHIPS.items() if chip.kind is not CellKind.WORDS])
def test_a_card_that_wears_out_loses_nothing_it_has_confirmed(chip: str) -> None:
    small = replace(CHIPS[chip], name="worn", size=65_536, endurance=3)
    image = new_ruled_image(MF_RULES, small)
    port = started(image)
    for fid in (0x0101, 0x0102):
        assert create(port, fid, 400) == OK
    assert update(port, 0x0102, b"kept" * 100) == OK
    last, count = bytes(400), 0
    while True:
        count += 1
        data = count.to_bytes(2, "big") * 200
        sw = update(port, 0x0101, data)
        if sw != OK:
            break
        last = data
        if count % 50 == 0:
            port = started(image)
            assert content(port, 0x0101, 400) == last
        assert count < 20_000
    assert sw == WORN
    assert count > 100
    for _ in range(2):
        assert content(port, 0x0101, 255) == last[:255]
        assert content(port, 0x0102, 255) == (b"kept" * 100)[:255]
        port = started(image)


def random_cuts(chip: Chip, cuts: int, seed: int) -> None:
    """Cut commands at random units and moments; a value is what was confirmed last, or the one that was cut."""
    chosen = random.Random(seed)
    image = new_ruled_image(MF_RULES, chip)
    port = started(image)
    for fid in (0x0101, 0x0102, 0x0103):
        assert create(port, fid, 300) == OK
        assert update(port, fid, b"\x00" * 200) == OK
    held = dict.fromkeys((257, 258, 259), b"\x00" * 200)
    seen = 0
    while seen < cuts:
        power = PowerSupply()
        port = started(image, power)
        power.arm(chosen.randrange(1, 90), chosen.choice(list(CutMoment)))
        fid, data = chosen.choice(list(held)), chosen.randbytes(chosen.choice((1, 60, 200)))
        wanted = data + held[fid][len(data) :]
        try:
            if chosen.random() < 0.2:
                wanted = held[fid]
                assert send(port, 0x20, 0x81, PIN_1)[1] == OK
            else:
                assert update(port, fid, data) == OK
        except PortMute:
            seen += 1
            port = started(image)
            now = content(port, fid, 200)
            assert now in (held[fid], wanted)
            tries = send(port, 0x20, 0x81)[1]
            assert tries in (0x63C3, 0x63C2, 0x63C1)
            verify(port, 1)
        else:
            now = wanted
        held[fid] = now
        for other, value in held.items():
            assert content(port, other, 200) == value


@pytest.mark.parametrize("chip", CHIPS)
def test_a_card_cut_at_random_is_old_or_new(chip: str) -> None:
    random_cuts(CHIPS[chip], 40, 20261126)


@pytest.mark.long
@pytest.mark.parametrize("chip", CHIPS)
def test_a_card_cut_10000_times_at_random_is_old_or_new(chip: str) -> None:
    random_cuts(CHIPS[chip], 10_000, 1)


@pytest.mark.parametrize("chip", CHIPS)
def test_two_forks_of_a_card_never_disturb_each_other(chip: str) -> None:
    image = new_ruled_image(MF_RULES, chip)
    port = started(image)
    assert create(port, 0x0101, 16) == OK
    first, second = started(image.fork()), started(image.fork())
    for number in range(40):
        assert update(first, 0x0101, bytes((number,)) * 16) == OK
        assert update(second, 0x0101, bytes((0xFF - number,)) * 16) == OK
        if number == 20:
            assert send(second, DELETE, 0, b"\x01\x01")[1] == OK
            assert create(second, 0x0101, 16) == OK
        assert content(first, 0x0101, 16) == bytes((number,)) * 16
    assert content(port, 0x0101, 16) == bytes(16)
    assert send(second, 0x20, 0x81, PIN_1[:-1] + b"\xfe")[1] in (0x6A80, 0x63C2)
    assert send(first, 0x20, 0x81)[1] == 0x63C3


@pytest.mark.parametrize("chip", CHIPS)
def test_the_longest_command_that_is_announced_fits_one_transaction(chip: str) -> None:
    """7816-4, 12.7.1: EF.ATR/INFO tells MAX_COMMAND; all its data is written or, after a cut, none of it."""
    image = new_ruled_image(MF_RULES, chip)
    port = started(image)
    assert create(port, 0x0101, MAX_COMMAND) == OK
    data = random.Random(1).randbytes(MAX_COMMAND - 7)
    command = CommandApdu(0, UPDATE, 0, 0, data, extended=True).encode()
    assert len(command) == MAX_COMMAND
    before = image.fork()
    assert port.process(command) == b"\x90\x00"
    units = boot(before.fork().nvm())
    units.contact.power_on()
    send(units.contact, SELECT, 0x000C, b"\x01\x01")
    start = units.nvm.power.count
    assert units.contact.process(command) == b"\x90\x00"
    total = units.nvm.power.count - start
    found = set()
    for unit in {1, 2, total // 3, total // 2, total - 2, total - 1, total}:
        copy, power = before.fork(), PowerSupply()
        torn = started(copy, power)
        send(torn, SELECT, 0x000C, b"\x01\x01")
        power.arm(unit, CutMoment.AFTER)
        with pytest.raises(PortMute):
            torn.process(command)
        again = started(copy)
        send(again, SELECT, 0x000C, b"\x01\x01")
        answer = again.process(CommandApdu(0, READ, 0, 0, b"", len(data), extended=True).encode())
        assert answer[:-2] in (data, bytes(len(data)))
        found.add(answer[:-2] == data)
    assert found == {True, False}
