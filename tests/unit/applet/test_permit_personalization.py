"""STORE DATA of the permit: order, repetition, content; and what answers before it is done."""

from __future__ import annotations

import pytest

from card_os.globalplatform.registry import ApplicationLifeCycle
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import CardError
from card_os.iso7816.status import SW
from personalization.terminal.channel import PlainChannel
from personalization.terminal.session import select
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import (
    CHIP_SCALAR,
    CONTENT,
    PERMIT,
    Bench,
    blank,
    key_entry,
    key_grouping,
    new_permit,
    permit_groupings,
    personalize,
    pin_grouping,
    store,
)

FILES, KEYS, PINS, CHIP, DONE = 0x0062, 0x8000, 0x8010, 0x8101, 0x9F01


@pytest.fixture(scope="module")
def empty_once() -> Bench:
    return blank(PERMIT)


@pytest.fixture
def empty(empty_once: Bench) -> Bench:
    return empty_once.fork()


def until(bench: Bench, identifier: int) -> Bench:
    """Everything in front of a DGI."""
    for number, value in permit_groupings(bench.card_number):
        if number == identifier:
            break
        store(bench, number, value, last=number == DONE)
    return bench


def refusal(bench: Bench, identifier: int, value: bytes, *, last: bool = False) -> int:
    before = bench.image.snapshot()
    with pytest.raises(CardError) as caught:
        store(bench, identifier, value, last=last)
    # Nothing of a refused DGI stays: the same card, booted again, answers as before.
    assert objects(bench) == objects(bench.fork())
    assert len(bench.image.snapshot()) == len(before)
    return int(caught.value.sw)


def objects(bench: Bench) -> list[tuple[int, int, bytes]]:
    keep = bench.card.platform.store
    return sorted((item.kind, item.identifier, keep.read(item)) for item in keep.owned(bench.application.owner))


def test_before_it_is_personalized_the_permit_answers_nothing(empty: Bench) -> None:
    until(empty, DONE)
    channel = PlainChannel(empty.on(Interface.CONTACT))
    select(channel, PERMIT.application.instance)
    for command in (
        CommandApdu(0, 0xB0, 0x81, 0, b"", 1),
        CommandApdu(0, 0xA4, 2, 4, b"\x01\x01", 256),
        CommandApdu(0, 0xB2, 1, 0x64, b"", 32),
        CommandApdu(0, 0x84, 0, 0, b"", 16),
        CommandApdu(0, 0x82, 0, 0x81, bytes(64), 64),
        CommandApdu(0, 0x88, 0, 0xA0, bytes(16), 64),
        CommandApdu(0, 0x20, 0, 0x81),
        CommandApdu(0, 0x24, 0, 0x81, bytes(16)),
        CommandApdu(0, 0x2C, 0, 0x81, bytes(16)),
        CommandApdu(0, 0xCA, 0xDF, 0x20, b"", 256),
        CommandApdu(0, 0xCA, 0xDF, 0x21, b"", 256),
        CommandApdu(0, 0xDA, 0xDF, 0x22, b"20260101"),
        CommandApdu(0, 0xD6, 0x81, 0, b"x"),
    ):
        assert channel.exchange(command).sw == SW.CONDITIONS_NOT_SATISFIED, command


def test_the_last_grouping_personalizes(empty: Bench) -> None:
    personalize(empty, permit_groupings(empty.card_number))
    assert empty.application.life_cycle == ApplicationLifeCycle.PERSONALIZED
    for fid, content in CONTENT.items():
        file = empty.card.platform.context_of(empty.application).files.get(fid)
        assert empty.card.platform.context_of(empty.application).files.read(file, 0, len(content)) == content


@pytest.mark.parametrize("identifier", [FILES, 0x0101, KEYS, PINS, CHIP, DONE])
def test_afterwards_every_grouping_is_refused(identifier: int) -> None:
    made = new_permit()
    assert refusal(made, identifier, b"\x00\x00x", last=identifier == DONE) == SW.CONDITIONS_NOT_SATISFIED


ORDER = [
    (FILES, KEYS), (FILES, PINS), (FILES, CHIP), (FILES, DONE),
    (0x0101, FILES), (0x0101, PINS), (0x0101, CHIP), (0x0101, DONE),
    (KEYS, FILES), (KEYS, PINS), (KEYS, CHIP), (KEYS, DONE),
    (PINS, FILES), (PINS, 0x0101), (PINS, KEYS), (PINS, DONE),
    (CHIP, FILES), (CHIP, 0x0101), (CHIP, KEYS), (CHIP, PINS), (CHIP, DONE),
    (DONE, FILES), (DONE, 0x0101), (DONE, KEYS), (DONE, PINS), (DONE, CHIP),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "identifier"), ORDER)
