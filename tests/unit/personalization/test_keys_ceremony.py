"""Components, their combination, changes of single keys on both stores, and documents that prove it."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import Attribute, ObjectClass

from permitcard.specimen import specimen_keys
from personalization.errors import PersonalizationError
from personalization.keys import file_store
from personalization.keys.administration import ROTATED_PAIRS, FileKeyAdministration, KeyAdministration
from personalization.keys.authorities import Authorities, authorities_of, split_certificates
from personalization.keys.ceremony import (
    Component,
    combine,
    entered,
    new_component,
    read_component,
    transcript,
    write_component,
)
from personalization.keys.certificates import CERTIFIED, Purpose, make_authority, make_link, make_signer
from personalization.keys.file_store import FileKeyStore
from personalization.keys.hsm import administration, making
from personalization.keys.hsm.administration import HsmKeyAdministration
from personalization.keys.hsm.making import Maker, create_hsm_store
from personalization.keys.hsm.store import HsmKeyStore
from personalization.keys.hsm.token import TokenPlace, logged_in
from personalization.keys.keystore import KEY_LENGTHS, KEY_PAIRS, KeyName, KeyStore
from personalization.keys.passphrase import PassphraseSource
from personalization.keys.signed_document import open_document, read_signed, sign_document, written
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, fresh_token

CUSTODIANS = ("li", "wang", "zhao")


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was changed opens as fast as the one that was made here."""
    monkeypatch.setattr(FileKeyStore.save, "__kwdefaults__", {"scrypt_n": 16})


@given(values=st.lists(st.binary(min_size=16, max_size=16), min_size=2, max_size=5, unique=True))
def test_a_key_is_the_xor_of_all_components(values: list[bytes]) -> None:
    components = [Component(KeyName.CARD, str(number), value) for number, value in enumerate(values)]
    expected = reduce(lambda one, other: bytes(a ^ b for a, b in zip(one, other, strict=True)), values)
    if not any(expected):
        with pytest.raises(PersonalizationError, match="key-weak"):
            combine(KeyName.CARD, components)
        return
    assert combine(KeyName.CARD, components) == expected
    assert combine(KeyName.CARD, components[::-1]) == expected
    if len(components) > 2 and any(components[0].value):
        assert combine(KeyName.CARD, components[1:]) != expected, "all are needed"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([("li", b"a")], "custodians-too-few"),
        ([], "custodians-too-few"),
        ([("li", b"a"), ("li", b"b")], "custodian-twice"),
        ([("li", b"a"), ("wang", b"a")], "components-equal"),
        ([("li", b"\x01"), ("wang", b"\x02"), ("zhao", b"\x03")], "key-weak"),
    ],
)
def test_what_makes_no_key_is_refused(parts: list[tuple[str, bytes]], code: str) -> None:
    components = [Component(KeyName.CARD, who, part * 16) for who, part in parts]
    with pytest.raises(PersonalizationError) as caught:
        combine(KeyName.CARD, components)
    assert (caught.value.code, caught.value.exit_code) == (code, 2)


@pytest.mark.parametrize("name", list(KEY_LENGTHS))
def test_a_component_comes_back_from_its_file_and_shows_nothing(tmp_path: Path, name: KeyName) -> None:
    component = new_component(name, "li")
    path = tmp_path / "component.txt"
    write_component(path, component)
    assert path.stat().st_mode & 0o077 == 0
    assert read_component(path) == component
    assert component.value.hex() not in repr(component).lower()
    with pytest.raises(PersonalizationError, match="component-exists"):
        write_component(path, component)


def test_a_slip_of_the_finger_is_seen_by_the_check_value() -> None:
    component = Component(KeyName.CARD, "li", bytes(range(16)))
    value, check_value = component.value.hex(), component.check_value.hex()
    assert entered(KeyName.CARD, "li", value, check_value) == component
    slipped = ("0" if value[0] != "0" else "1") + value[1:]
    for typed, checked, code in (
        (slipped, check_value, "component-check-value"),
        (value[:-2], check_value, "component-malformed"),
        ("no hexadecimal", check_value, "component-malformed"),
        (value, "zz", "component-malformed"),
    ):
        with pytest.raises(PersonalizationError, match=code) as caught:
            entered(KeyName.CARD, "li", typed, checked)
        assert typed not in str(caught.value)
    for name in KEY_PAIRS:
        with pytest.raises(PersonalizationError, match="component-of-a-pair"):
            new_component(name, "li")


