"""A PIN from the keypad lands in the command where the host said."""

from __future__ import annotations

import pytest

from reader_bridge.pin_entry import PinEntryError, PinOperation, Prompt

VERIFY_FORMAT_2 = bytes.fromhex("00200081082FFFFFFFFFFFFFFF")
CHANGE = bytes.fromhex("0024008110") + bytes.fromhex("2FFFFFFFFFFFFFFF") * 2


class Typist:
    """Somebody at the keypad."""

    def __init__(self, *typed: str | None) -> None:
        self.typed = list(typed)
        self.prompts: list[Prompt] = []

    def digits(self, prompt: Prompt, minimum: int, maximum: int, seconds: int) -> str | None:
        self.prompts.append(prompt)
        if not self.typed:
            raise TimeoutError
        return self.typed.pop(0)


def verification(command: bytes, form: int = 0x89, block: int = 0x47, length: int = 0x04) -> bytes:
    return bytes((0, 30, form, block, length, 12, 4, 2, 1, 9, 4, 0, 0, 0x40, 0)) + command


def modification(command: bytes, confirm: int = 3, messages: int = 3) -> bytes:
    indexes = bytes({0: 1, 1: 2, 2: 2, 3: 3}[messages])
    return (
        bytes((1, 30, 0x89, 0x47, 0x04, 0, 8, 12, 4, confirm, 2, messages, 9, 4))
        + indexes
        + bytes((0, 0x40, 0))
        + command
    )


@pytest.mark.clause("USB CCID 1.1, 6.1.11.7: PIN verification; ISO 9564-1, format 2")
@pytest.mark.parametrize(
    ("pin", "field"),
    [("1234", "241234FFFFFFFFFF"), ("12345", "2512345FFFFFFFFF"), ("123456789012", "2C123456789012FF")],
)
def test_a_pin_of_format_2_is_put_in(pin: str, field: str) -> None:
    command = PinOperation.parse(verification(VERIFY_FORMAT_2)).fill(Typist(pin))
    assert command == VERIFY_FORMAT_2[:5] + bytes.fromhex(field)


@pytest.mark.parametrize(
    ("form", "block", "length", "template", "expected"),
    [
        (0x82, 0x08, 0x00, "0020000108FFFFFFFFFFFFFFFF", "002000010831323334FFFFFFFF"),
        (0x86, 0x08, 0x00, "0020000108FFFFFFFFFFFFFFFF", "0020000108FFFFFFFF31323334"),
        (0x80, 0x08, 0x00, "00200001080000000000000000", "00200001080102030400000000"),
        (0x02, 0x00, 0x00, "00200001", "002000010431323334"),
        (0x8A, 0x88, 0x10, "00200001090000000000000000FF", "00200001090431323334000000FF"),
        (0x21, 0x08, 0x00, "0020000108FFFFFFFFFFFFFFFF", "0020000108F1234FFFFFFFFFFF"),
    ],
    ids=["ASCII left", "ASCII right", "binary", "no room: the PIN is the data", "length byte before", "bit offset"],
)
def test_other_forms(form: int, block: int, length: int, template: str, expected: str) -> None:
    raw = verification(bytes.fromhex(template), form, block, length)
    assert PinOperation.parse(raw).fill(Typist("1234")).hex().upper() == expected


@pytest.mark.clause("USB CCID 1.1, 6.1.11.8: PIN modification")
@pytest.mark.parametrize("messages", [0, 1, 2, 3])
def test_a_pin_is_changed_with_the_current_one_and_confirmed(messages: int) -> None:
    typist = Typist("1234", "567890", "567890")
    command = PinOperation.parse(modification(CHANGE, messages=messages)).fill(typist)
    assert command[5:].hex().upper() == "241234FFFFFFFFFF26567890FFFFFFFF"
    assert typist.prompts == [Prompt.CURRENT, Prompt.NEW, Prompt.CONFIRMATION]


@pytest.mark.parametrize(
    ("typed", "error"),
    [((), 0xF0), ((None,), 0xEF), (("123",), 0xEF), (("1234567890123",), 0xEF), (("12a4",), 0xEF), (("١٢٣٤",), 0xEF)],
    ids=["nobody", "cancelled", "too short", "too long", "no digits", "digits of others"],
)
def test_without_a_pin_there_is_no_command(typed: tuple[str, ...], error: int) -> None:
    with pytest.raises(PinEntryError) as caught:
        PinOperation.parse(verification(VERIFY_FORMAT_2)).fill(Typist(*typed))
    assert caught.value.ccid_error == error


def test_a_new_pin_that_is_not_repeated_is_not_sent() -> None:
    with pytest.raises(PinEntryError):
        PinOperation.parse(modification(CHANGE)).fill(Typist("1234", "567890", "567891"))


@pytest.mark.parametrize("raw", [b"", b"\x02" + bytes(30), verification(b"\x00\x20\x00"), modification(b"")[:17]])
def test_what_is_cut_short_is_refused(raw: bytes) -> None:
    with pytest.raises(PinEntryError):
        PinOperation.parse(raw)


@pytest.mark.parametrize("modify", [False, True])
@pytest.mark.clause("PC/SC part 10, 2.5.2 and 2.5.3: what programs send")
def test_the_structures_of_programs_say_the_same(modify: bool) -> None:
    raw = modification(CHANGE) if modify else verification(VERIFY_FORMAT_2)
    command = CHANGE if modify else VERIFY_FORMAT_2
    body = raw[1 : -len(command)]
    structure = body[:1] + b"\x00" + body[1:] + len(command).to_bytes(4, "little") + command
    assert PinOperation.from_feature(structure, modify=modify) == PinOperation.parse(raw)
    with pytest.raises(PinEntryError):
        PinOperation.from_feature(structure[:-1], modify=modify)


@pytest.mark.clause("ISO/IEC 7816-3, 11.3: the block that carries the command")
def test_by_t1_the_command_goes_in_a_block() -> None:
    block = PinOperation.parse(verification(VERIFY_FORMAT_2)).block(Typist("1234"), block_protocol=True)
    assert block[:3] == bytes((0, 0x40, len(VERIFY_FORMAT_2)))
    check = 0
    for byte in block:
        check ^= byte
    assert check == 0
