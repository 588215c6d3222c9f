"""VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER and the authentication commands on a whole card."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from card_os.applet_api import (
    AccessRule,
    Context,
    Instruction,
    KeyUsage,
    P256PrivateKey,
    Proof,
    authentication_instructions,
    check_value,
    cmac,
    create_key,
    create_pin,
    find_key,
    instruction_table,
    key_tries_left,
    load_chip_key,
    load_keys,
    load_pins,
    pin_block,
    pin_instructions,
    pin_tries_left,
)
from card_os.card import Card
from card_os.globalplatform.registry import Application, Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    FileExists,
    MethodBlocked,
    ReferenceDataNotFound,
    VerificationFailed,
    WrongData,
)
from card_os.port import Port, PortMute
from card_os.security.keys import Key
from card_os.security.pin import (
    TO_BE_CHANGED,
    ResetWithoutCode,
    is_pin_block,
    standing_proofs,
    verification_requirement_instructions,
    verify_pin,
)
from card_os.security.proofs import has_proof

AID: Final = bytes.fromhex("F0544553540101")
PIN, PUK = pin_block("1234"), pin_block("87654321")
WRONG = pin_block("1235")
NEW = pin_block("246802468024")
DESK = bytes(range(32))
CLERK = bytes(range(32, 64))
CHIP = bytes(31) + b"\x07"
HOLDER_BIT, DESK_BIT = int(Proof.pin(1)), int(Proof.key(2))


def key_entry(reference: int, role: int, limit: int, value: bytes) -> bytes:
    return bytes((reference, role, limit, len(value))) + value + check_value(value)


def pin_entry(reference: int, number: int, limit: int, block: bytes) -> bytes:
    return bytes((reference, number, limit)) + block


def tell_proofs(context: Context, command: CommandApdu) -> bytes:
    return context.proofs.to_bytes(4, "big")


class Purse:
    """An application with two PINs, two terminals and a chip key; INS 10 answers what is proved."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *pin_instructions(),
        *authentication_instructions(internal=AccessRule((int(Proof.key(2) | Proof.SECURE_MESSAGING),))),
        Instruction(0x10, "TELL PROOFS", tell_proofs),
        Instruction(0x11, "TELL PROOFS", tell_proofs),
        Instruction(0x12, "DESK ONLY", tell_proofs, access=AccessRule((int(Proof.key(2) | Proof.SECURE_MESSAGING),))),
    )

    def install(self, context: Context, parameters: bytes) -> None:
        letter = pin_entry(0x84, 4 | TO_BE_CHANGED, 3, PIN)
        load_pins(context, pin_entry(0x81, 1, 3, PIN) + pin_entry(0x82, 2, 2, PUK) + letter, {0x81: 0x82, 0x84: 0x82})
        load_keys(context, key_entry(0x82, 2, 4, DESK) + key_entry(0x83, 3, 15, CLERK) + key_entry(0x90, 0, 0, DESK))
        load_chip_key(context, CHIP)

    def select(self, context: Context) -> bytes:
        return b"\x6f\x00"

    def deselect(self, context: Context) -> None:
        return

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        raise WrongData("no personalization")


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = NvmImage.create()
    card = Card(image.nvm(), [Purse])
    card.platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    return image


@pytest.fixture
def card(master: NvmImage) -> Card:
    return Card(master.fork().nvm(), [Purse], randomness=SeededRandomness(1))


@pytest.fixture
def port(card: Card) -> Port:
    return selected(card.contact)


@pytest.fixture
def field(card: Card) -> Port:
    return selected(card.contactless)


def selected(port: Port) -> Port:
    port.power_on()
    assert port.process(CommandApdu(0, 0xA4, 4, 0, AID, 256).encode())[-2:] == b"\x90\x00"
    return port


def application(card: Card) -> Application:
    return next(item for item in card.platform.registry if item.aid == AID)


def context_of(card: Card) -> Context:
    return card.platform.context_of(application(card))


