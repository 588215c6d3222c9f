"""Without authentication a reader learns nothing that is personal and nothing that traces a card."""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import CommandApdu
from personalization.terminal.channel import PlainChannel
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import (
    CONTENT,
    PERMIT,
    Bench,
    blank,
    new_permit,
    permit_groupings,
    personalize,
    windows,
)

RUN = 5
"""Shortest run of bytes that counts as common; four random bytes meet by chance once in a million tries."""


@pytest.fixture(scope="module")
def made() -> Bench:
    return new_permit(serial=0x12345678, seed=11)


@pytest.fixture(scope="module")
def other() -> Bench:
    return new_permit(serial=0x77777777, seed=12)


def everything(bench: Bench, interface: Interface) -> list[bytes]:
    """All that a reader without a key gets from the selected permit, over commands and parameters."""
    channel = PlainChannel(bench.on(interface))
    select = CommandApdu(0, 0xA4, 4, 0, PERMIT.application.instance, 256)
    answers: list[bytes] = []
    commands = [
        *(CommandApdu(0, 0xCA, 0xDF, low, b"", 256) for low in range(0x18, 0x30)),
        *(CommandApdu(0, 0xCA, high, low, b"", 256) for high, low in ((0x9F, 0x7F), (0x00, 0x66), (0x00, 0xCF))),
        *(CommandApdu(0x80, 0xCA, high, low, b"", 256) for high, low in ((0x9F, 0x7F), (0x00, 0xCF), (0x00, 0x42))),
        *(CommandApdu(0, 0xB0, 0x80 | sfi, 0, b"", 256) for sfi in range(1, 31)),
        *(CommandApdu(0, 0xB2, 1, sfi << 3 | 4, b"", 256) for sfi in range(1, 31)),
        *(CommandApdu(0, 0xA4, 2, form, row.fid.to_bytes(2, "big"), 256) for row in PERMIT.files for form in (0, 4)),
        CommandApdu(0, 0x84, 0, 0, b"", 16),
        CommandApdu(0, 0x82, 0, 0x81, bytes(64), 64),
        CommandApdu(0, 0x88, 0, 0xA0, bytes(16), 64),
        CommandApdu(0, 0x20, 0, 0x81),
    ]
    for command in commands:
        channel.exchange(select)
        answers.append(channel.exchange(command).data)
    return answers


@pytest.mark.parametrize("interface", list(Interface))
def test_two_readings_share_no_bytes_but_those_of_every_card(made: Bench, other: Bench, interface: Interface) -> None:
    first = everything(made.fork(seed=21), interface)
    second = everything(made.fork(seed=22), interface)
    another = everything(other.fork(seed=23), interface)
    common = {run for answer in first for run in windows(answer, RUN)}
    common &= {run for answer in second for run in windows(answer, RUN)}
    public = {run for answer in another for run in windows(answer, RUN)}
    assert common
    assert common <= public


@pytest.mark.parametrize("interface", list(Interface))
def test_lengths_of_answers_are_those_of_every_card(made: Bench, interface: Interface) -> None:
    """The length of a portrait or a name would trace a card as well."""
    lengths = [[len(answer) for answer in everything(bench, interface)] for bench in (made.fork(), _with_long_name())]
    assert lengths[0] == lengths[1]


def _with_long_name() -> Bench:
    bench = blank(PERMIT, serial=3)
    groupings = permit_groupings(bench.card_number)
    sizes = {fid: len(content) + 11 for fid, content in CONTENT.items() if PERMIT.file(fid).size is None}
    groupings[0] = (0x0062, PERMIT.file_creation_dgi(sizes))
    return personalize(bench, groupings)


@pytest.mark.parametrize("interface", list(Interface))
def test_nothing_personal_and_no_number_is_in_what_a_reader_gets(made: Bench, interface: Interface) -> None:
    bench = made.fork()
    said = b"".join(everything(bench, interface))
    assert bench.card_number not in said
    assert bench.card_number[-4:] not in said
    for content in CONTENT.values():
        assert not any(run in said for run in windows(content[:200], 8) if run.strip(b"\x00 "))


def test_the_concealed_number_is_fresh_each_time(made: Bench) -> None:
    bench = made.fork()
    channel = PlainChannel(bench.on(Interface.CONTACTLESS))
    channel.exchange(CommandApdu(0, 0xA4, 4, 0, PERMIT.application.instance, 256))
    get = CommandApdu(0, 0xCA, 0xDF, 0x20, b"", 256)
    seen = [channel.exchange(get).data for _ in range(50)]
    assert {len(value) for value in seen} == {40}
    assert len({value[:16] for value in seen}) == len({value[16:32] for value in seen}) == 50


def test_over_the_field_the_identifier_of_the_chip_is_random(made: Bench) -> None:
    """ISO/IEC 14443-3:2018, 6.5.4: a UID that begins with 08 is random."""
    bench = made.fork()
    seen: set[bytes] = set()
    for _ in range(4):
        bench.contactless.power_on()
        seen.add(bench.card.contactless.uid)
        bench.contactless.power_off()
    assert len(seen) == 4
    assert {uid[0] for uid in seen} == {0x08}