def test_out_of_order_or_twice_is_refused(empty: Bench, stage: int, identifier: int) -> None:
    until(empty, stage)
    values = dict(permit_groupings(empty.card_number))
    value, last = values[identifier], identifier == DONE
    assert refusal(empty, identifier, value, last=last) == SW.CONDITIONS_NOT_SATISFIED


def test_pins_may_be_left_out(empty: Bench) -> None:
    """A child's card has no PIN."""
    groupings = [item for item in permit_groupings(empty.card_number) if item[0] != PINS]
    personalize(empty, groupings)
    assert empty.application.life_cycle == ApplicationLifeCycle.PERSONALIZED


def test_only_the_identification_is_last(empty: Bench) -> None:
    until(empty, CHIP)
    assert refusal(empty, CHIP, CHIP_SCALAR, last=True) == SW.CONDITIONS_NOT_SATISFIED
    store(empty, CHIP, CHIP_SCALAR)
    assert refusal(empty, DONE, PERMIT.identification) == SW.CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize(
    ("stage", "identifier", "value", "status"),
    [
        (FILES, FILES, b"", SW.WRONG_DATA),
        (FILES, FILES, b"\x62\x05\x80", SW.NC_INCONSISTENT_WITH_TLV),
        (FILES, FILES, b"\x62\x03\x80\x01\x05", SW.WRONG_DATA),
        (FILES, FILES, 2 * PERMIT.fcp(PERMIT.file(0x0102), 256), SW.FILE_EXISTS),
        (FILES, 0x0101, b"\x00\x00x", SW.REFERENCE_DATA_NOT_FOUND),
        (FILES, 0x7777, b"x", SW.REFERENCE_DATA_NOT_FOUND),
        (KEYS, 0x0101, b"\x00\x00", SW.WRONG_LENGTH),
        (KEYS, 0x0102, b"\x01\x00x", SW.WRONG_PARAMETERS),
        (KEYS, 0x0202, b"\x00\x00" + bytes(31), SW.WRONG_LENGTH),
        (KEYS, 0x0909, b"\x00\x00x", SW.REFERENCE_DATA_NOT_FOUND),
        (KEYS, KEYS, b"", SW.WRONG_DATA),
        (KEYS, KEYS, key_grouping(PERMIT, bytes(10))[:-1], SW.WRONG_DATA),
        (KEYS, KEYS, key_grouping(PERMIT, bytes(10))[:-1] + b"\x00", SW.WRONG_DATA),
        (KEYS, KEYS, 2 * key_entry(0x81, 1, 10, bytes(32)), SW.FILE_EXISTS),
        (PINS, PINS, pin_grouping()[:-1], SW.WRONG_DATA),
        (PINS, PINS, bytes((0x81, 1, 3)) + bytes(8), SW.WRONG_DATA),
        (CHIP, CHIP, bytes(32), SW.WRONG_DATA),
        (CHIP, CHIP, CHIP_SCALAR[:-1], SW.WRONG_DATA),
        (CHIP, CHIP, b"\xff" * 32, SW.WRONG_DATA),
    ],
)
def test_content_that_is_not_possible_is_refused_whole(
    empty: Bench, stage: int, identifier: int, value: bytes, status: int
) -> None:
    until(empty, stage)
    assert refusal(empty, identifier, value) == status


@pytest.mark.parametrize("value", [b"", b"x" * 33, "浙江".encode()])
def test_an_identification_that_is_no_name_is_refused(empty: Bench, value: bytes) -> None:
    until(empty, DONE)
    assert refusal(empty, DONE, value, last=True) == SW.WRONG_DATA


def test_install_parameters_are_refused() -> None:
    bench = blank(PERMIT)
    platform = bench.card.platform
    names = PERMIT.application
    with pytest.raises(CardError) as caught:
        platform.install(
            package_aid=names.package,
            module_aid=names.module,
            aid=names.instance + b"\x02",
            privileges=bench.application.privileges,
            domain=1,
            life_cycle=ApplicationLifeCycle.SELECTABLE,
            parameters=b"\x01",
        )
    assert caught.value.sw == SW.WRONG_DATA


def test_personalization_goes_on_after_a_reset(empty: Bench) -> None:
    """Nothing volatile is needed between two STORE DATA commands."""
    bench = empty
    for identifier, value in permit_groupings(bench.card_number):
        bench = bench.fork()
        store(bench, identifier, value, last=identifier == DONE)
    assert bench.application.life_cycle == ApplicationLifeCycle.PERSONALIZED
