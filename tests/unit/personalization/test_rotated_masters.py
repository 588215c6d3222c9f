"""Cards and blanks of before `keys rotate card` and `keys rotate factory`: opened with the master that they have.

One behaviour of both key stores, on simulated chips. What matters most is what is not sent: a card sees one INITIALIZE
UPDATE and never an EXTERNAL AUTHENTICATE that it could refuse.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from card_os.hardware.image import NvmImage
from permitcard.gp_access import KeyChoice
from permitcard.products import boot, open_simulated, sam_profile
from permitcard.recipes import file_system_recipe
from permitcard.sams import blank_chip, deliver_chip, new_sam
from permitcard.specimen import specimen_keys
from permitcard.trace_names import StoreKeys
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import CardState, StatusScope
from personalization.globalplatform.guard_ledger import GuardLedger
from personalization.globalplatform.guarded_session import CardGuard, KeyCandidate
from personalization.globalplatform.key_guard import KeyGuard
from personalization.globalplatform.session import SecureSession
from personalization.keys.administration import rehearsal_load_key
from personalization.keys.file_store import FileKeyStore
from personalization.keys.hsm.administration import HsmKeyAdministration
from personalization.keys.hsm.making import Maker, create_hsm_store
from personalization.keys.hsm.store import HsmKeyStore
from personalization.keys.hsm.token import TokenPlace
from personalization.keys.keystore import KeyName, KeyStore
from personalization.keys.passphrase import PassphraseSource
from personalization.preparation.card_keys import CARD_VERSION, CardKeys, issuer_domain_keys
from personalization.production.fence import Fence
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.work import Condition, KeysRefused, Look, WrongBlank
from personalization.sams.maker import SamCondition, SamMaker
from reader_bridge.connection import CardConnection, Interface, ReaderError
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import Wrapper
from tests.doubles.counting_card import INS_EXTERNAL_AUTHENTICATE, INS_INITIALIZE_UPDATE
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, fresh_token

INS_PUT_KEY = 0xD8


class Store(Protocol):
    """A key store whose keys are replaced and destroyed."""

    @property
    def keys(self) -> KeyStore: ...

    def rotate(self, name: KeyName) -> bytes:
        """Put a new key in use; returns the check value of the one before."""
        ...

    def destroy(self, name: KeyName, check_value: bytes) -> None: ...


class InFile:
    """The published keys of specimens, in memory."""

    def __init__(self) -> None:
        self.keys: FileKeyStore = specimen_keys()

    def rotate(self, name: KeyName) -> bytes:
        before = self.keys.check_value(name)
        self.keys = self.keys.with_key(name, os.urandom(16))
        return before

    def destroy(self, name: KeyName, check_value: bytes) -> None:
        left = self.keys.without_former(name, check_value)
        assert left is not None
        self.keys = left


class InToken:
    """A store in SoftHSM2, opened again after each change as a station does that starts."""

    def __init__(self) -> None:
        hsm, label = fresh_token()
        os.environ["TEST_HSM_PIN"], os.environ["TEST_HSM_SO_PIN"] = USER_PIN, OFFICER_PIN
        self._place = TokenPlace(hsm.module, label)
        user, officer = (PassphraseSource.environment(name) for name in ("TEST_HSM_PIN", "TEST_HSM_SO_PIN"))
        maker = Maker(self._place, user, officer)
        create_hsm_store(maker, production=False)
        self._administration = HsmKeyAdministration(maker)
        self.keys = self._open()

    def rotate(self, name: KeyName) -> bytes:
        self.keys.close()
        before = self._administration.replace(name).before
        self.keys = self._open()
        return before

    def destroy(self, name: KeyName, check_value: bytes) -> None:
        self.keys.close()
        self._administration.destroy(name, check_value)
        self.keys = self._open()

    def _open(self) -> HsmKeyStore:
        return HsmKeyStore.open(self._place, USER_PIN.encode())


@pytest.fixture(scope="module")
def token() -> Iterator[InToken]:
    """One token for all tests: its masters are replaced again and again."""
    opened = InToken()
    yield opened
    opened.keys.close()


@pytest.fixture(params=["file", "hsm"])
def store(request: pytest.FixtureRequest, token: InToken) -> Store:
    if request.param == "file":
        return InFile()
    token.rotate(KeyName.SAM_LOAD)  # other tests destroyed the factory master that the one before came from
    return token


class Heard(Wrapper):
    """A connection that remembers which commands went to the card, and fails for good before one of them."""

    __slots__ = ("_left", "instructions")

    def __init__(self, inner: CardConnection, spared: int = 1_000) -> None:
        super().__init__(inner)
        self.instructions: list[int] = []
        self._left = spared

    def transmit(self, command: bytes) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ReaderError("card-removed")
        self.instructions.append(command[1])
        return super().transmit(command)

    def times(self, instruction: int) -> int:
        return self.instructions.count(instruction)


def untimed(step: str) -> None:
    del step


def maker(store: Store, guard: KeyGuard | None = None) -> GlobalPlatformMaker:
    return GlobalPlatformMaker(file_system_recipe(store.keys), guard=guard)


def blank(store: Store, serial: int = 1) -> SimulatedCard:
    """A chip of the vendor's, under the ``factory`` master of today."""
    return blank_chip(None, store.keys, serial)


