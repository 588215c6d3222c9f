"""The default file system card."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from applet.file_system.sample import SAMPLE
from card_os.card import Card
from card_os.files.card_information import MAX_COMMAND
from card_os.files.spec import AccessMode, encode_rules
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.atr import Atr, CompactTag, HistoricalBytes
from card_os.security.access import ALWAYS
from card_os.storage.store import ObjectKind
from reader_bridge.connection import CardConnection
from tests.doubles.file_system_card import new_file_system_card


@pytest.fixture
def card() -> Iterator[CardConnection]:
    with new_file_system_card() as simulated, simulated.connect() as connection:
        yield connection


def send(card: CardConnection, text: str) -> str:
    return card.transmit(bytes.fromhex(text)).hex().upper()


def test_the_mf_is_there_after_a_reset(card: CardConnection) -> None:
    """7816-4, 7.1 and 11.2.2: 3F00 is the MF, and current after the answer to reset."""
    answer = send(card, "00A40004023F0000")
    assert answer.startswith("62")
    assert "820138" in answer
    assert "83023F00" in answer
    assert send(card, "00B0820005") == b"Hello".hex().upper() + "9000"


def test_without_a_name_and_a_selected_file_the_mf_is_managed(card: CardConnection) -> None:
    """7816-9, 9: the current file is meant, which is the MF after the answer to reset (7816-4, 7.1)."""
    assert send(card, "00440000") == "9000"
    assert send(card, "00E40000") == "6985"
    assert send(card, "00040000") == "9000"
    assert send(card, "00B0820005") == "6985"
    assert send(card, "00A4000C023F00") == "6283"
    assert send(card, "00440000") == "9000"
    assert send(card, "00B0820005") == b"Hello".hex().upper() + "9000"


def test_ef_dir_names_the_application(card: CardConnection) -> None:
    assert send(card, "00A4000C022F00") == "9000"
    assert send(card, "00B2010400") == "6116" + "4F07F05A4A4A5A0301" + "500B46494C452053595354454D" + "9000"


def test_ef_atr_tells_lengths_that_the_card_keeps(card: CardConnection) -> None:
    """12.7.1: the longest command that is announced is taken, with all its data in one transaction."""
    information = card.transmit(bytes.fromhex("00B0810000"))
    objects = {item.tag: item.value for item in tlv.parse_all(information[:-2])}
    longest, _ = (int.from_bytes(item.value, "big") for item in tlv.parse_all(objects[0x7F66]))
    assert longest == MAX_COMMAND
    command = CommandApdu(0, 0xD6, 0x84, 0, bytes(range(256)) * 7 + bytes(longest - 7 - 1792), extended=True).encode()
    assert len(command) == longest
    assert card.transmit(command) == b"\x90\x00"
    assert send(card, "00B0000004") == "00010203" + "9000"


def test_every_file_of_the_sample_is_there(card: CardConnection) -> None:
    for path, spec, content in SAMPLE:
        name = path + spec.fid.to_bytes(2, "big")
        answer = card.transmit(CommandApdu(0, 0xA4, 8, 4, name, 256).encode())
        assert answer[-2:] == b"\x90\x00"
        assert tlv.find(tlv.parse_one(answer[:-2]).value, 0x83) == spec.fid.to_bytes(2, "big")
        if spec.record_count:
            records = list(content) if spec.structure.name != "CYCLIC" else list(reversed(content))
            for number, record in enumerate(records, 1):
                assert card.transmit(bytes((0, 0xB2, number, 4, 0))) == record + b"\x90\x00"


def test_the_holder_file_asks_for_the_pin(card: CardConnection) -> None:
    assert send(card, "00B0830001") == "6982"
    assert send(card, "0020008108" + "249999FFFFFFFFFF") == "63C2"
    assert send(card, "0020008108" + "241234FFFFFFFFFF") == "9000"
    assert send(card, "00B0830001") == "009000"


def test_an_mf_without_a_rule_for_it_takes_no_files() -> None:
    rules = encode_rules({AccessMode.READ: ALWAYS})
    with new_file_system_card(rules=rules) as simulated, simulated.connect() as card:
        spec = SAMPLE[0].spec.encode()
        assert card.transmit(CommandApdu(0, 0xE0, 0, 0, spec).encode()) == b"\x69\x82"
        assert send(card, "00FE0000") == "6982"
        assert send(card, "00E4000002" + "2F00") == "6982"
        assert send(card, "00E2000002" + "6100") == "6986"
        assert send(card, "00A4000C02" + "2F00") == "9000"
        assert send(card, "00E2000002" + "6100") == "6982"
        assert send(card, "00DA005A01" + "00") == "6982"


def test_wrong_rules_are_not_installed() -> None:
    with pytest.raises(Exception, match="6A80"):
        new_file_system_card(rules=b"\x01\x01")


def test_a_card_with_a_damaged_file_starts_and_promises_no_mf() -> None:
    """ISO/IEC 7816-3, 8: a card that has power answers to reset; 7816-4, 12.1.1.7: b1, there is no MF."""
    with new_file_system_card() as simulated:
        assert isinstance(simulated.card, Card)
        store = simulated.card.platform.store
        owner = next(owner for owner in range(2, 9) if store.owned(owner, ObjectKind.FILE))
        for item in store.owned(owner, ObjectKind.FILE):
            store.change(item, 1, b"\x1f")  # no file descriptor byte
        simulated.card.contact.power_on()
        answer = HistoricalBytes.parse(Atr.parse(simulated.card.contact.reset()).historical)
        assert answer.find(CompactTag.SERVICE_DATA) == b"\xc1"
        assert simulated.card.faults == 0
        assert simulated.card.contact.process(bytes.fromhex("00A4040000"))[-2:] == b"\x90\x00"