@pytest.mark.parametrize("content", ["", "x", "permitcard key component\nkey: card", "other\nkey: card\ncustodian: li"])
def test_what_is_no_component_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "component.txt"
    path.write_text(content, "utf-8")
    with pytest.raises(PersonalizationError, match="component-file-malformed"):
        read_component(path)
    with pytest.raises(PersonalizationError, match="component-file-missing"):
        read_component(tmp_path / "none.txt")


def test_a_transcript_tells_check_values_and_no_component() -> None:
    store = specimen_keys()
    parts = {KeyName.CARD: [new_component(KeyName.CARD, who) for who in CUSTODIANS]}
    document = transcript(store, parts, ["chen"], rehearsal=True, place="keys.json")
    signed = sign_document(document, store)
    text = written(signed).decode().lower()
    for part in parts[KeyName.CARD]:
        assert part.value.hex() not in text
        assert part.check_value.hex() in text
    assert open_document(signed, "transcript", store.certificate(KeyName.AUTHORITY)) == document


def change_document(signed: dict[str, object]) -> None:
    document = signed["document"]
    assert isinstance(document, dict)
    document["rehearsal"] = False


def change_signature(field: str, value: str) -> Callable[[dict[str, object]], None]:
    def change(signed: dict[str, object]) -> None:
        signature = signed["signature"]
        assert isinstance(signature, dict)
        signature[field] = value

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (change_document, "document-not-genuine"),
        (change_signature("value", "00" * 64), "document-not-genuine"),
        (change_signature("value", "01" * 64), "document-not-genuine"),
        (change_signature("value", "01"), "document-malformed"),
        (change_signature("algorithm", "none"), "document-malformed"),
        (change_signature("certificate", "00"), "document-malformed"),
    ],
)
def test_a_changed_document_is_not_genuine(
    tmp_path: Path, change: Callable[[dict[str, object]], None], code: str
) -> None:
    store = specimen_keys()
    signed = sign_document(transcript(store, {}, [], rehearsal=True, place="x"), store)
    change(signed)
    path = tmp_path / "document.json"
    path.write_bytes(written(signed))
    with pytest.raises(PersonalizationError, match=code):
        read_signed(path, store.certificate(KeyName.AUTHORITY))


def test_a_document_of_another_authority_is_not_genuine(tmp_path: Path) -> None:
    other = FileKeyStore.create(tmp_path / "keys.json", b"another centre", scrypt_n=16)
    signed = sign_document({"kind": "x"}, other)
    assert open_document(json.loads(written(signed)), "x") == {"kind": "x"}
    with pytest.raises(PersonalizationError, match="document-not-genuine"):
        open_document(signed, "x", specimen_keys().certificate(KeyName.AUTHORITY))


class Administered:
    """A store on one of the back ends, and who changes it."""

    def __init__(self, kind: str, folder: Path) -> None:
        os.environ |= {"TEST_PHRASE": "a long phrase", "TEST_HSM_PIN": USER_PIN, "TEST_HSM_SO_PIN": OFFICER_PIN}
        self.file = folder / "keys.json"
        self.place: TokenPlace | None = None
        self.administration: KeyAdministration
        if kind == "file":
            FileKeyStore.create(self.file, b"a long phrase", scrypt_n=16)
            self.administration = FileKeyAdministration(self.file, PassphraseSource.environment("TEST_PHRASE"))
            return
        hsm, label = fresh_token()
        self.place = TokenPlace(hsm.module, label)
        officer = PassphraseSource.environment("TEST_HSM_SO_PIN")
        maker = Maker(self.place, PassphraseSource.environment("TEST_HSM_PIN"), officer)
        create_hsm_store(maker, production=False)
        self.administration = HsmKeyAdministration(maker)

    def open(self) -> KeyStore:
        if self.place is None:
            return FileKeyStore.open(self.file, b"a long phrase")
        return HsmKeyStore.open(self.place, USER_PIN.encode())

    def check_value(self, name: KeyName) -> bytes:
        store = self.open()
        try:
            return store.check_value(name)
        finally:
            store.close()


