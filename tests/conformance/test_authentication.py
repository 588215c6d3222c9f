"""GET CHALLENGE, EXTERNAL, MUTUAL and INTERNAL AUTHENTICATE."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from card_os.iso7816.apdu import CommandApdu
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.laboratory_sam import LaboratorySam
from permitcard.testing.terminal import prepare_mutual, terminal
from personalization.terminal.authentication import cmac

INSPECTION, SERVICE_DESK, BANK_BRANCH, ISSUER = 0x81, 0x82, 0x83, 0x84
IDENTITY, RESIDENCE, STATUS, BANK = 0x01, 0x0B, 0x0D, 0x15


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.3: a challenge is fresh each time")
def test_challenges_do_not_repeat(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    assert len({either.ok(0x00, 0x84, 0x00, 0x00, ne=16) for _ in range(16)}) == 16


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.3: nobody foretells a challenge")
def test_no_byte_of_a_challenge_stays_and_none_counts(either: CardUnderTest) -> None:
    """A byte that is the same 24 times, or steps that fit half a challenge, come by chance once in 2 to the 60."""
    either.select(either.target.permit_aid)
    challenges = [either.ok(0x00, 0x84, 0x00, 0x00, ne=16) for _ in range(24)]
    assert all(len(set(column)) > 1 for column in zip(*challenges, strict=True))
    numbers = [int.from_bytes(challenge, "big") for challenge in challenges]
    assert all(abs(after - before) >> 64 for before, after in pairwise(numbers))


@pytest.mark.clause("Card specification, authentication of a terminal: the card's part of the seed is fresh")
def test_the_card_brings_its_own_part_of_the_seed(either: CardUnderTest) -> None:
    key = LaboratorySam(either.target.keys).role_key(INSPECTION, either.target.card_number)
    parts: set[bytes] = set()
    for _ in range(4):
        either.select(either.target.permit_aid)
        answer = either.ok(0x00, 0x82, 0x00, INSPECTION, prepare_mutual(either, INSPECTION), ne=64)
        decryptor = Cipher(algorithms.AES(key[:16]), modes.CBC(bytes(16))).decryptor()
        parts.add(decryptor.update(answer[:48])[32:])
    assert len(parts) == 4


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.3: P1-P2 = 0000")
@pytest.mark.parametrize(("p1", "p2"), [(0x01, 0x00), (0x00, 0x01)])
def test_get_challenge_with_other_parameters_is_refused(permit: CardUnderTest, p1: int, p2: int) -> None:
    assert permit.send(0x00, 0x84, p1, p2, ne=16).sw == 0x6A86


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.5: MUTUAL AUTHENTICATE; card specification, key agreement")
@pytest.mark.parametrize("reference", [INSPECTION, SERVICE_DESK, BANK_BRANCH, ISSUER])
def test_each_role_authenticates_on_both_interfaces(either: CardUnderTest, reference: int) -> None:
    assert terminal(either, reference).card_number == either.target.card_number


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: a wrong cryptogram is refused and counted")
def test_a_wrong_mutual_cryptogram_costs_a_try(permit: CardUnderTest) -> None:
    data = bytearray(prepare_mutual(permit, INSPECTION))
    data[0] ^= 1
    answer = permit.send(0x00, 0x82, 0x00, INSPECTION, bytes(data), ne=64)
    terminal(permit, INSPECTION)
    assert (answer.data, answer.sw.tries_left is not None) == (b"", True)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: a challenge is used once")
def test_a_mutual_cryptogram_cannot_be_replayed(permit: CardUnderTest) -> None:
    data = prepare_mutual(permit, INSPECTION)
    assert permit.send(0x00, 0x82, 0x00, INSPECTION, data, ne=64).sw == 0x9000
    permit.reset()
    permit.select(permit.target.permit_aid)
    assert permit.send(0x00, 0x82, 0x00, INSPECTION, data, ne=64).sw in {0x6985, 0x6984}


@pytest.mark.clause("Card specification, authentication of a terminal: a challenge serves one authentication")
def test_a_challenge_is_used_up_by_success(permit: CardUnderTest) -> None:
    data = prepare_mutual(permit, INSPECTION)
    assert permit.send(0x00, 0x82, 0x00, INSPECTION, data, ne=64).sw == 0x9000
    assert permit.send(0x00, 0x82, 0x00, INSPECTION, data, ne=64).sw in {0x6985, 0x6984}


@pytest.mark.destructive
@pytest.mark.clause("Card specification, authentication of a terminal: a challenge serves one, whatever its outcome")
def test_a_challenge_is_used_up_by_failure(permit: CardUnderTest) -> None:
    data = prepare_mutual(permit, INSPECTION)
    permit.send(0x00, 0x82, 0x00, INSPECTION, data[:-1] + bytes((data[-1] ^ 1,)), ne=64)
    second = permit.send(0x00, 0x82, 0x00, INSPECTION, data, ne=64).sw
    terminal(permit, INSPECTION)
    assert second in {0x6985, 0x6984}


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: 63Cx counts down, and a success restores the counter")
@pytest.mark.parametrize("reference", [INSPECTION, SERVICE_DESK, BANK_BRANCH, ISSUER])
def test_wrong_authentications_count_down(permit: CardUnderTest, reference: int) -> None:
    def wrong() -> int | None:
        data = prepare_mutual(permit, reference)
        return permit.send(0x00, 0x82, 0x00, reference, data[:48] + bytes(16), ne=64).sw.tries_left

    first, second = wrong(), wrong()
    permit.reset()
    terminal(permit, reference)
    permit.reset()
    permit.select(permit.target.permit_aid)
    third = wrong()
    terminal(permit, reference)
    assert first is not None
    assert (second, third) == (first - 1, first)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: no challenge was given")
def test_mutual_authenticate_without_a_challenge_is_refused(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0x82, 0x00, INSPECTION, bytes(64), ne=64).sw in {0x6985, 0x6984}


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: unknown key")
@pytest.mark.parametrize("reference", [0x01, 0x85, 0x8F])
def test_an_unknown_key_is_not_found(permit: CardUnderTest, reference: int) -> None:
    permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)
    assert permit.send(0x00, 0x82, 0x00, reference, bytes(64), ne=64).sw == 0x6A88


@pytest.mark.clause("Card specification: the chip key and the concealment key authenticate no terminal")
@pytest.mark.parametrize("reference", [0x90, 0xA0])
def test_a_key_of_another_use_is_refused(permit: CardUnderTest, reference: int) -> None:
    permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)
    assert permit.send(0x00, 0x82, 0x00, reference, bytes(64), ne=64).sw in {0x6984, 0x6A88, 0x6985}


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: length of the authentication data")
@pytest.mark.parametrize("length", [1, 15, 63, 65, 128])
def test_authentication_data_of_another_length_is_refused(permit: CardUnderTest, length: int) -> None:
    permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)
    assert permit.send(0x00, 0x82, 0x00, INSPECTION, bytes(length), ne=64).sw in {0x6700, 0x6A80}


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: EXTERNAL AUTHENTICATE; card specification 1.7")
def test_external_authenticate_is_accepted_and_grants_no_reading(permit: CardUnderTest) -> None:
    key = LaboratorySam(permit.target.keys).role_key(SERVICE_DESK, permit.target.card_number)
    challenge = permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)
    permit.ok(0x00, 0x82, 0x00, SERVICE_DESK, cmac(key[16:], bytes((0x03, SERVICE_DESK)) + challenge))
    assert permit.send(0x00, 0xB0, 0x80 | IDENTITY, 0x00, ne=16).sw == 0x6982


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.4: a wrong EXTERNAL AUTHENTICATE is counted")
def test_a_wrong_external_cryptogram_costs_a_try(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)
    answer = permit.send(0x00, 0x82, 0x00, SERVICE_DESK, bytes(16)).sw
    terminal(permit, SERVICE_DESK)
    assert answer.tries_left is not None


@pytest.mark.clause("Card specification, access table: what each role reads")
@pytest.mark.parametrize(
    ("reference", "sfi", "sw"),
    [
        (INSPECTION, IDENTITY, 0x9000),
        (INSPECTION, RESIDENCE, 0x9000),
        (INSPECTION, STATUS, 0x9000),
        (INSPECTION, BANK, 0x6982),
        (SERVICE_DESK, IDENTITY, 0x9000),
        (SERVICE_DESK, RESIDENCE, 0x9000),
        (SERVICE_DESK, BANK, 0x6982),
        (BANK_BRANCH, BANK, 0x9000),
        (BANK_BRANCH, IDENTITY, 0x6982),
        (BANK_BRANCH, STATUS, 0x6982),
        (ISSUER, IDENTITY, 0x9000),
        (ISSUER, BANK, 0x9000),
    ],
)
def test_a_role_reads_what_the_table_says(either: CardUnderTest, reference: int, sfi: int, sw: int) -> None:
    session = terminal(either, reference)
    assert session.channel.exchange(CommandApdu(0x00, 0xB0, 0x80 | sfi, 0x00, b"", 16)).sw == sw


@pytest.mark.clause("Card specification, access table: what each role may not write")
@pytest.mark.parametrize(
    ("reference", "sfi"),
    [
        (INSPECTION, IDENTITY),
        (INSPECTION, STATUS),
        (INSPECTION, BANK),
        (SERVICE_DESK, IDENTITY),
        (SERVICE_DESK, BANK),
        (BANK_BRANCH, STATUS),
        (BANK_BRANCH, IDENTITY),
        (ISSUER, BANK),
        (ISSUER, 0x05),
    ],
)
def test_a_role_does_not_write_what_the_table_denies(either: CardUnderTest, reference: int, sfi: int) -> None:
    session = terminal(either, reference)
    assert session.channel.exchange(CommandApdu(0x00, 0xD6, 0x80 | sfi, 0x00, b"\x00")).sw == 0x6982


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.1: INTERNAL AUTHENTICATE; the chip key proves that this is no copy")
def test_the_chip_key_signs_a_challenge(either: CardUnderTest) -> None:
    session = terminal(either, INSPECTION)
    point = session.read("EF.CHIPKEY")
    challenge, signature = session.internal_authenticate()
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public.verify(encode_dss_signature(r, s), b"permitcard chip" + challenge, ec.ECDSA(hashes.SHA256()))


@pytest.mark.clause("Card specification: a chip challenge has 8 to 32 bytes")
@pytest.mark.parametrize("length", [1, 7, 33, 64])
def test_a_chip_challenge_of_another_length_is_refused(card: CardUnderTest, length: int) -> None:
    channel = terminal(card, INSPECTION).channel
    assert channel.exchange(CommandApdu(0x00, 0x88, 0x00, 0xA0, bytes(length), 64)).sw in {0x6700, 0x6A80}


@pytest.mark.clause("Card specification: a role key does not sign")
@pytest.mark.parametrize("reference", [INSPECTION, 0x90, 0x01])
def test_internal_authenticate_with_another_key_is_refused(card: CardUnderTest, reference: int) -> None:
    channel = terminal(card, INSPECTION).channel
    assert channel.exchange(CommandApdu(0x00, 0x88, 0x00, reference, bytes(16), 64)).sw in {0x6984, 0x6A88, 0x6985}
