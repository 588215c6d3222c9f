"""What only a token can promise: masters that nobody reads, two PINs, and what it says when something is wrong."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session, exceptions

from personalization.errors import PersonalizationError
from personalization.keys.hsm import making
from personalization.keys.hsm.making import WRAPPING_KEYS, Maker, create_hsm_store
from personalization.keys.hsm.store import HsmKeyStore, HsmKeyStoreLocation
from personalization.keys.hsm.token import Login, TokenPlace, logged_in
from personalization.keys.keystore import KEY_LENGTHS, KEY_PAIRS, KEY_USES, KeyName, KeyUse
from personalization.keys.passphrase import PassphraseSource
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, SoftHsm, fresh_token

ROLE_MASTERS = [name for name, uses in KEY_USES.items() if KeyUse.LOAD_INTO_SAM in uses]


def maker(place: TokenPlace) -> Maker:
    os.environ["TEST_HSM_PIN"], os.environ["TEST_HSM_SO_PIN"] = USER_PIN, OFFICER_PIN
    return Maker(place, PassphraseSource.environment("TEST_HSM_PIN"), PassphraseSource.environment("TEST_HSM_SO_PIN"))


def fresh_place() -> TokenPlace:
    hsm, label = fresh_token()
    return TokenPlace(hsm.module, label)


@pytest.fixture(scope="module")
def place() -> TokenPlace:
    found = fresh_place()
    create_hsm_store(maker(found), production=True, organization="Test centre")
    return found


@pytest.fixture
def session(place: TokenPlace) -> Iterator[Session]:
    """What an intruder with the user's PIN has."""
    with logged_in(place, USER_PIN.encode(), write=True) as opened:
        yield opened


def key(session: Session, name: KeyName, suffix: str = "") -> Any:
    kind = ObjectClass.PRIVATE_KEY if name in KEY_PAIRS else ObjectClass.SECRET_KEY
    return session.get_key(object_class=kind, label=f"permitcard.{name.value}.1{suffix}")


def test_a_production_store_says_so_and_cannot_be_told_otherwise(place: TokenPlace, session: Session) -> None:
    store = HsmKeyStore.open(place, USER_PIN.encode())
    assert store.production
    assert "REHEARSAL" not in repr(store)
    store.close()
    found = next(iter(session.get_objects({Attribute.LABEL: "permitcard.store"})))
    with pytest.raises(exceptions.PKCS11Error):
        found[Attribute.VALUE] = b'{"format": "permitcard key store", "version": 1, "production": false}'


@pytest.mark.parametrize("name", list(KEY_LENGTHS))
def test_no_symmetric_key_can_be_read(session: Session, name: KeyName) -> None:
    """PKCS #11 2.40, 4.8: a sensitive key's value is not revealed."""
    with pytest.raises(exceptions.AttributeSensitive):
        key(session, name)[Attribute.VALUE]


@pytest.mark.parametrize("name", KEY_PAIRS)
def test_no_private_key_can_be_read(session: Session, name: KeyName) -> None:
    with pytest.raises(exceptions.AttributeSensitive):
        key(session, name)[Attribute.VALUE]


@pytest.mark.parametrize("name", [*KEY_LENGTHS, *KEY_PAIRS])
def test_only_role_masters_are_extractable_and_only_for_a_trusted_key(session: Session, name: KeyName) -> None:
    found = key(session, name)
    assert found[Attribute.SENSITIVE]
    assert found[Attribute.EXTRACTABLE] is (name in ROLE_MASTERS)
    if name in ROLE_MASTERS:
        assert found[Attribute.WRAP_WITH_TRUSTED]
    with pytest.raises(exceptions.PKCS11Error):
        found[Attribute.SENSITIVE] = False
    with pytest.raises(exceptions.PKCS11Error):
        found[Attribute.LABEL] = "mine"


def own_wrapping_key(session: Session, **more: object) -> Any:
    """A wrapping key whose value the intruder knows."""
    return session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.TOKEN: False,
            Attribute.VALUE: bytes(32),
            Attribute.WRAP: True,
            Attribute.UNWRAP: True,
            **{Attribute[name]: value for name, value in more.items()},
        }
    )


