"""Electronic permits: signed, verified offline, and refused for every reason there is."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from dataclasses import replace
from types import MappingProxyType

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pycose.headers import KID, Algorithm
from pycose.keys.ec2 import EC2Key
from pycose.messages.cosemessage import CoseMessage
from pycose.messages.sign1message import Sign1Message

from personalization.errors import PersonalizationError
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.permit.electronic.claims import Claim, ClaimsError, ElectronicPermit, Field
from personalization.permit.electronic.passes import (
    LONGEST,
    PREFIX,
    PassFault,
    issue_pass,
    verify_pass,
)
from personalization.permit.electronic.signed_message import key_identifier, sign_message
from personalization.permit.electronic.status_list import Kind, Standing, StatusList
from tests.unit.personalization.permit.conftest import NOW, example_permit, signers_of

SALT = bytes(16)


def fresh(entries: dict[tuple[Kind, bytes], Standing] | None = None) -> StatusList:
    return StatusList(1, NOW, SALT, MappingProxyType({})).changed(NOW, entries or {})


def message_of(text: str) -> bytes:
    body = text.removeprefix(PREFIX)
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def text_of(message: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(message).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def text(office: FileKeyStore) -> str:
    """One signed pass."""
    return issue_pass(office, example_permit())


def test_a_pass_says_what_was_signed(office: FileKeyStore, permit: ElectronicPermit) -> None:
    found = verify_pass(issue_pass(office, permit), signers_of(office), NOW, fresh())
    assert found.good
    assert found.permit == permit
    assert permit.name not in repr(found)


def test_another_library_verifies_it(office: FileKeyStore, permit: ElectronicPermit) -> None:
    """RFC 9052, 4.4, as pycose reads it."""
    certificate = office.certificate(KeyName.DOCUMENT_SIGNER)
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    numbers = key.public_numbers()
    message = CoseMessage.decode(message_of(issue_pass(office, permit)))
    assert isinstance(message, Sign1Message)
    assert message.phdr[KID] == key_identifier(certificate)
    assert message.phdr[Algorithm].fullname == "ES256"
    message.key = EC2Key(crv="P_256", x=numbers.x.to_bytes(32, "big"), y=numbers.y.to_bytes(32, "big"))
    message.external_aad = b"permitcard electronic permit 1"  # type: ignore[misc]  # the setter is not typed
    assert message.verify_signature()
    assert ElectronicPermit.decode(message.payload or b"") == permit
    message.external_aad = b"permitcard status list 1"  # type: ignore[misc]  # same
    assert not message.verify_signature()


def test_the_longest_data_fit_into_a_qr_code(office: FileKeyStore, permit: ElectronicPermit) -> None:
    """Names of 50 and addresses of 100 characters, four bytes each (ISO/IEC 18004: 2,953 bytes)."""
    long = replace(
        permit,
        name="𠮷" * 50,
        registered_address="𬱖" * 100,
        current_address="𬱖" * 100,
        issuing_authority="局" * 100,
    )
    assert len(issue_pass(office, long)) <= LONGEST
    with pytest.raises(PersonalizationError, match="pass-too-long"):
        issue_pass(office, replace(long, registered_address="𬱖" * 400))


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_changed_byte_is_believed(office: FileKeyStore, text: str, place: float, flip: int) -> None:
    message = bytearray(message_of(text))
    message[int(place * len(message))] ^= flip
    found = verify_pass(text_of(bytes(message)), signers_of(office), NOW, fresh())
    assert found.permit is None
    assert found.faults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "张三"),
        ("permit_number", "330381300000000002"),
        ("endorsement_due", dt.date(2037, 1, 1)),
        ("portrait_hash", bytes(31) + b"\x01"),
        ("area", "330382"),
    ],
)
def test_a_changed_element_is_refused(
    office: FileKeyStore, text: str, permit: ElectronicPermit, name: str, value: object
) -> None:
    tagged = cbor2.loads(message_of(text))
    tagged.value[2] = replace(permit, **{name: value}).encode()  # type: ignore[arg-type]
    found = verify_pass(text_of(cbor2.dumps(tagged)), signers_of(office), NOW, fresh())
    assert (found.permit, found.faults) == (None, (PassFault.SIGNATURE,))


def test_a_pass_of_another_issuer_is_refused(
    office: FileKeyStore, stranger: FileKeyStore, permit: ElectronicPermit
) -> None:
    found = verify_pass(issue_pass(stranger, permit), signers_of(office), NOW, fresh())
    assert (found.permit, found.faults) == (None, (PassFault.SIGNER_UNKNOWN,))


def test_a_signer_of_another_authority_is_not_trusted(office: FileKeyStore, stranger: FileKeyStore) -> None:
    from personalization.permit.electronic.signed_message import TrustedSigners

    authority = office.certificate(KeyName.AUTHORITY)
    assert len(TrustedSigners(authority, [stranger.certificate(KeyName.DOCUMENT_SIGNER)], NOW)) == 0
    assert len(TrustedSigners(authority, [office.certificate(KeyName.DOCUMENT_SIGNER)], NOW)) == 1
    later = NOW + dt.timedelta(days=366 * 16)
    assert len(TrustedSigners(authority, [office.certificate(KeyName.DOCUMENT_SIGNER)], later)) == 0


def test_what_was_signed_for_another_use_is_no_pass(office: FileKeyStore, permit: ElectronicPermit) -> None:
    text = text_of(sign_message(office, permit.encode(), b"permitcard status list 1"))
    assert verify_pass(text, signers_of(office), NOW, fresh()).faults == (PassFault.SIGNATURE,)


@pytest.mark.parametrize(
    ("now", "faults"),
    [
        (NOW, ()),
        (NOW - dt.timedelta(minutes=5), ()),
        (NOW - dt.timedelta(minutes=6), (PassFault.NOT_YET,)),
        (dt.datetime(2027, 1, 1, 15, 59, 59, tzinfo=dt.UTC), ()),  # 23:59:59 in China
        (dt.datetime(2027, 1, 1, 16, 0, tzinfo=dt.UTC), (PassFault.EXPIRED,)),
    ],
)
def test_a_pass_is_good_until_the_end_of_the_due_day(
    office: FileKeyStore, text: str, now: dt.datetime, faults: tuple[PassFault, ...]
) -> None:
    listed = StatusList(1, now, SALT, MappingProxyType({}))
    assert verify_pass(text, signers_of(office), now, listed).faults == faults


@pytest.mark.parametrize(
    ("kind", "standing", "fault"),
    [
        (Kind.PERMIT, Standing.CANCELLED, PassFault.CANCELLED),
        (Kind.PERMIT, Standing.LOST, PassFault.LOST),
        (Kind.PERMIT, Standing.REPLACED, PassFault.REPLACED),
        (Kind.PASS, Standing.REVOKED, PassFault.REVOKED),
        (Kind.PASS, Standing.REPLACED, PassFault.REPLACED),
    ],
)
def test_the_status_list_says_no(
    office: FileKeyStore, text: str, permit: ElectronicPermit, kind: Kind, standing: Standing, fault: PassFault
) -> None:
    value = permit.permit_number.encode() if kind is Kind.PERMIT else permit.identifier
    found = verify_pass(text, signers_of(office), NOW, fresh({(kind, value): standing}))
    assert found.permit == permit
    assert found.faults == (fault,)


@pytest.mark.parametrize(("hours", "stale"), [(0, False), (24, False), (25, True)])
def test_an_old_status_list_is_not_enough(office: FileKeyStore, text: str, hours: int, stale: bool) -> None:
    now = NOW + dt.timedelta(hours=hours)
    faults = verify_pass(text, signers_of(office), now, fresh()).faults
    assert faults == ((PassFault.STATUS_STALE,) if stale else ())
    assert verify_pass(text, signers_of(office), now).faults == (PassFault.STATUS_STALE,)


def test_the_portrait_is_bound_by_its_hash(office: FileKeyStore, permit: ElectronicPermit) -> None:
    shown = b"a JPEG"
    text = issue_pass(office, replace(permit, portrait_hash=hashlib.sha256(shown).digest()))
    assert verify_pass(text, signers_of(office), NOW, fresh(), portrait=shown).good
    assert verify_pass(text, signers_of(office), NOW, fresh(), portrait=b"other").faults == (PassFault.PORTRAIT,)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: PREFIX,
        lambda text: text.removeprefix(PREFIX),
        lambda text: text.lower(),
        lambda text: text + "=",
        lambda text: text + "AA",
        lambda text: text[:-1],
        lambda _: PREFIX + "A" * 5000,
        lambda _: PREFIX + "é",
        lambda text: text_of(message_of(text) + b"\x00"),
        lambda text: text_of(cbor2.dumps(cbor2.loads(message_of(text)).value)),
        lambda _: text_of(cbor2.dumps([])),
        lambda _: text_of(b"\x9f" * 500),
    ],
)
def test_what_is_no_pass_is_refused(office: FileKeyStore, text: str, change: object) -> None:
    assert callable(change)
    found = verify_pass(change(text), signers_of(office), NOW, fresh())
    assert found.permit is None
    assert found.faults[0] in {PassFault.FORM, PassFault.SIGNATURE, PassFault.SIGNER_UNKNOWN}


def test_an_unprotected_header_is_refused(office: FileKeyStore, text: str) -> None:
    tagged = cbor2.loads(message_of(text))
    tagged.value[1] = {4: b"x"}
    found = verify_pass(text_of(cbor2.dumps(tagged)), signers_of(office), NOW, fresh())
    assert found.faults == (PassFault.FORM,)


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims.pop(Claim.EXPIRES),
        lambda claims: claims.update({99: 1}),
        lambda claims: claims.update({Claim.EXPIRES: claims[Claim.EXPIRES] + 86_400}),
        lambda claims: claims.update({Claim.ISSUER: "330382"}),
        lambda claims: claims.update({Claim.ISSUED_AT: "now"}),
        lambda claims: claims.update({Claim.ISSUED_AT: True}),
        lambda claims: claims.update({Claim.ISSUED_AT: 1 << 62}),
        lambda claims: claims.update({Claim.IDENTIFIER: bytes(15)}),
        lambda claims: claims.update({Claim.PERMIT: None}),
        lambda claims: claims[Claim.PERMIT].pop(Field.NAME),
        lambda claims: claims[Claim.PERMIT].update({Field.NAME: 5}),
        lambda claims: claims[Claim.PERMIT].update({Field.NAME: "长" * 401}),
        lambda claims: claims[Claim.PERMIT].update({Field.BIRTH_DATE: "19880230"}),
        lambda claims: claims[Claim.PERMIT].update({Field.PORTRAIT_HASH: bytes(31)}),
    ],
)
def test_signed_claims_of_another_form_are_refused(
    office: FileKeyStore, permit: ElectronicPermit, change: object
) -> None:
    claims = cbor2.loads(permit.encode())
    assert callable(change)
    change(claims)
    raw = cbor2.dumps(claims, canonical=True)
    with pytest.raises(ClaimsError):
        ElectronicPermit.decode(raw)
    text = text_of(sign_message(office, raw, b"permitcard electronic permit 1"))
    assert verify_pass(text, signers_of(office), NOW, fresh()).faults == (PassFault.FORM,)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_claims(raw: bytes) -> None:
    with pytest.raises(ClaimsError):
        ElectronicPermit.decode(raw)
