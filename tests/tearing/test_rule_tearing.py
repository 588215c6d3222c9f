"""Power cut at every programming unit of commands that change access rules.

Law 3: after a cut and a reboot the rules are the old or the new ones, never others, and they fit what EF.ARR holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from card_os.files.spec import FileStructure, Tag
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.iso7816.tlv import encode
from card_os.port import Port, PortMute
from tests.doubles.ruled_card import boot, control_parameters, new_ruled_image, send

SELECT, READ, CREATE, DELETE, APPEND_RECORD, UPDATE_RECORD = 0xA4, 0xB0, 0xE0, 0xE4, 0xE2, 0xDC
OPEN, CLOSED = bytes.fromhex("8001019000"), bytes.fromhex("8001019700")
MANAGED: Final = encode(Tag.EXPANDED_RULES, bytes.fromhex("80017F9000"))
ARR: Final = control_parameters(0x2F06, MANAGED, size=32, structure=FileStructure.LINEAR_VARIABLE)
RULED: Final = control_parameters(0x0101, bytes.fromhex("8B032F0602") + bytes.fromhex("8C024000"))


def in_ef_arr(port: Port, ins: int, p1p2: int, data: bytes) -> None:
    send(port, SELECT, 0x000C, b"\x2f\x06")
    assert send(port, ins, p1p2, data)[1] == 0x9000


def append_open(port: Port) -> None:
    in_ef_arr(port, APPEND_RECORD, 0, OPEN)


def open_and_close(port: Port) -> None:
    append_open(port)
    in_ef_arr(port, UPDATE_RECORD, 0x0204, CLOSED)


def delete_ef_arr(port: Port) -> None:
    append_open(port)
    assert send(port, DELETE, 0, b"\x2f\x06")[1] == 0x9000


def make_the_file_anew(port: Port) -> None:
    append_open(port)
    assert send(port, DELETE, 0, b"\x01\x01")[1] == 0x9000
    assert send(port, CREATE, 0, RULED)[1] == 0x9000


CHANGES: Final[tuple[Callable[[Port], None], ...]] = (append_open, open_and_close, delete_ef_arr, make_the_file_anew)


@pytest.fixture(scope="module")
def master() -> NvmImage:
    """EF.ARR with a closed record 1, and a file under its record 2, which is not there yet."""
    image = new_ruled_image()
    port = boot(image.nvm()).contact
    port.power_on()
    assert send(port, CREATE, 0, ARR)[1] == 0x9000
    assert send(port, APPEND_RECORD, 0, CLOSED)[1] == 0x9000
    assert send(port, CREATE, 0, RULED)[1] == 0x9000
    port.power_off()
    return image


def judge(port: Port) -> tuple[bytes, int, int]:
    """Record 2 of EF.ARR as it is read, and what its rule lets happen to the file."""
    record, sw = b"", send(port, SELECT, 0x000C, b"\x2f\x06")[1]
    if sw == 0x9000:
        record = send(port, 0xB2, 0x0204, ne=256)[0]
    there = send(port, SELECT, 0x000C, b"\x01\x01")[1]
    return record, there, send(port, READ, 0, ne=1)[1] if there == 0x9000 else 0


@pytest.mark.parametrize("moment", CutMoment)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_rules_fit_what_ef_arr_holds_after_every_cut(
    master: NvmImage, change: Callable[[Port], None], moment: CutMoment
) -> None:
    seen: set[tuple[bytes, int, int]] = set()
    unit = 0
    torn = True
    while torn:
        unit += 1
        with master.fork() as image:
            power = PowerSupply()
            port = boot(image.nvm(power=power)).contact
            port.power_on()
            power.arm(unit, moment)
            try:
                change(port)
            except PortMute:
                port.power_on()
            else:
                torn = False
            record, there, reading = judge(port)
            seen.add((record, there, reading))
            assert reading == (0x9000 if record == OPEN else 0x6982) or there == 0x6A82
    assert unit > 5
    assert (b"", 0x9000, 0x6982) in seen
    assert len(seen) > 1
