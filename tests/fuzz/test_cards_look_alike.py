"""To a contactless reader that has proved nothing, two permits are one: the same answers, in the same virtual time.

What a reader could tell them apart by would trace a person. The cards differ in number, keys, PINs, content and its
lengths, and in what has happened to them; both draw from the same random source, so that their answers may be compared.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from card_os.globalplatform.registry import CardLifeCycle
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.tlv import encode
from card_os.security.cryptography import P256PrivateKey
from personalization.profile_rows import FileStructure
from personalization.terminal.holder import HolderSession
from reader_bridge.connection import Interface
from tests.fuzz.test_any_bytes import NEARLY_VALID, RAW, SELECTION
from tests.unit.applet.workbench import (
    HOLDER_PIN,
    PERMIT,
    Bench,
    blank,
    key_grouping,
    new_permit,
    new_sam,
    open_permit,
    permit_groupings,
    personalize,
    pin_block,
)

CONCEALED: Final = bytes.fromhex("00CADF20")
OTHER_CHIP: Final = bytes(31) + b"\x07"
OTHER_CONTENT: Final = {
    0x0101: encode(0x7F01, encode(0x5F20, "丁一".encode()), encode(0xDF03, b"330105202600000009")),
    0x0102: "丁一".ljust(128).encode("utf-16-le"),
    0x0103: b"\xff\xd8\xff\xe0" + bytes(200) + b"\xff\xd9",
    0x0104: encode(0x7F21, bytes(90)) + encode(0x5F37, b"\x01" * 64),
    0x0105: P256PrivateKey(OTHER_CHIP).public_point,
    0x0203: b"\x03" + b"20280101" + b"20270101" + b"330105" + bytes(9),
}
AID: Final = bytes(PERMIT.application.instance)
FIRST_LOOK: Final = [
    CommandApdu(0, 0xA4, 4, 0, AID, 256).encode(),
    *(
        CommandApdu(0, 0xA4, 0, form, row.fid.to_bytes(2, "big"), 256).encode()
        for row in PERMIT.files
        for form in (0, 4)
    ),
    *(CommandApdu(0, 0xB0, 0x80 | row.sfi, at, b"", 1).encode() for row in PERMIT.files for at in (0, 255)),
    *(CommandApdu(0, 0xB2, number, row.sfi << 3 | 4, b"", 1).encode() for row in PERMIT.files for number in (1, 2)),
    *(CommandApdu(0, 0x20, 0, reference).encode() for reference in (0x81, 0x82)),
    CommandApdu(0, 0xCA, 0xDF, 0x21, b"", 256).encode(),
    CommandApdu(0, 0x84, 0, 0, b"", 16).encode(),
]


def other_groupings(card_number: bytes) -> list[tuple[int, bytes]]:
    sizes = {fid: len(content) for fid, content in OTHER_CONTENT.items() if PERMIT.file(fid).size is None}
    return [
        (0x0062, PERMIT.file_creation_dgi(sizes)),
        *((fid, b"\x00\x00" + content) for fid, content in OTHER_CONTENT.items()),
        (0x8000, key_grouping(PERMIT, card_number)),
        (0x8010, bytes((0x81, 1, 3)) + pin_block("97531") + bytes((0x82, 2, 10)) + pin_block("86420864")),
        (0x8101, OTHER_CHIP),
        (0x9F01, PERMIT.identification),
    ]


@cache
def cards() -> tuple[Bench, Bench]:
    """One as it was made, and another one that has been about."""
    fresh = new_permit(serial=1)
    used = blank(PERMIT, serial=0xDEAD)
    personalize(used, other_groupings(used.card_number))
    desk = open_permit(used, new_sam(), "service_desk", Interface.CONTACT)
    endorsements = next(row for row in PERMIT.files if row.structure is not FileStructure.TRANSPARENT)
    desk.files.append_record(endorsements, b"20270101" + b"20280101" + b"330105" + b"DESK0001" + bytes(2))
    used.contact.reset()
    assert HolderSession.open(used.contact, PERMIT).tries_left() == 3
    used.contact.transmit(CommandApdu(0, 0x20, 0, 0x81, pin_block(HOLDER_PIN)).encode())
    for bench in (fresh, used):
        bench.card.platform.registry.set_card_life_cycle(CardLifeCycle.SECURED)
    assert permit_groupings(fresh.card_number) != other_groupings(used.card_number)
    return fresh, used


def told(bench: Bench, commands: list[bytes]) -> list[tuple[bytes, int]]:
    """What the card answers over the field, and how long each answer takes."""
    card = bench.card
    found = [(card.contactless.power_on() + card.contactless.uid, 0)]
    for command in commands:
        started = card.clock.now_ns
        answer = card.contactless.process(command)
        # Fresh bytes each time, which only a SAM of the generation opens.
        shown = answer if command[:4] != CONCEALED else answer[-2:]
        found.append((shown, card.clock.now_ns - started))
    return found


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(RAW, NEARLY_VALID, SELECTION, st.sampled_from(FIRST_LOOK)), max_size=20))
def test_two_permits_are_one_to_a_stranger(commands: list[bytes]) -> None:
    fresh, used = (bench.fork() for bench in cards())
    selected = [FIRST_LOOK[0], *commands]
    assert told(fresh, selected) == told(used, selected)


def test_a_first_look_tells_nothing() -> None:
    fresh, used = (bench.fork() for bench in cards())
    assert told(fresh, FIRST_LOOK) == told(used, FIRST_LOOK)