def send(port: Port, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", ne: int = 0) -> tuple[bytes, int]:
    response = port.process(CommandApdu(0x00, ins, p1, p2, data, ne).encode())
    return response[:-2], int.from_bytes(response[-2:], "big")


def verify(port: Port, block: bytes = b"", reference: int = 0x81, p1: int = 0) -> int:
    return send(port, 0x20, p1, reference, block)[1]


def proofs(port: Port) -> int:
    return int.from_bytes(send(port, 0x10, ne=4)[0], "big")


# -------------------------------------------------------------------------------- PIN blocks


@pytest.mark.parametrize(
    ("digits", "block"),
    [("1234", "241234ffffffffff"), ("123456789012", "2c123456789012ff"), ("00000", "2500000fffffffff")],
)
def test_pin_block_of_format_2(digits: str, block: str) -> None:
    """ISO 9564-1:2017, 9.3.4."""
    assert pin_block(digits).hex() == block
    assert is_pin_block(bytes.fromhex(block))


@pytest.mark.parametrize("digits", ["", "123", "1234567890123", "12a4", "１２３４", "12 4", "-123"])
def test_what_is_no_pin_gives_no_block_and_is_not_repeated(digits: str) -> None:
    with pytest.raises(ValueError, match="4 to 12") as caught:
        pin_block(digits)
    assert not digits or digits not in str(caught.value)


@pytest.mark.parametrize(
    "block",
    [
        "",
        "241234ffffffff",
        "241234ffffffffffff",
        "141234ffffffffff",
        "23123fffffffffff",
        "2d12345678901234",
        "24123affffffffff",
        "2412345fffffffff",
        "24123fffffffffff",
        "241234fffffffff0",
    ],
)
def test_malformed_pin_blocks_are_told(block: str) -> None:
    assert not is_pin_block(bytes.fromhex(block))


@given(st.text("0123456789", min_size=4, max_size=12))
def test_every_pin_makes_a_well_formed_block(digits: str) -> None:
    assert is_pin_block(pin_block(digits))


# -------------------------------------------------------------------------------- VERIFY


def test_verify_gives_the_proof(port: Port) -> None:
    """ISO/IEC 7816-4:2020, 11.6.6."""
    assert verify(port) == 0x63C3
    assert verify(port, PIN) == 0x9000
    assert proofs(port) & HOLDER_BIT
    assert verify(port) == 0x9000


def test_wrong_pins_block_the_pin(port: Port, card: Card) -> None:
    assert [verify(port, WRONG) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert verify(port, PIN) == 0x6983
    assert verify(port) == 0x6983
    assert pin_tries_left(context_of(card), 0x81) == 0
    assert not proofs(port) & HOLDER_BIT


def test_success_gives_all_tries_back(port: Port) -> None:
    assert [verify(port, WRONG), verify(port, WRONG), verify(port, PIN)] == [0x63C2, 0x63C1, 0x9000]
    assert verify(port, WRONG) == 0x63C2


def test_tries_outlive_power(card: Card) -> None:
    assert verify(selected(card.contact), WRONG) == 0x63C2
    card.contact.power_off()
    assert verify(selected(card.contact)) == 0x63C2


def test_both_interfaces_share_the_tries_and_no_proof(port: Port, field: Port) -> None:
    assert verify(port, PIN) == 0x9000
    assert not proofs(field) & HOLDER_BIT
    verify(port, WRONG)
    assert verify(port) == 0x63C2


def test_a_wrong_pin_takes_the_proof_away(port: Port) -> None:
    verify(port, PIN)
    assert verify(port, WRONG) == 0x63C2
    assert not proofs(port) & HOLDER_BIT


def test_the_proof_is_gone_after_selecting_again(port: Port) -> None:
    verify(port, PIN)
    selected(port)
    assert not proofs(port) & HOLDER_BIT


def test_logging_out(port: Port) -> None:
    verify(port, PIN)
    assert verify(port, p1=0xFF) == 0x9000
    assert not proofs(port) & HOLDER_BIT
    assert verify(port, PIN, p1=0xFF) == 0x6700


@pytest.mark.parametrize("block", [b"\x24\x12\x34", PIN + b"\xff", PIN[:7]])
def test_blocks_of_another_length_cost_no_try(port: Port, block: bytes) -> None:
    assert verify(port, block) == 0x6700
    assert verify(port) == 0x63C3


@pytest.mark.parametrize("block", ["041234ffffffffff", "24123affffffffff", "0000000000000000", "241234000000000f"])
def test_malformed_blocks_cost_no_try(port: Port, block: str) -> None:
    assert verify(port, bytes.fromhex(block)) == 0x6A80
    assert verify(port) == 0x63C3


def test_verify_needs_a_known_reference_and_p1(port: Port) -> None:
    assert verify(port, PIN, reference=0x80) == 0x6A88
    assert verify(port, PIN, reference=0x00) == 0x6A88
    assert verify(port, PIN, p1=0x01) == 0x6A86


@pytest.mark.parametrize("ins", [0x20, 0x24, 0x2C])
def test_pins_do_not_travel_in_plain_over_the_field(field: Port, port: Port, ins: int) -> None:
    assert send(field, ins, 0, 0x81, PIN)[1] == 0x6982
    assert verify(port) == 0x63C3


# -------------------------------------------------------------------------------- CHANGE REFERENCE DATA


def test_change_of_the_pin(port: Port) -> None:
    """ISO/IEC 7816-4:2020, 11.6.7."""
    assert send(port, 0x24, 0, 0x81, PIN + NEW)[1] == 0x9000
    assert not proofs(port) & HOLDER_BIT
    assert verify(port, PIN) == 0x63C2
    assert verify(port, NEW) == 0x9000


def test_a_verified_holder_stays_verified_after_a_change(port: Port) -> None:
    verify(port, PIN)
    assert send(port, 0x24, 0, 0x81, PIN + NEW)[1] == 0x9000
    assert proofs(port) & HOLDER_BIT


def test_a_wrong_old_pin_changes_nothing_and_costs_a_try(port: Port) -> None:
    verify(port, PIN)
    assert send(port, 0x24, 0, 0x81, WRONG + NEW)[1] == 0x63C2
    assert not proofs(port) & HOLDER_BIT
    assert verify(port, NEW) == 0x63C1
    assert verify(port, PIN) == 0x9000


def test_change_is_blocked_with_the_pin(port: Port) -> None:
    for _ in range(3):
        send(port, 0x24, 0, 0x81, WRONG + NEW)
    assert send(port, 0x24, 0, 0x81, PIN + NEW)[1] == 0x6983


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"),
    [
        (0x01, 0x81, PIN + NEW, 0x6A86),
        (0x00, 0x77, PIN + NEW, 0x6A88),
        (0x00, 0x81, b"", 0x6700),
        (0x00, 0x81, PIN, 0x6700),
        (0x00, 0x81, PIN + NEW + NEW, 0x6700),
        (0x00, 0x81, PIN + bytes(8), 0x6A80),
        (0x00, 0x81, bytes(8) + NEW, 0x6A80),
    ],
)
def test_malformed_changes_cost_no_try(port: Port, p1: int, p2: int, data: bytes, status: int) -> None:
    assert send(port, 0x24, p1, p2, data)[1] == status
    assert verify(port) == 0x63C3


# -------------------------------------------------------------------------------- RESET RETRY COUNTER


def test_unblocking_with_a_new_pin(port: Port) -> None:
    """ISO/IEC 7816-4:2020, 11.6.10."""
    for _ in range(3):
        verify(port, WRONG)
    assert send(port, 0x2C, 0, 0x81, PUK + NEW)[1] == 0x9000
    assert verify(port) == 0x63C3
    assert verify(port, PIN) == 0x63C2
    assert verify(port, NEW) == 0x9000
    assert verify(port, reference=0x82) == 0x63C2


def test_unblocking_without_a_new_pin(port: Port) -> None:
    for _ in range(3):
        verify(port, WRONG)
    assert send(port, 0x2C, 1, 0x81, PUK)[1] == 0x9000
    assert verify(port, PIN) == 0x9000


def test_a_wrong_unblocking_pin_spends_its_own_tries(port: Port) -> None:
    assert [send(port, 0x2C, 0, 0x81, WRONG + NEW)[1] for _ in range(3)] == [0x63C1, 0x63C0, 0x6983]
    assert send(port, 0x2C, 0, 0x81, PUK + NEW)[1] == 0x6983
    assert verify(port, PIN) == 0x9000


def test_unblocking_proves_nothing(port: Port) -> None:
    verify(port, PIN)
    assert send(port, 0x2C, 0, 0x81, PUK + NEW)[1] == 0x9000
    assert proofs(port) == Proof.CONTACT


def test_the_unblocking_pin_itself_cannot_be_unblocked(port: Port) -> None:
    assert send(port, 0x2C, 0, 0x82, PUK + NEW)[1] == 0x6A88


@pytest.mark.parametrize(
    ("p1", "data", "status"),
    [
        (0x02, NEW, 0x6A86),
        (0x03, b"", 0x6A86),
        (0x00, PUK, 0x6700),
        (0x01, PUK + NEW, 0x6700),
        (0x01, bytes(8), 0x6A80),
    ],
)
def test_malformed_unblocking_costs_no_try(port: Port, p1: int, data: bytes, status: int) -> None:
    assert send(port, 0x2C, p1, 0x81, data)[1] == status
    assert verify(port, reference=0x82) == 0x63C2


# -------------------------------------------------------------------------------- creating PINs and keys


# ------------------------------------------------------------------ a PIN that came in a letter

LETTER: Final = 0x84
LETTER_BIT: Final = int(Proof.pin(4))


def test_the_pin_of_a_letter_proves_nothing(port: Port) -> None:
    assert verify(port, reference=LETTER) == 0x6985
    assert verify(port, PIN, LETTER) == 0x6985
    assert proofs(port) & LETTER_BIT == 0
    assert verify(port, reference=LETTER, p1=0xFF) == 0x9000
    assert verify(port, reference=LETTER) == 0x6985


def test_a_wrong_one_costs_a_try_as_ever(port: Port) -> None:
    assert [verify(port, WRONG, LETTER), verify(port, reference=LETTER)] == [0x63C2, 0x63C2]
    assert [verify(port, PIN, LETTER), verify(port, reference=LETTER)] == [0x6985, 0x6985], "all tries are back"
    assert [verify(port, WRONG, LETTER) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert verify(port, PIN, LETTER) == 0x6983
    assert send(port, 0x24, 0, LETTER, PIN + NEW)[1] == 0x6983


def test_it_is_changed_into_another_one_and_then_like_any_other(port: Port, card: Card) -> None:
    for _ in range(5):
        assert send(port, 0x24, 0, LETTER, PIN + PIN)[1] == 0x6A80
    assert verify(port, reference=LETTER) == 0x6985, "no try was lost"
    assert send(port, 0x24, 0, LETTER, WRONG + NEW)[1] == 0x63C2
    assert verify(port, PIN, LETTER) == 0x6985
    assert send(port, 0x24, 0, LETTER, PIN + NEW)[1] == 0x9000
    assert proofs(port) & LETTER_BIT == 0, "it was changed and not verified"
    assert verify(port, reference=LETTER) == 0x63C3
    assert verify(port, NEW, LETTER) == 0x9000
    assert proofs(port) & LETTER_BIT
    assert send(port, 0x24, 0, LETTER, NEW + NEW)[1] == 0x9000, "a PIN of one's own may stay"
    assert send(port, 0x24, 0, LETTER, NEW + PIN)[1] == 0x9000, "nor is the letter's PIN remembered"
    port.reset()
    selected(port)
    assert verify(port, PIN, LETTER) == 0x9000


def test_unblocking_changes_it_into_another_one_too(port: Port) -> None:
    for _ in range(3):
        assert send(port, 0x2C, 0, LETTER, PUK + PIN)[1] == 0x6A80
    assert send(port, 0x2C, 1, LETTER, PUK)[1] == 0x9000
    assert verify(port, PIN, LETTER) == 0x6985, "nobody has changed it"
    assert send(port, 0x2C, 0, LETTER, pin_block("87654320") + NEW)[1] == 0x63C1
    assert send(port, 0x2C, 0, LETTER, PUK + NEW)[1] == 0x9000
    assert verify(port, NEW, LETTER) == 0x9000


def test_whoever_may_reset_it_without_a_code_does_not_make_it_the_holders_own(card: Card) -> None:
    reset = ResetWithoutCode(AccessRule((0,)))
    reset(context_of(card), CommandApdu(0, 0x2C, 2, LETTER, NEW))
    with pytest.raises(ConditionsNotSatisfied):
        verify_pin(context_of(card), LETTER, NEW)


@pytest.mark.parametrize("at", [0, 1])
def test_it_cannot_be_made_needless(card: Card, at: int) -> None:
    """DISABLE VERIFICATION REQUIREMENT would give the proof of a PIN that nobody has changed."""
    context = context_of(card)
    row = verification_requirement_instructions()[at]
    for block in (PIN, WRONG):
        with pytest.raises(ConditionsNotSatisfied):
            row.handler(context, CommandApdu(0, row.ins, 0, LETTER, block))
    assert standing_proofs(context.store, context.application.owner) == 0
    assert pin_tries_left(context, LETTER) == 3


def test_every_cut_of_a_change_leaves_the_letters_pin_or_the_holders(master: NvmImage) -> None:
    outcomes: set[tuple[int, int]] = set()
    change = CommandApdu(0, 0x24, 0, LETTER, PIN + NEW).encode()
    whole = False
    for unit, moment in ((unit, moment) for unit in itertools.count(1) for moment in CutMoment):
        image, supply = master.fork(), PowerSupply()
        port = selected(Card(image.nvm(power=supply), [Purse]).contact)
        supply.arm(unit, moment)
        try:
            whole = port.process(change) == b"\x90\x00"
        except PortMute:
            supply.restore()
        port = selected(Card(image.nvm(), [Purse]).contact)
        found = verify(port, NEW, LETTER), verify(port, PIN, LETTER)
        assert found in {(0x9000, 0x63C2), (0x63C2, 0x6985), (0x63C1, 0x6985)}
        outcomes.add(found)
        if whole:
            break
    assert {first for first, _ in outcomes} >= {0x9000, 0x63C1}, "before and after the compare"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pin_entry(0x85, 1, 3, PIN)[:-1],
        pin_entry(0x85, 1, 3, PIN) + b"\x86",
        pin_entry(0x00, 1, 3, PIN),
        pin_entry(0x85, 0, 3, PIN),
        pin_entry(0x85, 9, 3, PIN),
        pin_entry(0x85, 1, 0, PIN),
        pin_entry(0x85, 1, 16, PIN),
        pin_entry(0x85, 1, 3, PIN) + pin_entry(0x86, 1, 3, bytes(8)),
    ],
)
def test_a_wrong_pin_dgi_creates_nothing(card: Card, content: bytes) -> None:
    context = context_of(card)
    with pytest.raises(WrongData):
        load_pins(context, content)
    with pytest.raises(ReferenceDataNotFound):
        pin_tries_left(context, 0x85)