def made(store: Store, serial: int = 1) -> tuple[SimulatedCard, bytes]:
    """A finished card under the masters of today, and its number."""
    card = blank(store, serial)
    with card.connect(Interface.CONTACT) as contact:
        return card, maker(store).make(contact, None, None, untimed)


def begun(store: Store, serial: int, commands: int) -> SimulatedCard:
    """A card that was pulled out after so many commands."""
    card = blank(store, serial)
    with card.connect(Interface.CONTACT) as contact, pytest.raises(ReaderError):
        maker(store).make(Heard(contact, commands), None, None, untimed, Fence(1, serial))
    return card


def fork(card: SimulatedCard) -> SimulatedCard:
    """A copy of a card, in memory."""
    return SimulatedCard(NvmImage.from_snapshot(card.image.snapshot()), boot)


def finish(card: SimulatedCard, store: Store) -> bytes:
    """Make it, or what is missing of it; returns its number."""
    with card.connect(Interface.CONTACT) as contact:
        return maker(store).make(contact, None, None, untimed, Fence(2, 1))


def look(card: SimulatedCard, store: Store) -> Look:
    with card.connect(Interface.CONTACT) as contact:
        return maker(store).look(contact)


def is_of_today(card: SimulatedCard, store: Store) -> bool:
    """Whether a finished card has keys of the master in use."""
    number = look(card, store).card_number
    with card.connect(Interface.CONTACT) as contact:
        session = SecureSession.open(contact, issuer_domain_keys(store.keys, KeyName.CARD, number))
        return any(entry.life_cycle == CardState.SECURED for entry in session.get_status(StatusScope.ISSUER_DOMAIN))


def test_a_card_of_before_is_read_back_and_put_out_of_service(store: Store) -> None:
    """Amendment D v1.1.1, 6.2.2: which master it is, is found on the one answer of the card."""
    card, number = made(store)
    with card:
        for _ in range(2):
            store.rotate(KeyName.CARD)
        with card.connect(Interface.CONTACT) as contact:
            heard = Heard(contact)
            assert maker(store).look(heard) == (number, Condition.FINISHED)
            assert (heard.times(INS_INITIALIZE_UPDATE), heard.times(INS_EXTERNAL_AUTHENTICATE)) == (1, 1)
            with pytest.raises(WrongBlank):
                maker(store).terminate(heard, bytes(10))
            assert maker(store).terminate(heard, number)
        assert look(card, store).condition is Condition.TERMINATED


def test_a_blank_of_a_former_factory_master_is_made_with_the_keys_of_today(store: Store) -> None:
    with blank(store) as card:
        for name in (KeyName.FACTORY, KeyName.CARD, KeyName.FACTORY):
            store.rotate(name)
        assert look(card, store).condition is Condition.UNTOUCHED
        with card.connect(Interface.CONTACT) as contact:
            heard = Heard(contact)
            maker(store).make(heard, None, None, untimed, Fence(1, 1))
        assert heard.times(INS_EXTERNAL_AUTHENTICATE) == 2, "the vendor's keys and ours, none in vain"
        assert is_of_today(card, store)


