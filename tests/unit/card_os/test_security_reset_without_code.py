"""RESET RETRY COUNTER without a resetting code (ISO/IEC 7816-4, clause 11.6.10, P1 02 and 03)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import pytest

from card_os.applet_api import (
    AccessRule,
    Context,
    Instruction,
    KeyUsage,
    Proof,
    authentication_instructions,
    cmac,
    create_key,
    create_pin,
    instruction_table,
    pin_block,
    pin_instructions,
)
from card_os.card import Card
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongData
from card_os.port import Port

AID: Final = bytes.fromhex("F0544553540501")
PIN, PUK, NEW, WRONG = (pin_block(digits) for digits in ("1234", "87654321", "246802", "9999"))
KEY: Final = bytes(range(32))


class Desk:
    """An application whose PIN the desk (role 2) may reset without the unblocking PIN."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *pin_instructions(reset=AccessRule((int(Proof.key(2)),))), *authentication_instructions()
    )

    def install(self, context: Context, parameters: bytes) -> None:
        create_pin(context, 0x81, PIN, number=1, try_limit=3, unblocking=0x82)
        create_pin(context, 0x82, PUK, number=2, try_limit=3)
        create_key(context, 0x82, KEY, usage=KeyUsage.TERMINAL, role=2, try_limit=3)

    def select(self, context: Context) -> bytes:
        return b"\x6f\x00"

    def deselect(self, context: Context) -> None:
        return

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        raise WrongData("no personalization")


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = NvmImage.create()
    Card(image.nvm(), [Desk]).platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    return image


@pytest.fixture
def port(master: NvmImage) -> Port:
    """The PIN is blocked."""
    port = Card(master.fork().nvm(), [Desk]).contact
    port.power_on()
    assert send(port, 0xA4, 0x040C, AID)[1] == 0x9000
    assert [verify(port, WRONG) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    return port


def send(port: Port, ins: int, parameters: int, data: bytes = b"", ne: int = 0) -> tuple[bytes, int]:
    answer = port.process(CommandApdu(0, ins, parameters >> 8, parameters & 0xFF, data, ne).encode())
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def verify(port: Port, block: bytes) -> int:
    return send(port, 0x20, 0x0081, block)[1]


def authenticate(port: Port) -> None:
    challenge, _ = send(port, 0x84, 0, ne=16)
    assert send(port, 0x82, 0x0082, cmac(KEY[16:], b"\x03\x82" + challenge)) == (b"", 0x9000)


def test_the_desk_gives_a_new_pin(port: Port) -> None:
    authenticate(port)
    assert send(port, 0x2C, 0x0281, NEW) == (b"", 0x9000)
    assert send(port, 0x20, 0x0081) == (b"", 0x63C3), "nobody is verified by it"
    assert verify(port, PIN) == 0x63C2
    assert verify(port, NEW) == 0x9000


def test_the_desk_gives_the_tries_back(port: Port) -> None:
    authenticate(port)
    assert send(port, 0x2C, 0x0381) == (b"", 0x9000)
    assert verify(port, PIN) == 0x9000
    assert send(port, 0x2C, 0x0381) == (b"", 0x9000)
    assert send(port, 0x20, 0x0081) == (b"", 0x63C3), "a reset takes the proof away"


@pytest.mark.parametrize(("parameters", "data"), [(0x0281, NEW), (0x0381, b""), (0x0299, NEW), (0x0281, b"")])
def test_nobody_else_does(port: Port, parameters: int, data: bytes) -> None:
    """The rule is asked first: who may not reset learns nothing of references."""
    assert send(port, 0x2C, parameters, data) == (b"", 0x6982)
    assert str(port.last_error) == "missing key role 2"
    assert verify(port, PIN) == 0x6983


@pytest.mark.parametrize(
    ("parameters", "data", "status"),
    [
        (0x0281, b"", 0x6700),
        (0x0281, NEW[:-1], 0x6700),
        (0x0281, PUK + NEW, 0x6700),
        (0x0281, bytes(8), 0x6A80),
        (0x0381, NEW, 0x6700),
        (0x0299, NEW, 0x6A88),
        (0x0399, b"", 0x6A88),
        (0x0481, NEW, 0x6A86),
        (0x0181, WRONG, 0x63C2),
    ],
)
def test_what_is_malformed_changes_nothing(port: Port, parameters: int, data: bytes, status: int) -> None:
    authenticate(port)
    assert send(port, 0x2C, parameters, data) == (b"", status)
    assert verify(port, PIN) == 0x6983


def test_the_forms_with_a_code_work_as_before(port: Port) -> None:
    assert send(port, 0x2C, 0x0081, PUK + NEW) == (b"", 0x9000)
    assert verify(port, NEW) == 0x9000


def test_without_a_rule_these_forms_do_not_exist() -> None:
    own = {row.ins: row.handler for row in Desk.instructions.values()}
    assert own[0x2C] != {row.ins: row.handler for row in pin_instructions()}[0x2C]