@pytest.mark.parametrize(("reference", "number", "limit", "digits"), [(0x01, 1, 1, 4), (0xFF, 8, 15, 12)])
def test_the_least_and_the_greatest_pin(card: Card, reference: int, number: int, limit: int, digits: int) -> None:
    """ISO 9564-1, 9.3.4: 4 to 12 digits; 7816-4, 11.6.6: 63CX counts to 15."""
    context = context_of(card)
    block = pin_block("1" * digits)
    load_pins(context, pin_entry(reference, number, limit, block))
    assert pin_tries_left(context, reference) == limit
    with pytest.raises(VerificationFailed):
        verify_pin(context, reference, pin_block("2" * digits))
    assert pin_tries_left(context, reference) == limit - 1
    if limit > 1:
        verify_pin(context, reference, block)
        assert has_proof(context.session, int(Proof.pin(number)))
    else:
        with pytest.raises(MethodBlocked):
            verify_pin(context, reference, block)


def test_a_pin_reference_is_given_once(card: Card) -> None:
    context = context_of(card)
    with pytest.raises(FileExists):
        load_pins(context, pin_entry(0x85, 1, 3, PIN) + pin_entry(0x81, 1, 3, PIN))
    with pytest.raises(ReferenceDataNotFound):
        pin_tries_left(context, 0x85)
    with pytest.raises(WrongData):
        create_pin(context, 0x85, PIN, number=1, try_limit=3, unblocking=0x100)