def test_a_card_that_was_begun_before_is_finished_with_the_keys_of_today(store: Store) -> None:
    """Pulled out after each command of its making, then the master is replaced."""
    lengths = range(4, 16) if isinstance(store, InFile) else (10, 13)
    cards = [begun(store, length, length) for length in lengths]
    store.rotate(KeyName.CARD)
    found = set()
    for card in cards:
        with card:
            found.add(look(card, store).condition)
            finish(card, store)
            assert is_of_today(card, store)
            assert look(card, store).condition is Condition.FINISHED
    assert found >= (
        {Condition.UNTOUCHED, Condition.PERSONALIZED} if isinstance(store, InFile) else {Condition.STARTED}
    )


def test_a_card_of_before_is_pulled_out_again_while_it_gets_the_keys_of_today() -> None:
    """At every moment it has the former keys or those of today, and one of both opens it."""
    store = InFile()
    with begun(store, 1, 13) as card:
        store.rotate(KeyName.CARD)
        conditions = set()
        for length in range(1, 40):
            with fork(card) as again:
                with again.connect(Interface.CONTACT) as contact:
                    heard = Heard(contact, length)
                    try:
                        maker(store).make(heard, None, None, untimed, Fence(2, length))
                    except ReaderError:
                        conditions.add(look(again, store).condition)
                        with again.connect(Interface.CONTACT) as next_contact:
                            maker(store).make(next_contact, None, None, untimed, Fence(3, 1))
                    else:
                        assert heard.times(INS_PUT_KEY) == 1
                        break
                assert is_of_today(again, store)
        assert conditions == {Condition.KEYED, Condition.STARTED, Condition.PERSONALIZED}


def test_a_card_of_which_the_master_was_destroyed_is_foreign_and_loses_nothing(store: Store) -> None:
    card, number = made(store)
    with card, blank(store, 2) as waiting:
        for name in (KeyName.CARD, KeyName.FACTORY):
            store.destroy(name, store.rotate(name))
            store.rotate(name)  # a former one is there still, of which this card is not
        for chip, untouched in ((card, False), (waiting, True)):
            with chip.connect(Interface.CONTACT) as contact:
                heard = Heard(contact)
                for _ in range(12):  # a card gives ten tries
                    with pytest.raises(KeysRefused) as refusal:
                        maker(store).look(heard)
                    assert (refusal.value.tries_spent, refusal.value.untouched) == (0, untouched)
                assert heard.times(INS_INITIALIZE_UPDATE) == 12
                assert not heard.times(INS_EXTERNAL_AUTHENTICATE)
        with card.connect(Interface.CONTACT) as contact, pytest.raises(KeysRefused):
            maker(store).terminate(contact, number)


def test_former_masters_leave_the_guard_as_strict_as_it_is(store: Store) -> None:
    """A foreign card counts once, with however many masters, and is not asked again in the same run."""
    with made(InFile())[0] as card:
        for name in (KeyName.CARD, KeyName.FACTORY):
            store.rotate(name)
        if isinstance(store, InFile):  # these are the keys of that card; a token has drawn others
            store.destroy(KeyName.CARD, specimen_keys().check_value(KeyName.CARD))
        guard = KeyGuard()
        with card.connect(Interface.CONTACT) as contact:
            heard = Heard(contact)
            for _ in range(3):
                with pytest.raises(KeysRefused):
                    maker(store, guard).look(heard)
            assert not heard.times(INS_EXTERNAL_AUTHENTICATE)
        assert guard.failures(number_of(card)) == 1


def number_of(card: SimulatedCard) -> bytes:
    return look(card, InFile()).card_number


def gp_candidates(monkeypatch: pytest.MonkeyPatch, store: Store) -> list[KeyCandidate]:
    def the_store(_: Path) -> KeyStore:
        return store.keys

    monkeypatch.setattr("permitcard.gp_access._store", the_store)
    return KeyChoice(centre=Path("centre")).candidates()


def test_the_ledger_of_a_foreign_card_is_the_same_with_former_masters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    with made(InFile())[0] as card:
        records = []
        for turn in range(2):
            store.rotate(KeyName.CARD)
            if turn == 0 and isinstance(store, InFile):
                store.destroy(KeyName.CARD, specimen_keys().check_value(KeyName.CARD))
            ledger = GuardLedger(tmp_path / f"{turn}.json")
            with card.connect(Interface.CONTACT) as contact:
                found = CardGuard(ledger).identify(contact, gp_candidates(monkeypatch, store))
            record = ledger.record(found.facts.identity)
            assert (found.candidate, record.refused) == (None, 0)
            records.append((record.unfinished, found.asked))
        assert records[0] == records[1] == ({1: 1}, (1,))