@pytest.fixture(params=["file", "hsm"])
def administered(request: pytest.FixtureRequest, tmp_path: Path) -> Administered:
    return Administered(request.param, tmp_path)


def test_a_key_is_replaced_and_the_one_before_destroyed(administered: Administered) -> None:
    changes = administered.administration
    store = administered.open()
    sealed = store.seal(KeyName.TRANSPORT, b"content", b"")
    store.close()
    for name in (KeyName.CARD, KeyName.TRANSPORT, KeyName.EXCHANGE):
        before = administered.check_value(name)
        change = changes.replace(name)
        assert change == (before, administered.check_value(name))
        assert change.before != change.after
    store = administered.open()
    assert store.unseal(KeyName.TRANSPORT, sealed, b"") == b"content", "a former key opens what it sealed"
    former = changes.replace(KeyName.TRANSPORT).before
    store.close()
    with pytest.raises(PersonalizationError, match="former-key-missing"):
        changes.destroy(KeyName.TRANSPORT, administered.check_value(KeyName.TRANSPORT))
    changes.destroy(KeyName.TRANSPORT, former)
    with pytest.raises(PersonalizationError, match="former-key-missing"):
        changes.destroy(KeyName.TRANSPORT, former)
    for name in (KeyName.RECOGNITION, *(set(KEY_PAIRS) - ROTATED_PAIRS)):
        with pytest.raises(PersonalizationError, match="key-not-replaceable"):
            changes.replace(name)


def test_a_former_master_goes_on_deriving_until_it_is_destroyed(administered: Administered) -> None:
    """What was made under a key goes on needing it after nothing more is made under it."""
    name, what = KeyName.SERVICE_DESK, ("ROLE", bytes(10), 32)
    store = administered.open()
    derived = store.derive(name, *what)
    store.close()
    first = administered.administration.replace(name)
    second = administered.administration.replace(name)
    store = administered.open()
    assert store.check_values(name) == (second.after, first.after, first.before)
    assert store.derive(name, *what, first.before) == derived
    assert len({store.derive(name, *what, value) for value in store.check_values(name)}) == 3
    assert store.derive(name, *what, second.after) == store.derive(name, *what)
    store.make_batch_keys("batch")
    of_batch = store.of_batch("batch")
    assert of_batch.derive(name, *what, first.before) == derived
    assert of_batch.check_values(name) == store.check_values(name)
    assert of_batch.check_values(KeyName.TRANSPORT) == (of_batch.check_value(KeyName.TRANSPORT),)
    store.close()
    administered.administration.destroy(name, first.before)
    store = administered.open()
    assert store.check_values(name) == (second.after, first.after)
    with pytest.raises(PersonalizationError, match="former-key-missing"):
        store.derive(name, *what, first.before)
    store.close()