GOOD_KEY = key_entry(0x85, 2, 4, DESK)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD_KEY[:3],
        GOOD_KEY[:-1],
        GOOD_KEY + b"\x86",
        GOOD_KEY[:-1] + bytes((GOOD_KEY[-1] ^ 1,)),
        key_entry(0x00, 2, 4, DESK),
        key_entry(0x85, 17, 4, DESK),
        key_entry(0x85, 2, 16, DESK),
        key_entry(0x85, 2, 4, DESK[:16]),
        bytes.fromhex("850204 08") + DESK[:8] + bytes(3),
        GOOD_KEY + bytes((0x86,)) + GOOD_KEY[1:-1] + b"\xff",
    ],
)
def test_a_wrong_key_dgi_creates_nothing(card: Card, content: bytes) -> None:
    context = context_of(card)
    with pytest.raises(WrongData):
        load_keys(context, content)
    with pytest.raises(ReferenceDataNotFound):
        key_tries_left(context, 0x85)


@pytest.mark.parametrize("content", [b"", CHIP[1:], b"\x00" + CHIP, bytes(32), b"\xff" * 32])
def test_a_wrong_chip_key_is_refused(card: Card, content: bytes) -> None:
    context = context_of(card)
    with pytest.raises(WrongData):
        load_chip_key(context, content, 0xA1)