@pytest.mark.parametrize("name", [*KEY_LENGTHS, *KEY_PAIRS])
def test_no_key_leaves_wrapped_under_a_key_of_the_intruder(session: Session, name: KeyName) -> None:
    """The classical attack on PKCS #11: wrap a key under one that you know."""
    mine = own_wrapping_key(session)
    with pytest.raises((exceptions.KeyUnextractable, exceptions.KeyNotWrappable)):
        mine.wrap_key(key(session, name), mechanism=Mechanism.AES_KEY_WRAP)


def test_the_user_cannot_make_a_trusted_key(session: Session) -> None:
    with pytest.raises(exceptions.PKCS11Error):
        own_wrapping_key(session, TRUSTED=True)


@pytest.mark.parametrize("name", ROLE_MASTERS)
def test_a_copy_is_no_weaker(session: Session, name: KeyName) -> None:
    for attribute, value in ((Attribute.WRAP_WITH_TRUSTED, False), (Attribute.SENSITIVE, False)):
        with pytest.raises(exceptions.PKCS11Error):
            key(session, name).copy({attribute: value, Attribute.TOKEN: False})


@pytest.mark.parametrize("name", WRAPPING_KEYS)
def test_what_wraps_does_not_unwrap(session: Session, name: KeyName) -> None:
    """Else a wrapped master would come back as a key that can be read."""
    outward = key(session, name)
    assert outward[Attribute.TRUSTED]
    assert outward[Attribute.WRAP]
    assert not outward[Attribute.UNWRAP]
    assert not outward[Attribute.DECRYPT]
    assert len(outward.wrap_key(key(session, KeyName.ISSUER), mechanism=Mechanism.AES_KEY_WRAP)) == 24
    assert not hasattr(outward, "unwrap_key"), "the library gives a handle the operations that its attributes allow"


@pytest.mark.parametrize("name", [name for name, uses in KEY_USES.items() if KeyUse.DERIVE in uses])
def test_a_master_computes_macs_and_nothing_else(session: Session, name: KeyName) -> None:
    found = key(session, name)
    assert found.sign(b"", mechanism=Mechanism.AES_CMAC)
    for attribute in (Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP, Attribute.UNWRAP, Attribute.DERIVE):
        assert not found[attribute]


def test_a_production_store_gives_the_vendors_load_key_to_nobody(place: TokenPlace) -> None:
    """In production the load key is the vendor's, not what our own factory master would give."""
    store = HsmKeyStore.open(place, USER_PIN.encode())
    ours = store.derive(KeyName.FACTORY, "SAM LOAD", b"", 32)
    with logged_in(place, USER_PIN.encode()) as session:
        mac = session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.TOKEN: False,
                Attribute.VALUE: ours,
                Attribute.SIGN: True,
            }
        )
        assert mac.sign(bytes(16), mechanism=Mechanism.AES_CMAC)[:3] != store.check_value(KeyName.SAM_LOAD)  # type: ignore[attr-defined]  # a secret key by its class
    store.close()


def test_a_second_store_in_the_same_token_is_refused(place: TokenPlace) -> None:
    with pytest.raises(PersonalizationError, match="key-store-exists"):
        create_hsm_store(maker(place), production=False)


def test_a_location_travels_and_holds_no_pin(place: TokenPlace) -> None:
    location = HsmKeyStoreLocation(place, PassphraseSource.environment("TEST_HSM_PIN"))
    maker(place)
    assert USER_PIN.encode() not in pickle.dumps(location)
    program = (
        "import pickle, sys; from personalization.keys.keystore import KeyName;"
        "store = pickle.loads(sys.stdin.buffer.read()).open(); print(store.check_value(KeyName.CARD).hex());"
        "from personalization.keys.process import is_memory_private; assert is_memory_private()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(location), capture_output=True, check=True
    )
    store = HsmKeyStore.open(place, USER_PIN.encode())
    assert ended.stdout.decode().strip() == store.check_value(KeyName.CARD).hex()
    store.close()


def test_two_sessions_of_one_process_share_the_login(place: TokenPlace) -> None:
    first, second = (HsmKeyStore.open(place, USER_PIN.encode()) for _ in range(2))
    second.close()
    second.close()
    assert first.check_value(KeyName.CARD)
    first.close()


