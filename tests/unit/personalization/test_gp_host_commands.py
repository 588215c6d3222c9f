"""GlobalPlatform commands as bytes (GPC 2.3.1, clause 11)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.commands import CardState, DataGrouping, StatusScope
from personalization.globalplatform.registry import RegistryEntry, parse_entries
from personalization.globalplatform.scp03 import StaticKeys

DEK = bytes(range(16))
AID = bytes.fromhex("F05A4A4A5A0101")


def decrypt(data: bytes) -> bytes:
    return Cipher(algorithms.AES(DEK), modes.CBC(bytes(16))).decryptor().update(data)


def test_the_factory_set_is_the_default_where_it_is_alone() -> None:
    """P1 of INITIALIZE UPDATE goes up to 7F (E.5.1.3; JCOP 4 answers 6A86 to FF)."""
    assert [commands.reference_of_set(version) for version in (0x00, 0x01, 0x7F, 0xFF)] == [0x00, 0x01, 0x7F, 0x00]
    assert commands.reference_of_set(0xFF, alone=False) == 0xFF


def test_fixed_commands() -> None:
    assert commands.select(AID).encode().hex().upper() == "00A4040007F05A4A4A5A010100"
    assert commands.get_data(0x9F7F).encode().hex().upper() == "80CA9F7F00"
    assert commands.initialize_update(0xFF, bytes(8)).encode().hex().upper() == "8050FF0008000000000000000000"
    assert commands.set_card_state(CardState.SECURED).encode().hex().upper() == "80F0800F"
    assert commands.set_application_state(AID, 0x87).encode().hex().upper() == "80F0408707F05A4A4A5A0101"
    assert commands.get_status(StatusScope.APPLICATIONS).encode().hex().upper() == "80F24002024F0000"
    assert commands.get_status(StatusScope.PACKAGES, following=True).encode().hex().upper() == "80F22003024F0000"
    assert commands.delete(AID).encode().hex().upper() == "80E40000094F07F05A4A4A5A010100"
    assert commands.delete(AID, related=True).p2 == 0x80


def test_install() -> None:
    command = commands.install(package_aid=AID[:6], module_aid=AID, instance_aid=AID, parameters=b"\x01\x02")
    expected = "80E60C001F06F05A4A4A5A0107F05A4A4A5A010107F05A4A4A5A0101010004C90201020000"
    assert command.encode().hex().upper() == expected
    assert commands.install(package_aid=AID, module_aid=AID, instance_aid=AID, selectable=False).p1 == 0x04
    assert commands.make_selectable(AID).encode().hex().upper() == "80E608000E000007F05A4A4A5A01010100000000"
    assert commands.install_for_personalization(AID).encode().hex().upper() == "80E620000D000007F05A4A4A5A010100000000"


@pytest.mark.parametrize(("length", "component"), [(16, 0x11), (24, 0x21), (32, 0x21)])
def test_put_key(length: int, component: int) -> None:
    new = StaticKeys(0x01, bytes(length), b"\x01" * length, b"\x02" * length)
    command = commands.put_key(new, DEK, replace=0x05)
    assert (command.cla, command.ins, command.p1, command.p2) == (0x80, 0xD8, 0x05, 0x81)
    data = command.data
    assert data[:4] == bytes((0x01, 0x88, component, length))
    assert decrypt(data[4 : 3 + component])[:length] == new.enc
    assert data[3 + component : 7 + component] == b"\x03" + commands.key_check_value(new.enc)
    assert commands.put_key_answer(new)[:4] == b"\x01" + commands.key_check_value(new.enc)


def test_put_key_in_place_of_the_factory_set() -> None:
    new = StaticKeys(0x01, bytes(16), bytes(16), bytes(16))
    assert commands.put_key(new, DEK, replace=0xFF).p1 == 0x00


def test_check_value_of_a_published_key() -> None:
    """AES-128 of 16 bytes 01 under 000102…0F, first three bytes (GPC B.6)."""
    assert commands.key_check_value(bytes(range(16))).hex().upper() == "C35280"


def test_plain_and_encrypted_groupings_travel_apart() -> None:
    groupings = [
        DataGrouping(0x0101, b"\x01"),
        DataGrouping(0x0102, b"\x02"),
        DataGrouping(0x8000, b"\x03" * 16, encrypted=True),
        DataGrouping(0x8010, b"\x04", encrypted=True),
        DataGrouping(0x9F01, b"\x05"),
    ]
    blocks = commands.store_data(groupings, dek=DEK, max_data=239)
    assert [(block.p1, block.p2) for block in blocks] == [(0x08, 0), (0x68, 1), (0x88, 2)]
    assert blocks[0].data.hex() == "0101010101020102"
    assert blocks[1].data[:3].hex() == "800020"
    assert decrypt(blocks[1].data[3:35]) == b"\x03" * 16 + b"\x80" + bytes(15)
    assert blocks[2].data.hex() == "9f010105"


def test_a_long_grouping_goes_on_in_the_next_command() -> None:
    value = bytes(range(256)) * 2
    blocks = commands.store_data([DataGrouping(0x0062, value)], dek=DEK, max_data=200)
    assert [len(block.data) for block in blocks] == [200, 200, 117]
    assert b"".join(block.data for block in blocks) == bytes.fromhex("0062FF0200") + value
    assert [block.p1 for block in blocks] == [0x08, 0x08, 0x88]


def test_a_grouping_that_would_fit_is_not_torn_apart() -> None:
    groupings = [DataGrouping(1, bytes(100)), DataGrouping(2, bytes(100))]
    assert [len(block.data) for block in commands.store_data(groupings, dek=DEK, max_data=150)] == [103, 103]


@given(
    st.lists(st.builds(DataGrouping, st.integers(0, 0xFFFF), st.binary(max_size=700), st.booleans()), max_size=8),
    st.integers(16, 255),
)
def test_nothing_is_lost(groupings: list[DataGrouping], max_data: int) -> None:
    blocks = commands.store_data(groupings, dek=DEK, max_data=max_data)
    assert all(0 < len(block.data) <= max_data for block in blocks)
    assert [block.p2 for block in blocks] == list(range(len(blocks)))
    assert [bool(block.p1 & 0x80) for block in blocks] == [False] * (len(blocks) - 1) + [True] * bool(blocks)
    stream = b"".join(block.data for block in blocks)
    assert stream == b"".join(commands.encode_grouping(grouping, DEK) for grouping in groupings)


def test_more_than_256_blocks() -> None:
    with pytest.raises(PersonalizationError, match="too-many-blocks"):
        commands.store_data([DataGrouping(1, bytes(60_000))], dek=DEK, max_data=200)


def test_too_long_a_grouping() -> None:
    with pytest.raises(PersonalizationError, match="grouping-too-long"):
        commands.encode_grouping(DataGrouping(1, bytes(65_536)), DEK)


def test_length_of_a_grouping_at_the_boundary() -> None:
    assert commands.encode_grouping(DataGrouping(1, bytes(254)), DEK)[:3].hex() == "0001fe"
    assert commands.encode_grouping(DataGrouping(1, bytes(255)), DEK)[:5].hex() == "0001ff00ff"


def test_registry_entries() -> None:
    raw = bytes.fromhex("E3124F07F05A4A4A5A01019F700107C503000000E30E4F06F05A4A4A5A019F7001018400")
    assert parse_entries(raw) == [
        RegistryEntry(AID, 0x07, bytes(3)),
        RegistryEntry(AID[:6], 0x01, modules=(b"",)),
    ]


@pytest.mark.parametrize("raw", ["E3", "E3024F00", "E4009F7001", "E3039F7000", "00"])
def test_broken_registry_entries(raw: str) -> None:
    with pytest.raises(PersonalizationError, match="registry-malformed"):
        parse_entries(bytes.fromhex(raw))