def test_keys_are_found_for_their_purpose_only(card: Card) -> None:
    context = context_of(card)
    key = find_key(context, 0x82, KeyUsage.TERMINAL)
    assert (key.role, key.try_limit, key.tries_left, key.encryption, key.mac) == (2, 4, 4, DESK[:16], DESK[16:])
    assert find_key(context, 0x90, KeyUsage.APPLICATION).value == DESK
    for reference, usage in ((0x82, KeyUsage.APPLICATION), (0x90, KeyUsage.TERMINAL), (0xA0, KeyUsage.APPLICATION)):
        with pytest.raises(ReferenceDataNotFound):
            find_key(context, reference, usage)
    with pytest.raises(ReferenceDataNotFound):
        find_key(context, 0x99, KeyUsage.TERMINAL)


def test_a_terminal_key_needs_role_and_tries(card: Card) -> None:
    context = context_of(card)
    for role, limit in ((0, 3), (2, 0)):
        with pytest.raises(WrongData):
            create_key(context, 0x85, DESK, usage=KeyUsage.TERMINAL, role=role, try_limit=limit)


def test_no_key_shows_in_a_repr(card: Card) -> None:
    key: Key = find_key(context_of(card), 0x82, KeyUsage.TERMINAL)
    assert DESK[:16].hex() not in repr(key).lower()
    assert repr(DESK[:16])[2:-1] not in repr(key)


# -------------------------------------------------------------------------------- authentication


def challenge(port: Port) -> bytes:
    data, status = send(port, 0x84, ne=16)
    assert status == 0x9000
    return data


def external(key: bytes, reference: int, value: bytes) -> bytes:
    return cmac(key[16:], bytes((3, reference)) + value)


class Mutual:
    """The terminal's half, written after the contract with a cipher of its own."""

    def __init__(self, value: bytes, *, key: bytes = DESK, reference: int = 0x82) -> None:
        self.key, self.reference, self.value = key, reference, value
        self.nonce, self.seed = b"\x0a" * 16, b"\x0b" * 16

    def cbc(self) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self.key[:16]), modes.CBC(bytes(16)))

    def command(self, label: int = 1) -> bytes:
        cryptogram = self.cbc().encryptor().update(self.nonce + self.value + self.seed)
        return cryptogram + cmac(self.key[16:], bytes((label, self.reference)) + cryptogram)

    def keys(self, response: bytes) -> tuple[bytes, bytes]:
        cryptogram = response[:48]
        assert response[48:] == cmac(self.key[16:], bytes((2, self.reference)) + cryptogram)
        plain = self.cbc().decryptor().update(cryptogram)
        assert plain[:32] == self.value + self.nonce
        seed = bytes(left ^ right for left, right in zip(self.seed, plain[32:], strict=True))
        context = b"\x00" + self.value + self.nonce + b"\x00\x80"
        return cmac(seed, b"\x01KS.ENC" + context), cmac(seed, b"\x01KS.MAC" + context)


class Protected:
    """The terminal's end of a session, for data that fits short lengths."""

    def __init__(self, port: Port, keys: tuple[bytes, bytes]) -> None:
        self.port, self.enc, self.mac = port, *keys
        self.counter = 0

    def exchange(self, command: CommandApdu) -> tuple[bytes, int]:
        self.counter += 1
        ssc = self.counter.to_bytes(16, "big")
        single = Cipher(algorithms.AES(self.enc), modes.ECB()).encryptor()  # noqa: S305 - as the standard says
        objects = b""
        if command.data:
            padded = command.data + b"\x80" + bytes(-(len(command.data) + 1) % 16)
            cryptogram = Cipher(algorithms.AES(self.enc), modes.CBC(single.update(ssc))).encryptor().update(padded)
            objects = bytes((0x87, len(cryptogram) + 1, 1)) + cryptogram
        if command.ne:
            objects += bytes((0x97, 1, command.ne & 0xFF))
        header = bytes((0x0C, command.ins, command.p1, command.p2))
        message = ssc + header + b"\x80" + bytes(11)
        if objects:
            message += objects + b"\x80" + bytes(-(len(objects) + 1) % 16)
        data = objects + b"\x8e\x08" + cmac(self.mac, message)[:8]
        response = self.port.process(header + bytes((len(data),)) + data + b"\x00")
        status = int.from_bytes(response[-2:], "big")
        if len(response) == 2:
            return b"", status
        self.counter += 1
        ssc = self.counter.to_bytes(16, "big")
        body, mac = response[:-12], response[-10:-2]
        assert response[-12:-10] == b"\x8e\x08"
        assert cmac(self.mac, ssc + body + b"\x80" + bytes(-(len(body) + 1) % 16))[:8] == mac
        assert body[-4:] == b"\x99\x02" + response[-2:]
        if len(body) == 4:
            return b"", status
        iv = single.update(ssc)
        plain = Cipher(algorithms.AES(self.enc), modes.CBC(iv)).decryptor().update(body[3:-4])
        return plain.rstrip(b"\x00")[:-1], status


