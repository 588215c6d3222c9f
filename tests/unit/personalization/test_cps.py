"""Records and files of preparers: EMV CPS instructions and DP files, read and written; what is false is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.globalplatform.data_key import AesDataKey, DesDataKey
from personalization.globalplatform.store_data import DataGrouping, Padding
from personalization.preparation.cps_record import InputRecord, Instructions
from personalization.preparation.dgi import parse_groupings
from personalization.preparation.dp_file import CardData, PreparationFile

AID = bytes.fromhex("A000000333010101")
MAC_KEY = bytes(range(16))
KEYS = DataGrouping(0x8000, bytes(range(48)), encrypted=True)
CHECK_VALUES = DataGrouping(0x9000, bytes(9))
RECORD_1 = DataGrouping(0x0101, b"\x70\x02\x57\x00")
RECORD_2 = DataGrouping(0x0201, b"\x70" + bytes(299))
FCI = DataGrouping(0x9102, b"\xa5\x00")
ALL = (RECORD_1, RECORD_2, KEYS, CHECK_VALUES, FCI)
INSTRUCTIONS = Instructions((0x8000, 0x9000, 0x9102), ((0x9000, 0x9102),), (0x8000,), 0x13)
RECORD = InputRecord(AID, ALL, INSTRUCTIONS, b"TK01")


# ---- the input record


def test_a_record_and_back() -> None:
    raw = RECORD.encode(MAC_KEY)
    assert raw[:4] == b"02.1"
    assert InputRecord.parse(raw, MAC_KEY) == RECORD


@given(
    st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=300), min_size=1, max_size=8),
    st.binary(min_size=5, max_size=16),
)
def test_any_record_comes_back(contents: dict[int, bytes], aid: bytes) -> None:
    names = sorted(contents)
    secret = tuple(names[::2])
    groupings = tuple(DataGrouping(dgi, contents[dgi], dgi in secret) for dgi in contents)
    record = InputRecord(aid, groupings, Instructions(tuple(names), (tuple(names[:2]),), secret), b"")
    assert InputRecord.parse(record.encode(MAC_KEY), MAC_KEY) == record


@pytest.mark.parametrize("at", [0, 4, 8, 20, -9, -8, -1])
def test_a_changed_record_is_refused_before_it_is_read(at: int) -> None:
    raw = bytearray(RECORD.encode(MAC_KEY))
    raw[at] ^= 1
    with pytest.raises(PersonalizationError, match="cps-record-not-authentic"):
        InputRecord.parse(bytes(raw), MAC_KEY)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (b"02.2", b""),
        (RECORD.encode(MAC_KEY)[:4], b"\0"),
        (RECORD.encode(MAC_KEY)[:4] + b"\0\0\0\x02", b""),
    ],
    ids=["another version", "a longer record", "a shorter length"],
)
def test_an_authentic_record_of_another_form_is_refused(begin: bytes, end: bytes) -> None:
    """Who holds the key may write a later version, which must not be taken for this one."""
    changed = begin + RECORD.encode(MAC_KEY)[len(begin) : -8] + end
    mac = CMAC(AES(MAC_KEY))
    mac.update(changed)
    with pytest.raises(PersonalizationError, match="cps-record-malformed"):
        InputRecord.parse(changed + mac.finalize()[:8], MAC_KEY)


def test_another_key_a_cut_and_an_empty_record() -> None:
    raw = RECORD.encode(MAC_KEY)
    for false, key in ((raw, bytes(16)), (raw[:-1], MAC_KEY), (raw + b"\x00", MAC_KEY), (b"", MAC_KEY)):
        with pytest.raises(PersonalizationError, match="cps-record-not-authentic"):
            InputRecord.parse(false, key)


@pytest.mark.parametrize(
    "instructions",
    [
        Instructions(order=(0x8000, 0x8000)),
        Instructions(order=(0x7777,)),
        Instructions(encrypted=(0x7777,)),
        Instructions(groups=((0x9000,), (0x9000,))),
        Instructions(groups=((0x7777,),)),
    ],
)
def test_instructions_that_do_not_fit_the_data(instructions: Instructions) -> None:
    with pytest.raises(PersonalizationError, match="cps-record-inconsistent"):
        InputRecord(AID, ALL, instructions)


def test_a_grouping_that_comes_twice() -> None:
    with pytest.raises(PersonalizationError, match=r"cps-record-inconsistent.*0101"):
        InputRecord(AID, (RECORD_1, RECORD_1))


def test_a_field_that_does_not_fit() -> None:
    with pytest.raises(PersonalizationError, match="cps-record-unfit"):
        InputRecord(bytes(256), ALL).encode(MAC_KEY)


# ---- what is sent


def test_order_and_grouping() -> None:
    assert [item.identifier for item in RECORD.ordered()] == [0x8000, 0x9000, 0x9102, 0x0101, 0x0201]
    blocks = RECORD.store_data(AesDataKey(bytes(16)), 200)
    # The keys, encrypted; then the group of 9000 and 9102 with 0101, and 0201 in its own and a further block.
    assert [(block.p1, block.p2) for block in blocks] == [(0x68, 0), (0x08, 1), (0x08, 2), (0x88, 3)]
    assert [item.identifier for item in parse_groupings(blocks[1].data)] == [0x9000, 0x9102, 0x0101]


def test_a_group_is_not_parted_by_what_goes_before() -> None:
    record = InputRecord(AID, (RECORD_1, CHECK_VALUES, FCI), Instructions(groups=((0x9000, 0x9102),)))
    blocks = record.store_data(AesDataKey(bytes(16)), 20)
    assert [[item.identifier for item in parse_groupings(block.data)] for block in blocks] == [
        [0x0101],
        [0x9000, 0x9102],
    ]


@pytest.mark.parametrize("protocol", ["SCP02", "SCP03"])
def test_secret_groupings_under_the_dek(protocol: str) -> None:
    """SCP02: session DEK, ECB; SCP03: static Key-DEK, CBC with a zero ICV. Whole blocks go without padding."""
    key = bytes(range(16))
    data_key = DesDataKey(key) if protocol == "SCP02" else AesDataKey(key)
    (first, *_) = RECORD.store_data(data_key, 239)
    (sent,) = parse_groupings(first.data)
    cipher = (
        Cipher(TripleDES(key + key[:8]), ECB())  # noqa: S305 - what E.4.7 of GPC wants
        if protocol == "SCP02"
        else Cipher(AES(key), CBC(bytes(16)))
    )
    assert (sent.identifier, cipher.decryptor().update(sent.value)) == (0x8000, KEYS.value)


def test_a_secret_grouping_that_is_no_whole_number_of_blocks() -> None:
    record = InputRecord(AID, (DataGrouping(0x8010, bytes(9)),), Instructions(encrypted=(0x8010,)))
    with pytest.raises(PersonalizationError, match="grouping-not-whole-blocks"):
        record.store_data(DesDataKey(bytes(16)), 239, Padding.NONE)
    (block,) = record.store_data(DesDataKey(bytes(16)), 239)
    assert block.data[2] == 16


# ---- the DP file


def test_a_preparation_file_by_hand() -> None:
    """The layout as it is found in the field, byte by byte."""
    file = PreparationFile.of(
        [[RECORD_1, CHECK_VALUES], [RECORD_1, CHECK_VALUES]], mic="MIC01", information=bytes(range(12))
    )
    card = "860701010470025700" + "860C900009" + "00" * 9
    expected = (
        "000102030405060708090A0B"
        + b"MIC01".ljust(15).hex()
        + b"00000002".hex()
        + "00000002"
        + ("0004" + b"0101".hex())
        + ("0004" + b"9000".hex())
        + ("00000001" + "0017" + card)
        + ("00000002" + "0017" + card)
    )
    assert file.encode().hex().upper() == expected.upper()
    assert PreparationFile.parse(file.encode()) == file


@given(
    st.lists(st.text(max_size=8), min_size=1, max_size=4),
    st.lists(st.binary(max_size=300), min_size=1, max_size=3),
)
def test_any_preparation_file_comes_back(names: list[str], values: list[bytes]) -> None:
    cards = tuple(
        CardData(number, tuple(DataGrouping(0x0101 + at, value) for at in range(len(names))))
        for number, value in enumerate(values, start=1)
    )
    file = PreparationFile(tuple(names), cards, "X")
    assert PreparationFile.parse(file.encode()) == file


def test_cards_with_other_groupings() -> None:
    with pytest.raises(PersonalizationError, match=r"dp-file-unequal.*number=2"):
        PreparationFile.of([[RECORD_1], [FCI]])


@pytest.mark.parametrize(
    ("field", "value"), [("mic", "X" * 16), ("information", bytes(11)), ("names", ("X" * 70_000,))]
)
def test_a_field_of_a_file_that_does_not_fit(field: str, value: object) -> None:
    values: dict[str, object] = {"names": (), "cards": (), "mic": "", "information": bytes(12), field: value}
    with pytest.raises(PersonalizationError, match="dp-file-unfit"):
        PreparationFile(**values).encode()  # type: ignore[arg-type]  # one field is false on purpose


GOOD = PreparationFile.of([[RECORD_1, FCI], [RECORD_1, FCI]]).encode()


@pytest.mark.parametrize(
    "false",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\x00",
        GOOD.replace(b"00000002", b"00000003"),
        GOOD.replace(b"00000002", b"0000000x"),
        GOOD.replace(b"\x86\x07\x01\x01", b"\x87\x07\x01\x01"),
        GOOD.replace(b"\x86\x07\x01\x01\x04", b"\x86\x07\x01\x01\x03"),
        GOOD[:35] + b"\x00\x00\x00\x01" + GOOD[39:45] + GOOD[51:],
        GOOD[:41] + b"\xff\xff" + GOOD[43:],
    ],
    ids=[
        "empty",
        "cut",
        "longer",
        "other count",
        "no count",
        "other tag",
        "other length",
        "other names",
        "name no text",
    ],
)
def test_a_malformed_preparation_file(false: bytes) -> None:
    with pytest.raises(PersonalizationError, match=r"dp-file-malformed|grouping-malformed"):
        PreparationFile.parse(false)


def test_no_content_shows() -> None:
    shown = f"{RECORD!r} {PreparationFile.of([[KEYS]])!r}"
    assert "\\x01\\x02" not in shown
    assert KEYS.value.hex() not in shown