def test_programs_of_globalplatform_open_a_card_of_before_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    card, number = made(store)
    with card, card.connect(Interface.CONTACT) as contact:
        before = store.rotate(KeyName.CARD)
        candidates = gp_candidates(monkeypatch, store)
        guard = CardGuard(GuardLedger(tmp_path / "guard.json"))
        found = guard.identify(contact, candidates)
        assert found.candidate is not None
        assert found.candidate.name == f"profile {before.hex().upper()}"
        assert guard.open(contact, candidates).card == number
        opened = StoreKeys(store.keys).channel(CARD_VERSION, number)
        assert issuer_domain_keys(store.keys, KeyName.CARD, number, before).enc in {keys.enc for keys in opened}


def test_a_sam_of_before_is_finished_and_put_out_of_service(store: Store, tmp_path: Path) -> None:
    """A chip that came under a former ``factory`` master, and one whose keys are of a former ``card`` master."""
    path = tmp_path / "chip.card"
    deliver_chip(path, store.keys)
    with open_simulated(path) as chip, chip.connect(Interface.CONTACT) as contact:
        before = SamMaker(sam_profile(), store.keys)
        number = before.look(contact).card_number
        with pytest.raises(ReaderError):
            before.make(Heard(contact, 11))
    with open_simulated(path) as chip:
        for name in (KeyName.FACTORY, KeyName.CARD):
            store.rotate(name)
        with chip.connect(Interface.CONTACT) as contact:
            now = SamMaker(sam_profile(), store.keys)
            assert now.make(contact).condition is SamCondition.HALF_MADE
            keys = issuer_domain_keys(store.keys, KeyName.CARD, number)
            assert SecureSession.open(contact, keys).card == number
        former = store.rotate(KeyName.CARD)
        with chip.connect(Interface.CONTACT) as contact:
            retired = SamMaker(sam_profile(), store.keys)
            assert retired.look(contact).condition is SamCondition.FINISHED
            with fork(chip) as other, other.connect(Interface.CONTACT) as copied:
                assert retired.terminate(copied)
        store.destroy(KeyName.CARD, former)
        with chip.connect(Interface.CONTACT) as contact:
            lost = SamMaker(sam_profile(), store.keys)
            assert lost.look(contact).condition is SamCondition.FOREIGN
            assert not lost.terminate(contact)


def test_a_rehearsal_makes_sams_after_its_factory_master_was_replaced(store: Store, tmp_path: Path) -> None:
    """The make-believe vendor keeps the load key that it gave to the ceremony."""
    store.rotate(KeyName.FACTORY)
    path = tmp_path / "chip.card"
    deliver_chip(path, store.keys)
    with open_simulated(path) as chip, chip.connect(Interface.CONTACT) as contact:
        SamMaker(sam_profile(), store.keys).make(contact)
    with new_sam(store.keys, 2) as sam, sam.connect(Interface.CONTACT) as contact:
        assert SamMaker(sam_profile(), store.keys).look(contact).condition is SamCondition.FINISHED


def test_a_rehearsal_takes_the_load_key_of_its_vendor(store: Store) -> None:
    """Another one came by a ceremony: no chip of the make-believe vendor can be made, and it is said how to go on."""
    if isinstance(store, InFile):
        store.keys = store.keys.with_key(KeyName.SAM_LOAD, bytes(range(32)))
        with pytest.raises(PersonalizationError, match="sam-load-not-vendors"):
            CardKeys(sam_profile(), store.keys).load_key_grouping()
        store.keys = store.keys.with_key(KeyName.SAM_LOAD, rehearsal_load_key(store.keys))
    else:
        store.rotate(KeyName.SAM_LOAD)
    with new_sam(store.keys, 3) as sam, sam.connect(Interface.CONTACT) as contact:
        assert SamMaker(sam_profile(), store.keys).look(contact).condition is SamCondition.FINISHED