def open_session(port: Port, key: bytes = DESK, reference: int = 0x82) -> Protected:
    mutual = Mutual(challenge(port), key=key, reference=reference)
    data, status = send(port, 0x82, 0, reference, mutual.command(), 64)
    assert status == 0x9000
    return Protected(port, mutual.keys(data))


def test_challenges_are_fresh(port: Port) -> None:
    """ISO/IEC 7816-4:2020, 11.6.3."""
    assert len({challenge(port) for _ in range(8)}) == 8


@pytest.mark.parametrize(
    ("p1", "p2", "data", "ne", "status"),
    [
        (1, 0, b"", 16, 0x6A86),
        (0, 1, b"", 16, 0x6A86),
        (0, 0, b"\x00", 16, 0x6700),
        (0, 0, b"", 7, 0x6700),
        (0, 0, b"", 9, 0x6700),
    ],
)
def test_malformed_get_challenge(port: Port, p1: int, p2: int, data: bytes, ne: int, status: int) -> None:
    assert send(port, 0x84, p1, p2, data, ne) == (b"", status)


def test_external_authenticate_gives_the_role_in_plain(port: Port) -> None:
    """ISO/IEC 7816-4:2020, 11.6.4."""
    assert send(port, 0x82, 0, 0x82, external(DESK, 0x82, challenge(port))) == (b"", 0x9000)
    assert proofs(port) == Proof.CONTACT | Proof.key(2)
    assert send(port, 0x12)[1] == 0x6982


def test_a_challenge_serves_once(port: Port) -> None:
    answer = external(DESK, 0x82, challenge(port))
    assert send(port, 0x82, 0, 0x82, answer)[1] == 0x9000
    assert send(port, 0x82, 0, 0x82, answer)[1] == 0x6984


@pytest.mark.parametrize(
    ("reference", "data"), [(0x82, bytes(16)), (0x82, bytes(15)), (0x99, bytes(16)), (0x90, bytes(16)), (0x82, b"")]
)
def test_a_challenge_is_used_up_by_a_failure(port: Port, reference: int, data: bytes) -> None:
    answer = external(DESK, 0x82, challenge(port))
    assert send(port, 0x82, 0, reference, data)[1] != 0x9000
    assert send(port, 0x82, 0, 0x82, answer)[1] == 0x6984


def test_without_a_challenge_no_try_is_spent(port: Port, card: Card) -> None:
    assert send(port, 0x82, 0, 0x82, bytes(16))[1] == 0x6984
    assert key_tries_left(context_of(card), 0x82) == 4


def test_wrong_terminals_block_the_key(port: Port) -> None:
    statuses = []
    for _ in range(5):
        challenge(port)
        statuses.append(send(port, 0x82, 0, 0x82, bytes(16))[1])
    assert statuses == [0x63C3, 0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert send(port, 0x82, 0, 0x82, external(DESK, 0x82, challenge(port)))[1] == 0x6983
    assert send(port, 0x82, 0, 0x83, external(CLERK, 0x83, challenge(port)))[1] == 0x9000


def test_success_gives_all_tries_of_the_key_back(port: Port, card: Card) -> None:
    challenge(port)
    send(port, 0x82, 0, 0x82, bytes(16))
    assert key_tries_left(context_of(card), 0x82) == 3
    assert send(port, 0x82, 0, 0x82, external(DESK, 0x82, challenge(port)))[1] == 0x9000
    assert key_tries_left(context_of(card), 0x82) == 4


def test_a_mutual_authentication_gives_all_tries_of_the_key_back(port: Port, card: Card) -> None:
    challenge(port)
    send(port, 0x82, 0, 0x82, bytes(16))
    open_session(port)
    assert key_tries_left(context_of(card), 0x82) == 4


def test_a_failure_takes_the_role_away(port: Port) -> None:
    send(port, 0x82, 0, 0x82, external(DESK, 0x82, challenge(port)))
    challenge(port)
    send(port, 0x82, 0, 0x82, bytes(16))
    assert not proofs(port) & DESK_BIT


@pytest.mark.parametrize(
    ("reference", "status"), [(0x82, 0x63C3), (0x99, 0x6A88), (0x90, 0x6A88), (0xA0, 0x6A88), (0x00, 0x6A88)]
)
def test_answers_for_another_key_are_refused(port: Port, reference: int, status: int) -> None:
    answer = external(CLERK, 0x83, challenge(port))
    assert send(port, 0x82, 0, reference, answer)[1] == status


def test_the_kinds_of_authentication_cannot_be_mixed(port: Port) -> None:
    """Each message begins with a label of its own."""
    for label in (2, 3):
        mutual = Mutual(challenge(port))
        assert send(port, 0x82, 0, 0x82, mutual.command(label), 64)[1] in {0x63C3, 0x63C2}


def test_mutual_authenticate_opens_secure_messaging(port: Port) -> None:
    """ICAO Doc 9303-11, 4.3, with AES."""
    terminal = open_session(port)
    assert terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4)) == (
        int(Proof.CONTACT | Proof.SECURE_MESSAGING | Proof.key(2)).to_bytes(4, "big"),
        0x9000,
    )
    assert terminal.exchange(CommandApdu(0, 0x12, 0, 0, b"", 4))[1] == 0x9000


