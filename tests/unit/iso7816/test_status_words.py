from __future__ import annotations

import inspect

import pytest

from card_os.iso7816 import errors
from card_os.iso7816.errors import CardError, CardTorn, VerificationFailed
from card_os.iso7816.status import SW, Persistence, StatusWord

# ISO/IEC 7816-4:2020, 5.6, tables 5 and 6, read apart from the code.
NAMED = {
    "OK": 0x9000,
    "DATA_MAY_BE_CORRUPT": 0x6281,
    "END_OF_FILE": 0x6282,
    "FILE_DEACTIVATED_WARNING": 0x6283,
    "FCI_NOT_FORMATTED": 0x6284,
    "FILE_TERMINATED_WARNING": 0x6285,
    "AUTHENTICATION_FAILED": 0x6300,
    "MORE_DATA_FOLLOWS": 0x6310,
    "EXECUTION_ERROR": 0x6400,
    "MEMORY_FAILURE": 0x6581,
    "WRONG_LENGTH": 0x6700,
    "CHANNEL_NOT_SUPPORTED": 0x6881,
    "SECURE_MESSAGING_NOT_SUPPORTED": 0x6882,
    "LAST_OF_CHAIN_EXPECTED": 0x6883,
    "CHAINING_NOT_SUPPORTED": 0x6884,
    "INCOMPATIBLE_FILE_STRUCTURE": 0x6981,
    "SECURITY_STATUS_NOT_SATISFIED": 0x6982,
    "METHOD_BLOCKED": 0x6983,
    "REFERENCE_DATA_NOT_USABLE": 0x6984,
    "CONDITIONS_NOT_SATISFIED": 0x6985,
    "NO_CURRENT_EF": 0x6986,
    "SM_OBJECT_MISSING": 0x6987,
    "SM_OBJECT_INCORRECT": 0x6988,
    "WRONG_DATA": 0x6A80,
    "FUNCTION_NOT_SUPPORTED": 0x6A81,
    "FILE_NOT_FOUND": 0x6A82,
    "RECORD_NOT_FOUND": 0x6A83,
    "NOT_ENOUGH_MEMORY": 0x6A84,
    "NC_INCONSISTENT_WITH_TLV": 0x6A85,
    "INCORRECT_P1_P2": 0x6A86,
    "NC_INCONSISTENT_WITH_P1_P2": 0x6A87,
    "REFERENCE_DATA_NOT_FOUND": 0x6A88,
    "FILE_EXISTS": 0x6A89,
    "DF_NAME_EXISTS": 0x6A8A,
    "WRONG_PARAMETERS": 0x6B00,
    "INS_NOT_SUPPORTED": 0x6D00,
    "CLA_NOT_SUPPORTED": 0x6E00,
    "NO_PRECISE_DIAGNOSIS": 0x6F00,
}
ERRORS = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, CardError) and value not in (CardError, VerificationFailed)
]


@pytest.mark.parametrize(("name", "value"), NAMED.items())
def test_named_status_words(name: str, value: int) -> None:
    assert vars(SW)[name] == value


def test_no_status_word_is_named_twice_or_unlisted() -> None:
    named = {name: value for name, value in vars(SW).items() if isinstance(value, StatusWord)}
    assert named == NAMED


def test_words_that_carry_a_number() -> None:
    assert StatusWord.retries_left(3) == 0x63C3
    assert StatusWord.retries_left(99) == 0x63CF
    assert StatusWord.more_available(16) == 0x6110
    assert StatusWord.more_available(256) == 0x6100
    assert StatusWord.more_available(1000) == 0x6100
    assert StatusWord.exact_length(256) == 0x6C00
    assert StatusWord.exact_length(5) == 0x6C05
    assert StatusWord(0x63C2).tries_left == 2
    assert StatusWord(0x6300).tries_left is None


@pytest.mark.parametrize(
    ("value", "ok", "warning", "persistence"),
    [
        (0x9000, True, False, Persistence.UNSTATED),
        (0x6105, True, False, Persistence.UNSTATED),
        (0x6282, False, True, Persistence.UNCHANGED),
        (0x63C0, False, True, Persistence.CHANGED),
        (0x6400, False, False, Persistence.UNCHANGED),
        (0x6581, False, False, Persistence.CHANGED),
        (0x6982, False, False, Persistence.UNSTATED),
        (0x9100, False, False, Persistence.UNSTATED),
    ],
)
def test_what_a_status_word_says(value: int, ok: bool, warning: bool, persistence: Persistence) -> None:
    word = StatusWord(value)
    assert (word.ok, word.warning, word.persistence) == (ok, warning, persistence)


def test_texts() -> None:
    assert StatusWord(0x6A82).text == "file not found"
    assert StatusWord(0x63C1).text == "verification failed, 1 tries left"
    assert StatusWord(0x6110).text == "16 bytes available"
    assert StatusWord(0x9F01).text == "unknown"
    assert (str(StatusWord(0x6A82)), repr(SW.OK)) == ("6A82", "StatusWord(0x9000)")


def test_unknown_words_are_representable() -> None:
    word = StatusWord.parse(bytes.fromhex("AABB1234"))
    assert (word, word.sw1, word.sw2, word.encode()) == (0x1234, 0x12, 0x34, b"\x12\x34")


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_a_status_word_of_its_own(error: type[CardError]) -> None:
    assert error("why").sw == error.status
    assert error.status != SW.NO_PRECISE_DIAGNOSIS
    assert [other for other in ERRORS if other.status == error.status] == [error]


def test_a_cut_is_no_exception_that_a_handler_could_swallow() -> None:
    assert not issubclass(CardTorn, Exception)


def test_a_failed_verification_carries_its_counter() -> None:
    assert VerificationFailed(2).sw == 0x63C2
