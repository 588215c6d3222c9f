"""Which two of the names that PC/SC lists are the two interfaces of one reader."""

from __future__ import annotations

from typing import Final

import pytest

from reader_bridge.connection import Interface
from reader_bridge.contactless_atr import interface_of
from reader_bridge.pcsc.readers import DualReader, PcscReader, find_dual

T1: Final = bytes.fromhex("3B800181")
FIELD: Final = bytes.fromhex("3B8180018080")
"""What PC/SC part 3 makes of an ATS with the historical byte 80."""


def readers(*names: str, cards: dict[int, bytes] | None = None) -> list[PcscReader]:
    """Readers of these names, some with a card."""
    answers = cards or {}
    return [
        PcscReader(name, answers.get(at), interface_of(answers[at]) if at in answers else None)
        for at, name in enumerate(names)
    ]


@pytest.mark.clause("PC/SC part 3, 3.1.3.2.3: 3B 8n 80 01 stands for a contactless card")
@pytest.mark.parametrize(
    ("atr", "interface"),
    [
        ("3B8180018080", Interface.CONTACTLESS),
        ("3B8F8001804F0CA000000306030001000000006A", Interface.CONTACTLESS),
        ("3B800181", Interface.CONTACT),
        ("3B00", Interface.CONTACT),
        ("3B8081", Interface.CONTACT),
        ("3F8180018080", Interface.CONTACT),
        ("3B9180018080", Interface.CONTACT),
    ],
)
def test_the_interface_is_guessed_from_the_atr(atr: str, interface: Interface) -> None:
    assert interface_of(bytes.fromhex(atr)) is interface


@pytest.mark.parametrize(
    ("names", "wanted", "contact", "contactless"),
    [
        (
            ["HID Global OMNIKEY 5422 Smartcard Reader 00 00", "HID Global OMNIKEY 5422CL Smartcard Reader 01 00"],
            "OMNIKEY 5422",
            "HID Global OMNIKEY 5422 Smartcard Reader 00 00",
            "HID Global OMNIKEY 5422CL Smartcard Reader 01 00",
        ),
        (
            ["ACS ACR1281 1S Dual Reader ICC 00 00", "ACS ACR1281 1S Dual Reader PICC 00 01"],
            "ACR1281",
            "ACS ACR1281 1S Dual Reader ICC 00 00",
            "ACS ACR1281 1S Dual Reader PICC 00 01",
        ),
        (
            ["ACS ACR1281 PICC 00 00", "ACS ACR1281 ICC 00 01", "ACS ACR1281 SAM 00 02"],
            "ACR1281",
            "ACS ACR1281 ICC 00 01",
            "ACS ACR1281 PICC 00 00",
        ),
        (
            ["Identiv uTrust 4701 F Contact Reader 00 00", "Identiv uTrust 4701 F CL Reader 01 00"],
            "4701",
            "Identiv uTrust 4701 F Contact Reader 00 00",
            "Identiv uTrust 4701 F CL Reader 01 00",
        ),
        (["Virtual PCD 00 00", "Virtual PCD 00 01"], "PCD", "Virtual PCD 00 00", "Virtual PCD 00 01"),
        (["Virtual PCD 00 00", "Virtual PCD 00 01"], "Virtual PCD 00 01", None, None),
        (["Virtual PCD 00 00"], "PCD", None, None),
        (["Reader A 00 00", "Reader B 01 00"], "Reader", None, None),
        (["Reader ICC 00 00", "Reader PICC 00 01", "Reader ICC 01 00"], "Reader", None, None),
        (["Reader ICC 00 00", "Reader CONTACT 00 01"], "Reader", None, None),
        ([], "Reader", None, None),
    ],
)
def test_words_in_the_names_tell_the_interfaces_apart(
    names: list[str], wanted: str, contact: str | None, contactless: str | None
) -> None:
    found = find_dual(readers(*names), wanted)
    assert found == (DualReader(contact, contactless) if contact and contactless else None)


def test_the_card_in_a_reader_says_more_than_its_name() -> None:
    names = ("Virtual PCD 00 00", "Virtual PCD 00 01")
    swapped = DualReader("Virtual PCD 00 01", "Virtual PCD 00 00")
    assert find_dual(readers(*names, cards={0: FIELD, 1: T1}), "PCD") == swapped
    assert find_dual(readers(*names, cards={0: FIELD}), "PCD") == swapped
    assert find_dual(readers(*names, cards={1: T1}), "PCD") == swapped
    assert find_dual(readers(*names, cards={0: T1, 1: FIELD}), "PCD") == DualReader(*names)
    assert find_dual(readers("R ICC 00 00", "R PICC 00 01", cards={0: FIELD, 1: T1}), "R") == DualReader(
        "R PICC 00 01", "R ICC 00 00"
    )


def test_two_cards_of_one_interface_are_no_dual_reader() -> None:
    names = ("Virtual PCD 00 00", "Virtual PCD 00 01")
    assert find_dual(readers(*names, cards={0: T1, 1: T1}), "PCD") is None
    assert find_dual(readers(*names, cards={0: FIELD, 1: FIELD}), "PCD") is None