def test_the_role_of_a_session_ends_with_it(port: Port) -> None:
    open_session(port)
    assert proofs(port) == Proof.CONTACT
    assert send(port, 0x12)[1] == 0x6982


def test_a_plain_command_ends_the_session(port: Port) -> None:
    terminal = open_session(port)
    proofs(port)
    assert terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4)) == (b"", 0x6882)


@pytest.mark.parametrize("at", [0, 15, 16, 31, 32, 47, 48, 63])
def test_a_turned_bit_in_a_mutual_authentication_is_refused(port: Port, at: int, card: Card) -> None:
    data = bytearray(Mutual(challenge(port)).command())
    data[at] ^= 1
    assert send(port, 0x82, 0, 0x82, bytes(data), 64) == (b"", 0x63C3)
    assert key_tries_left(context_of(card), 0x82) == 3


def test_a_mutual_authentication_for_another_challenge_is_refused(port: Port) -> None:
    old = Mutual(challenge(port)).command()
    challenge(port)
    assert send(port, 0x82, 0, 0x82, old, 64) == (b"", 0x63C3)


@pytest.mark.parametrize("length", [0, 1, 15, 17, 48, 63, 65])
def test_authentications_of_another_length_cost_no_try(port: Port, card: Card, length: int) -> None:
    challenge(port)
    assert send(port, 0x82, 0, 0x82, bytes(length), 64)[1] == 0x6700
    assert key_tries_left(context_of(card), 0x82) == 4


def test_authentications_name_no_algorithm(port: Port) -> None:
    challenge(port)
    assert send(port, 0x82, 1, 0x82, bytes(16))[1] == 0x6A86
    assert send(port, 0x88, 1, 0xA0, bytes(16))[1] in {0x6A86, 0x6982}


def test_errors_under_secure_messaging_are_protected(field: Port) -> None:
    terminal = open_session(field)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81, WRONG)) == (b"", 0x63C2)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x77, WRONG)) == (b"", 0x6A88)
    assert terminal.exchange(CommandApdu(0, 0x77, 0, 0, b"")) == (b"", 0x6D00)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81, PIN)) == (b"", 0x9000)


def test_a_pin_may_travel_over_the_field_under_secure_messaging(field: Port) -> None:
    terminal = open_session(field)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81, PIN)) == (b"", 0x9000)
    told = int.from_bytes(terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4))[0], "big")
    assert told == Proof.CONTACTLESS | Proof.SECURE_MESSAGING | Proof.pin(1) | Proof.key(2)


def test_a_proof_given_under_secure_messaging_ends_with_it(port: Port) -> None:
    terminal = open_session(port)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81, PIN))[1] == 0x9000
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81))[1] == 0x9000
    assert proofs(port) == Proof.CONTACT
    again = open_session(port, CLERK, 0x83)
    assert again.exchange(CommandApdu(0, 0x20, 0, 0x81))[1] == 0x63C3


def test_a_proof_given_in_plain_holds_under_secure_messaging(port: Port) -> None:
    verify(port, PIN)
    terminal = open_session(port)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81))[1] == 0x9000
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81, WRONG))[1] == 0x63C2
    assert proofs(port) == Proof.CONTACT


@pytest.mark.parametrize(
    ("command", "sw", "afterwards"),
    [
        (CommandApdu(0, 0x20, 0, 0x81, WRONG), 0x63C2, 0x63C2),
        (CommandApdu(0, 0x20, 0xFF, 0x81), 0x9000, 0x63C3),
        (CommandApdu(0, 0x24, 0, 0x81, WRONG + NEW), 0x63C2, 0x63C2),
    ],
    ids=["a wrong PIN", "logging out", "a wrong old PIN"],
)
def test_a_proof_given_under_secure_messaging_is_taken_there(
    field: Port, command: CommandApdu, sw: int, afterwards: int
) -> None:
    """7816-4, 11.6.6 and 11.6.7: a failed verification leaves the status not verified, as P1 FF does."""
    terminal = open_session(field)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81, PIN)) == (b"", 0x9000)
    assert terminal.exchange(command) == (b"", sw)
    assert terminal.exchange(CommandApdu(0, 0x20, 0, 0x81)) == (b"", afterwards)
    told = int.from_bytes(terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4))[0], "big")
    assert told == Proof.CONTACTLESS | Proof.SECURE_MESSAGING | Proof.key(2)