def few_bits(check_value: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda *key: bytes((check_value(*key)[0] & 7,))


def test_a_new_key_is_told_from_all_before_it(administered: Administered, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check values of three bits, which soon meet: what would be taken for another key is drawn again."""
    for place, function in (
        (file_store, "_value_of"),
        (file_store, "pair_check_value"),
        (administration, "_aes_check_value"),
        (administration, "aes_check_value"),
        (making, "pair_check_value"),
    ):
        monkeypatch.setattr(place, function, few_bits(getattr(place, function)))
    for name in (KeyName.CARD, KeyName.EXCHANGE, KeyName.AUDIT, KeyName.AUTHORITY):
        first = administered.check_value(name)
        values = [first, *(administered.administration.replace(name).after for _ in range(4))]
        assert len({value[0] & 7 for value in values}) == len(values), name


def signed_by(store: KeyStore, name: KeyName, digest: bytes) -> bool:
    """Whether what the store signs now is verified by the certificate that it shows."""
    raw = store.sign_digest(name, digest)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = x509.load_der_x509_certificate(store.certificate(name)).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(der, digest, ec.ECDSA(Prehashed(SHA256())))
    return True


@pytest.mark.parametrize("name", sorted(CERTIFIED))
def test_a_signer_gets_a_new_pair_whose_validity_overlaps(administered: Administered, name: KeyName) -> None:
    """ICAO Doc 9303 part 12, 4.1.2: what the former signer signed is verified as ever; the new one signs."""
    store = administered.open()
    old, old_record = store.certificate(name), sign_document({"kind": "before"}, store)
    authority = store.certificate(KeyName.AUTHORITY)
    store.close()
    change = administered.administration.replace(name)
    again = administered.administration.replace(name)
    assert (change.after, again.after) == (again.before, administered.check_value(name))
    assert len({change.before, change.after, again.after}) == 3
    store = administered.open()
    assert store.certificate(KeyName.AUTHORITY) == authority
    assert signed_by(store, name, bytes(32))
    former, current = (x509.load_der_x509_certificate(found) for found in (old, store.certificate(name)))
    for certificate in (former, current):
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority))
        assert certificate.not_valid_before_utc < dt.datetime.now(dt.UTC) < certificate.not_valid_after_utc
    assert former.public_key() != current.public_key()
    assert former.subject == current.subject
    held = store.certificates(name)
    assert (len(held), held[0], held[-1]) == (3, store.certificate(name), old)
    assert open_document(old_record, "before", authority) == {"kind": "before"}
    assert open_document(sign_document({"kind": "after"}, store), "after", authority) == {"kind": "after"}
    store.close()


def verified_by(certificate: bytes, digest: bytes, raw: bytes) -> bool:
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        key.verify(der, digest, ec.ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True


def test_the_clock_goes_on_signing_for_the_cards_that_have_it(administered: Administered) -> None:
    """A card that was made keeps the public key; what is signed for all holds for it, until its key is destroyed."""
    digest, changes = bytes(range(32)), administered.administration
    certificates: list[bytes] = []

    def holds() -> list[list[bool]]:
        """Which signature holds under which certificate, the newest first."""
        store = administered.open()
        if store.certificate(KeyName.CLOCK) not in certificates:
            certificates.insert(0, store.certificate(KeyName.CLOCK))
        signatures = store.sign_with_all(KeyName.CLOCK, digest)
        assert verified_by(certificates[0], digest, store.sign_digest(KeyName.CLOCK, digest))
        assert len(store.sign_with_all(KeyName.AUDIT, digest)) == 1
        store.close()
        return [[verified_by(one, digest, raw) for raw in signatures] for one in certificates]

    first = administered.check_value(KeyName.CLOCK)
    assert holds() == [[True]]
    for count in (2, 3):
        newest = changes.replace(KeyName.CLOCK).after
        assert holds() == [[row == column for column in range(count)] for row in range(count)]
    for value, name in ((newest, KeyName.CLOCK), (administered.check_value(KeyName.AUDIT), KeyName.AUDIT)):
        with pytest.raises(PersonalizationError, match="former-key-missing"):
            changes.destroy(name, value)
    changes.destroy(KeyName.CLOCK, first)
    with pytest.raises(PersonalizationError, match="former-key-missing"):
        changes.destroy(KeyName.CLOCK, first)
    assert holds() == [[True, False], [False, True], [False, False]]


@pytest.mark.clause("RFC 4210, 4.4: whoever trusts the former authority takes what the new one certified")
def test_an_authority_is_replaced_and_linked(administered: Administered) -> None:
    documents: dict[str, dict[str, object]] = {}
    roots: list[bytes] = []

    def sign(name: str) -> bytes:
        store = administered.open()
        documents[name] = sign_document({"kind": name}, store)
        roots.append(store.certificate(KeyName.AUTHORITY))
        everything = authorities_of(store)
        store.close()
        return everything

    sign("first")
    first = administered.check_value(KeyName.AUTHORITY)
    assert administered.administration.replace(KeyName.AUTHORITY).before == first
    sign("by the former's signer")
    administered.administration.replace(KeyName.AUDIT)
    sign("second")
    administered.administration.replace(KeyName.AUTHORITY)
    administered.administration.replace(KeyName.AUDIT)
    everything = sign("third")
    assert len(split_certificates(everything)) == 5, "three authorities and two links"
    root = {"first": roots[0], "second": roots[2], "third": roots[3]}
    opened = {(name, trusted): opens(documents[name], root[trusted]) for name in documents for trusted in root} | {
        (name, "all"): opens(documents[name], everything) for name in documents
    }
    never = {("first", "second"), ("by the former's signer", "second")}
    never |= {(name, "third") for name in documents if name != "third"}
    assert {pair for pair, genuine in opened.items() if not genuine} == never, "a link leads forward, not back"
    unlinked = json.loads(written(documents["second"]))
    unlinked["signature"]["links"] = []
    assert not opens(unlinked, root["first"])
    assert opens(unlinked, root["second"])
    with pytest.raises(PersonalizationError, match="former-key-missing"):
        administered.administration.destroy(KeyName.AUTHORITY, first)


def opens(signed: dict[str, object], trusted: bytes) -> bool:
    try:
        open_document(signed, "here", trusted)
    except PersonalizationError as error:
        assert error.code == "document-not-genuine"  # noqa: PT017 - any other code is a failure
        return False
    return True


def test_a_link_counts_when_a_trusted_authority_signed_it_and_in_its_dates() -> None:
    now = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    old, new, strange = (make_authority(key, now) for key in keys)
    signer = make_signer(Purpose.AUDIT, keys[0].public_key(), new, keys[1], now)
    raw = {name: one.public_bytes(Encoding.DER) for name, one in (("old", old), ("new", new), ("strange", strange))}
    link = make_link(keys[1].public_key(), old, keys[0], now).public_bytes(Encoding.DER)
    foreign = make_link(keys[1].public_key(), strange, keys[2], now).public_bytes(Encoding.DER)
    no_authority = make_signer(Purpose.AUDIT, keys[1].public_key(), old, keys[0], now).public_bytes(Encoding.DER)
    year = dt.timedelta(days=365)

    def trusts(trusted: bytes, *links: bytes, at: dt.datetime = now) -> bool:
        return Authorities(trusted, links, at).issuer_of(signer) is not None

    assert trusts(raw["new"])
    assert trusts(raw["old"] + raw["new"])
    assert not trusts(raw["old"])
    assert trusts(raw["old"], link)
    assert trusts(raw["old"], foreign, no_authority, link)
    assert not trusts(raw["old"], foreign)
    assert not trusts(raw["old"], raw["new"]), "an authority that speaks for itself"
    assert not trusts(raw["old"], no_authority)
    assert not trusts(raw["old"], link, at=now - 2 * year)
    assert not trusts(raw["old"], link, at=now + 21 * year)
    assert Authorities(raw["new"]).issuer_of(signer, now + 21 * year) is None
    for nothing in (b"", b"\x30", raw["old"][:-1], raw["old"] + b"\x00", b"\x31" + raw["old"][1:]):
        with pytest.raises(ValueError, match=r"."):
            split_certificates(nothing)


def test_an_authority_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    """Power fails between pair and certificate: the former one certifies on, and the next change is whole."""
    administered = Administered("hsm", tmp_path)
    before, place = administered.check_value(KeyName.AUTHORITY), administered.place
    assert place is not None
    with logged_in(place, USER_PIN.encode(), write=True) as session:
        making._make_pair(session, "permitcard.authority.2")
    assert administered.check_value(KeyName.AUTHORITY) == before
    administered.administration.replace(KeyName.DOCUMENT_SIGNER)
    assert administered.administration.replace(KeyName.AUTHORITY).before == before
    with logged_in(place, USER_PIN.encode()) as session:
        labels = [
            str(item[Attribute.LABEL]) for item in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        ]
    assert [label for label in labels if "authority" in label] == ["permitcard.authority.3"]
    store = administered.open()
    assert len(split_certificates(authorities_of(store))) == 3
    store.close()


def test_a_pair_whose_certificate_was_not_made_any_more_is_not_used(tmp_path: Path) -> None:
    """Power fails between pair and certificate: the store goes on with the pair before; the next change is whole."""
    administered = Administered("hsm", tmp_path)
    before = administered.check_value(KeyName.AUDIT)
    place = administered.place
    assert place is not None
    with logged_in(place, USER_PIN.encode(), write=True) as session:
        making._make_pair(session, "permitcard.audit.2")
    store = administered.open()
    assert store.check_value(KeyName.AUDIT) == before
    assert signed_by(store, KeyName.AUDIT, bytes(32))
    store.close()
    assert administered.administration.replace(KeyName.AUDIT).before == before
    store = administered.open()
    assert signed_by(store, KeyName.AUDIT, bytes(32))
    store.close()


def test_a_key_travels_under_the_exchange_key(administered: Administered) -> None:
    changes = administered.administration
    original = administered.check_value(KeyName.ISSUER)
    wrapped = changes.export(KeyName.ISSUER)
    assert len(wrapped) == 24
    changes.replace(KeyName.ISSUER)
    replaced = administered.check_value(KeyName.ISSUER)
    assert changes.arrived(KeyName.ISSUER, wrapped) == original != replaced
    assert administered.check_value(KeyName.ISSUER) == replaced, "what has arrived is not in use"
    changes.take_in(KeyName.ISSUER, wrapped)
    assert administered.check_value(KeyName.ISSUER) == original
    spoilt = wrapped[:-1] + bytes((wrapped[-1] ^ 1,))
    for blob in (spoilt, wrapped[:-8], b""):
        with pytest.raises(PersonalizationError, match="wrapped-key-refused"):
            changes.take_in(KeyName.ISSUER, blob)
        with pytest.raises(PersonalizationError, match="wrapped-key-refused"):
            changes.arrived(KeyName.ISSUER, blob)
    assert administered.check_value(KeyName.ISSUER) == original
    for name in (KeyName.EXCHANGE, KeyName.DOCUMENT_SIGNER):
        with pytest.raises(PersonalizationError, match="key-not-exportable"):
            changes.export(name)


def test_a_role_master_that_was_taken_in_leaves_for_a_trusted_key_only(tmp_path: Path) -> None:
    administered = Administered("hsm", tmp_path)
    wrapped = administered.administration.export(KeyName.ISSUER)
    administered.administration.take_in(KeyName.ISSUER, wrapped)
    assert administered.place is not None
    with logged_in(administered.place, USER_PIN.encode()) as session:
        found: Any = session.get_key(object_class=ObjectClass.SECRET_KEY, label="permitcard.issuer.2")
        assert found[Attribute.WRAP_WITH_TRUSTED]
        assert found[Attribute.SENSITIVE]
        assert not found[Attribute.MODIFIABLE]
        assert len(list(session.get_objects({Attribute.LABEL: "permitcard.issuer.2"}))) == 1


def test_a_token_lets_no_master_out_that_no_sam_needs(tmp_path: Path) -> None:
    changes = Administered("hsm", tmp_path).administration
    for name in (KeyName.CARD, KeyName.FACTORY, KeyName.RECOGNITION, KeyName.TRANSPORT):
        with pytest.raises(PersonalizationError, match="key-not-exportable"):
            changes.export(name)


def test_both_back_ends_take_the_keys_of_a_ceremony(tmp_path: Path) -> None:
    parts = {name: [new_component(name, who) for who in CUSTODIANS] for name in KEY_LENGTHS}
    given = {name: combine(name, components) for name, components in parts.items()}
    file = FileKeyStore.create(tmp_path / "keys.json", b"a long phrase", given=given, scrypt_n=16)
    hsm, label = fresh_token()
    place = TokenPlace(hsm.module, label)
    os.environ |= {"TEST_HSM_PIN": USER_PIN, "TEST_HSM_SO_PIN": OFFICER_PIN}
    officer = PassphraseSource.environment("TEST_HSM_SO_PIN")
    maker = Maker(place, PassphraseSource.environment("TEST_HSM_PIN"), officer)
    create_hsm_store(maker, production=True, organization="Test centre", given=given)
    store = HsmKeyStore.open(place, USER_PIN.encode())
    assert [store.check_value(name) for name in KEY_LENGTHS] == [file.check_value(name) for name in KEY_LENGTHS]
    assert store.derive(KeyName.CARD, "ROLE", b"", 32) == file.derive(KeyName.CARD, "ROLE", b"", 32)
    store.close()