def code_of(place: TokenPlace, pin: bytes = USER_PIN.encode()) -> tuple[str, int]:
    with pytest.raises(PersonalizationError) as caught:
        HsmKeyStore.open(place, pin)
    assert repr(pin.decode()) not in repr(caught.value)
    return caught.value.code, caught.value.exit_code


def test_a_wrong_module_path_is_told(place: TokenPlace, tmp_path: Path) -> None:
    assert code_of(TokenPlace(str(tmp_path / "nowhere.so"), place.label)) == ("hsm-module-unusable", 3)
    (tmp_path / "text.so").write_text("no library")
    assert code_of(TokenPlace(str(tmp_path / "text.so"), place.label)) == ("hsm-module-unusable", 3)


def test_an_unknown_token_is_told(place: TokenPlace) -> None:
    assert code_of(TokenPlace(place.module, "no such token")) == ("hsm-token-missing", 3)


def test_a_wrong_pin_is_told() -> None:
    found = fresh_place()  # the library leaves the session of a refused login open
    for pin in (b"wrong-pin", b"1"):
        assert code_of(found, pin) == ("hsm-pin-wrong", 3)


@pytest.fixture(scope="module")
def empty() -> TokenPlace:
    """An empty token for tests that leave it empty."""
    return fresh_place()


def test_a_token_without_keys_of_ours_is_told(empty: TokenPlace) -> None:
    assert code_of(empty) == ("hsm-store-missing", 3)


def objects(place: TokenPlace) -> list[str]:
    with logged_in(place, USER_PIN.encode()) as session:
        return [str(item[Attribute.LABEL]) for item in session.get_objects()]


def test_a_wrong_pin_of_the_security_officer_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fresh_place()
    making = maker(found)
    monkeypatch.setenv("TEST_HSM_SO_PIN", "not the officer")
    with pytest.raises(PersonalizationError, match="hsm-pin-wrong"):
        create_hsm_store(making, production=False)
    assert objects(found) == []


@pytest.mark.parametrize("after", [0, 3, 9])
def test_a_token_that_fills_up_while_keys_are_made_is_left_empty(
    monkeypatch: pytest.MonkeyPatch, empty: TokenPlace, after: int
) -> None:
    """CKR_DEVICE_MEMORY, which SoftHSM does not give as long as the disk has room, at three moments."""
    made = iter(range(after))

    def full(session: Session, name: KeyName, generation: int, value: bytes | None = None) -> None:
        if next(made, None) is None:
            raise exceptions.DeviceMemory
        kept(session, name, generation, value)

    kept = making.make_symmetric
    monkeypatch.setattr(making, "make_symmetric", full)
    with pytest.raises(PersonalizationError) as caught:
        create_hsm_store(maker(empty), production=False)
    assert (caught.value.code, caught.value.exit_code) == ("hsm-token-full", 3)
    assert objects(empty) == []


def test_a_token_that_goes_away_is_told(tmp_path: Path) -> None:
    """In a process of its own: SoftHSM reads its tokens from a folder, which is taken away."""
    hsm = SoftHsm.make(tmp_path / "hsm")
    program = (
        "import sys; from pathlib import Path; from tests.unit.personalization.hsm_gone import watch;"
        "watch(Path(sys.argv[1]), sys.argv[2])"
    )
    root = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, "-c", program, str(hsm.tokens), hsm.module],
        env={**os.environ, **hsm.variables, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    codes = ended.stdout.split()
    assert codes[:3] == ["hsm-unavailable/3"] * 3
    assert codes[3] in {"hsm-unavailable/3", "hsm-token-missing/3"}
    assert codes[4] == "again"


def test_a_read_only_session_makes_nothing(place: TokenPlace) -> None:
    with logged_in(place, USER_PIN.encode()) as session, pytest.raises(exceptions.SessionReadOnly):
        session.generate_key(KeyType.AES, 128, store=True, capabilities=MechanismFlag.SIGN)


def test_the_security_officer_sees_no_private_key() -> None:
    found = fresh_place()
    create_hsm_store(maker(found), production=False)
    with logged_in(found, OFFICER_PIN.encode(), Login.SECURITY_OFFICER) as session:
        labels = {str(item[Attribute.LABEL]) for item in session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})}
    assert {label.split(".")[1] for label in labels} == {name.value for name in WRAPPING_KEYS}