def test_a_wrong_pin_takes_no_other_proof(port: Port) -> None:
    send(port, 0x82, 0, 0x82, external(DESK, 0x82, challenge(port)))
    verify(port, PUK, reference=0x82)
    verify(port, WRONG)
    assert proofs(port) == Proof.CONTACT | Proof.key(2) | Proof.pin(2)


def test_an_external_authentication_gives_no_role_under_secure_messaging(port: Port) -> None:
    """It binds no session keys: relayed into a session that another key opened, it would lend that one its role."""
    terminal = open_session(port)
    value, _ = terminal.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16))
    assert terminal.exchange(CommandApdu(0, 0x82, 0, 0x83, external(CLERK, 0x83, value))) == (b"", 0x6985)
    told = int.from_bytes(terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4))[0], "big")
    assert told == Proof.CONTACT | Proof.SECURE_MESSAGING | Proof.key(2)


def test_a_mutual_authentication_ends_roles_that_were_given_in_plain(port: Port) -> None:
    """Role and secure messaging together mean that this role opened it."""
    verify(port, PIN)
    send(port, 0x82, 0, 0x82, external(DESK, 0x82, challenge(port)))
    terminal = open_session(port, CLERK, 0x83)
    told = int.from_bytes(terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4))[0], "big")
    assert told == Proof.CONTACT | Proof.SECURE_MESSAGING | Proof.pin(1) | Proof.key(3)
    assert proofs(port) == Proof.CONTACT | Proof.pin(1)


def test_a_wrong_mac_ends_the_session_in_plain(port: Port) -> None:
    terminal = open_session(port)
    assert port.process(bytes.fromhex("0C1000000A8E08000000000000000000"))[-2:] == b"\x69\x88"
    assert terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4)) == (b"", 0x6882)


def test_a_missing_mac_ends_the_session_in_plain(port: Port) -> None:
    terminal = open_session(port)
    assert port.process(bytes.fromhex("0C1000000397010000"))[-2:] == b"\x69\x87"
    assert terminal.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4)) == (b"", 0x6882)


def test_a_second_mutual_authentication_under_the_first_takes_over(port: Port) -> None:
    first = open_session(port)
    value, _ = first.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16))
    mutual = Mutual(value, key=CLERK, reference=0x83)
    data, status = first.exchange(CommandApdu(0, 0x82, 0, 0x83, mutual.command(), 64))
    assert status == 0x9000
    mutual.keys(data)
    assert first.exchange(CommandApdu(0, 0x10, 0, 0, b"", 4)) == (b"", 0x6988)


# -------------------------------------------------------------------------------- INTERNAL AUTHENTICATE


def test_internal_authenticate_proves_the_chip(port: Port) -> None:
    """ISO/IEC 7816-4:2020, 11.6.2."""
    terminal = open_session(port)
    signature, status = terminal.exchange(CommandApdu(0, 0x88, 0, 0xA0, b"terminal", 64))
    assert (len(signature), status) == (64, 0x9000)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), P256PrivateKey(CHIP).public_point)
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    public.verify(der, b"permitcard chipterminal", ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(der, b"terminal", ec.ECDSA(SHA256()))


def test_internal_authenticate_is_denied_without_its_rule(port: Port) -> None:
    """A signature tells one card from another."""
    assert send(port, 0x88, 0, 0xA0, bytes(16), 64) == (b"", 0x6982)
    clerk = open_session(port, CLERK, 0x83)
    assert clerk.exchange(CommandApdu(0, 0x88, 0, 0xA0, bytes(16), 64)) == (b"", 0x6982)


@pytest.mark.parametrize(
    ("p1", "p2", "length", "status"),
    [(1, 0xA0, 16, 0x6A86), (0, 0xA0, 7, 0x6700), (0, 0xA0, 33, 0x6700), (0, 0x82, 16, 0x6A88), (0, 0xA1, 16, 0x6A88)],
)
def test_malformed_internal_authenticate(port: Port, p1: int, p2: int, length: int, status: int) -> None:
    terminal = open_session(port)
    assert terminal.exchange(CommandApdu(0, 0x88, p1, p2, bytes(length), 64)) == (b"", status)


def test_the_same_seed_and_bytes_give_the_same_answers(master: NvmImage) -> None:
    """Same seed and same bytes in: same bytes out, same image."""
    runs = []
    for _ in range(2):
        image = master.fork()
        card = Card(image.nvm(), [Purse], randomness=SeededRandomness(7))
        terminal = open_session(selected(card.contact))
        answers = [terminal.exchange(CommandApdu(0, 0x88, 0, 0xA0, bytes(16), 64))]
        answers.append(terminal.exchange(CommandApdu(0, 0x20, 0, 0x81, WRONG)))
        runs.append((answers, image.snapshot()))
    assert runs[0] == runs[1]


def test_any_data_gets_an_answer_without_a_fault(card: Card, port: Port) -> None:
    for ins in (0x20, 0x24, 0x2C, 0x82, 0x84, 0x88):
        for p1 in (0, 1, 0xFF):
            for length in (0, 1, 8, 16, 32, 64, 255):
                send(port, ins, p1, 0x81, bytes(length), 256)
    assert card.faults == 0
