"""Memory comes back after each deletion and each failed installation: nothing is lost over thousands of cycles."""

from __future__ import annotations

import pytest

from card_os.card import Card
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import StatusWord
from personalization.globalplatform.session import SecureSession
from tests.doubles.domain_card import (
    DOMAIN_MODULE,
    DOMAIN_PACKAGE,
    LOADED_MODULE,
    LOADED_PACKAGE,
    PARTNER,
    PLAIN_DOMAIN,
    boot,
    delete_command,
    install_command,
    load_commands,
    load_request,
    powered,
)
from tests.doubles.issuer_card import FACTORY, INSTANCE, MODULE, PACKAGE, issuer_image
from tests.doubles.load_files import cap_components

CHIPS = ("flash-144k", "mapped-flash-144k", "mapped-eeprom-80k")
BLOCK = tlv.encode(0xC4, cap_components(LOADED_PACKAGE, [LOADED_MODULE], code=150))
WRONG = tlv.encode(0xC4, cap_components(PACKAGE + b"\x77", [LOADED_MODULE], code=150))
QUOTA = bytes.fromhex("C9080102030405060708EF04C8020004")

Step = tuple[CommandApdu, int]


def steps() -> list[list[Step]]:
    """Cycles that end where they began: installation and deletion, and every way in which one of them fails."""
    install, delete = install_command(PACKAGE, MODULE, INSTANCE), delete_command(INSTANCE)
    *first, last = load_commands(BLOCK)
    wrong = load_commands(WRONG)
    begin = load_request(LOADED_PACKAGE)._replace(p1=0x0E, p2=0x01)
    end = install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE, p1=0x0E)._replace(p2=0x03)
    return [
        [(install, 0x9000), (delete, 0x9000)],
        [(install_command(PACKAGE, MODULE, INSTANCE, parameters=QUOTA), 0x6A84)],
        [(install, 0x9000), (install, 0x6A8A), (delete, 0x9000), (delete, 0x6A88)],
        [(install_command(PACKAGE, MODULE, b"\xf0" * 4), 0x6A80)],
        [
            (install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN), 0x9000),
            (delete_command(PARTNER), 0x9000),
        ],
        [
            (load_request(LOADED_PACKAGE), 0x9000),
            *((block, 0x9000) for block in (*first, last)),
            (install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE), 0x9000),
            (delete_command(LOADED_PACKAGE, related=True), 0x9000),
        ],
        [(load_request(LOADED_PACKAGE), 0x9000), (wrong[0], 0x9000), (wrong[1], 0x6A80)],
        [(load_request(LOADED_PACKAGE), 0x9000), (first[0], 0x9000), (first[0], 0x6A86)],
        [(command, 0x9000) for command in (begin, *first, last, end, delete_command(LOADED_PACKAGE, related=True))],
        [*((command, 0x9000) for command in (begin, *first, last)), (end._replace(data=end.data[:-1]), 0x6A80)],
    ]


def survey(card: Card) -> tuple[int, int, list[str]]:
    """Bytes that nobody uses, the largest gap, and every object but the counters of keys."""
    store = card.platform.store
    return store.free_in_all, store.free, sorted(map(repr, store.objects()))


def cycle(chip: str, count: int) -> None:
    card = boot(issuer_image(chip=chip))
    connection = powered(card)
    SecureSession.open(connection, FACTORY, level=0)
    before = survey(card)
    rows = [[(command.encode(), StatusWord(sw).encode()) for command, sw in row] for row in steps()]
    for number in range(count):
        for command, expected in rows[number // 8 % len(rows) if number % 8 == 0 else 0]:
            assert card.contact.process(command)[-2:] == expected, number
    assert survey(card) == before
    connection.power_off()
    connection.power_on()
    assert survey(card) == before
    assert card.faults == 0


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("row", range(len(steps())))
def test_each_cycle_ends_where_it_began(chip: str, row: int) -> None:
    card = boot(issuer_image(chip=chip))
    SecureSession.open(powered(card), FACTORY, level=0)
    before = survey(card)
    for _ in range(3):
        for command, expected in steps()[row]:
            assert card.contact.process(command.encode())[-2:] == StatusWord(expected).encode()
        assert survey(card) == before


def test_nothing_is_lost_over_ten_thousand_cycles() -> None:
    cycle("flash-144k", 10_000)


def test_nothing_is_lost_on_a_mapped_memory() -> None:
    cycle("mapped-flash-144k", 2_000)


@pytest.mark.long
@pytest.mark.parametrize("chip", CHIPS)
def test_nothing_is_lost_in_the_long_run(chip: str) -> None:
    cycle(chip, 10_000)
