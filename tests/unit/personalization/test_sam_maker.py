"""A SAM is made from whatever its vendor or an interruption left, never at the cost of its load key, and proved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from card_os.card import Card
from card_os.hardware.image import NvmImage
from card_os.storage.store import ObjectKind, ObjectStore
from permitcard.products import open_simulated, permit_profile, sam_profile
from permitcard.sams import blank_chip, deliver_chip, sam_office
from permitcard.specimen import published_keys, specimen_keys
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.commands import CardState, DataGrouping, StoreDataFlag
from personalization.globalplatform.session import SecureSession
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import CardKeys, issuer_domain_keys
from personalization.production.audit import read_trail
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.sams import find_sam, list_sams
from personalization.production.states import SamState
from personalization.sams.maker import SamCondition, SamMaker, SamStage
from personalization.sams.office import SamOffice, open_session, read_facts
from personalization.sams.proof import prove_sam
from personalization.terminal.channel import CardRefused
from personalization.terminal.sam import PreparedAuthentication, SamSession
from personalization.terminal.secure_messaging import SessionKeys
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, ReaderError
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import Wrapper

PROFILE = sam_profile()
NAME = PROFILE.application.instance
ALL_ROLES = ("inspection", "service_desk", "bank_branch", "issuer")


class ForRealCards(FileKeyStore):
    """The same keys, taken for those of real cards."""

    @property
    def production(self) -> bool:
        return True


class Real(Wrapper):
    """A simulated chip in a reader that says that it is a real one; remembers what goes over the wire."""

    __slots__ = ("heard", "pulled", "spared")

    def __init__(self, inner: CardConnection) -> None:
        super().__init__(inner)
        self.heard = bytearray()
        self.pulled = False
        self.spared = -1

    @property
    def description(self) -> ConnectionDescription:
        return replace(self.inner.description, simulated=False)

    def transmit(self, command: bytes) -> bytes:
        self.spared -= 1
        if self.pulled or self.spared == 0:
            self.pulled = True
            raise ReaderError("card-removed", reader="reader")
        answer = self.inner.transmit(command)
        self.heard += command + b"|" + answer + b"|"
        return answer


def production_keys() -> ForRealCards:
    keys = specimen_keys()
    return ForRealCards(keys._symmetric, keys._pairs, keys._certificates)


@pytest.fixture
def keys() -> FileKeyStore:
    return specimen_keys()


@pytest.fixture
def chip(tmp_path: Path, keys: FileKeyStore) -> Iterator[SimulatedCard]:
    """As a vendor delivers it."""
    deliver_chip(tmp_path / "chip.card", keys)
    with open_simulated(tmp_path / "chip.card") as card:
        yield card


def bring_to(card: SimulatedCard, keys: FileKeyStore, condition: SamCondition, stage: SamStage | None = None) -> None:
    """Do what a maker does, up to a condition."""
    wanted = [SamCondition.LOADED, SamCondition.HALF_MADE, SamCondition.PERSONALIZED, SamCondition.FINISHED]
    far = wanted.index(condition)
    if not far:
        return
    with card.connect(Interface.CONTACT) as connection:
        session = SecureSession.open(
            connection, lambda answer: issuer_domain_keys(keys, KeyName.FACTORY, answer.diversification)
        )
        ours = issuer_domain_keys(keys, KeyName.CARD, session.card)
        session.put_keys(ours, replace=0xFF)
        session = SecureSession.open(connection, ours)
        groupings = CardKeys(PROFILE, keys).sam_groupings(session.card, held=1)
        if condition is SamCondition.HALF_MADE:
            groupings = groupings[: (stage or SamStage.MASTERS) - 1]
        store(session, groupings, complete=condition is not SamCondition.HALF_MADE)
        if condition is SamCondition.FINISHED:
            session.set_card_state(CardState.SECURED)


def store(session: SecureSession, groupings: list[DataGrouping], *, complete: bool) -> None:
    session.transmit(commands.install_for_personalization(NAME))
    for block in commands.store_data(groupings, dek=session.data_key, max_data=session.max_data):
        session.transmit(block if complete else block._replace(p1=block.p1 & ~StoreDataFlag.LAST_BLOCK))


def firmware(card: SimulatedCard) -> Card:
    assert isinstance(card.card, Card)
    return card.card


def application_owner(card: SimulatedCard) -> int:
    application = firmware(card).platform.registry.by_aid(NAME)
    assert application is not None
    return application.owner


@pytest.mark.clause("Card specification, 9: the chip tells how far it is, and is made from there")
@pytest.mark.parametrize(
    ("condition", "stage"),
    [
        (SamCondition.LOADED, None),
        (SamCondition.HALF_MADE, SamStage.MASTERS),
        (SamCondition.HALF_MADE, SamStage.KEYS),
        (SamCondition.PERSONALIZED, None),
        (SamCondition.FINISHED, None),
    ],
    ids=str,
)
def test_a_delivered_chip_is_made_from_every_condition(
    chip: SimulatedCard, keys: FileKeyStore, condition: SamCondition, stage: SamStage | None
) -> None:
    bring_to(chip, keys, condition, stage)
    before = application_owner(chip)
    maker = SamMaker(PROFILE, keys)
    with chip.connect(Interface.CONTACT) as connection:
        assert maker.look(connection).condition is condition
    with chip.connect(Interface.CONTACT) as connection:
        assert maker.make(connection).condition is condition
    with chip.connect(Interface.CONTACT) as connection:
        assert maker.look(connection).condition is SamCondition.FINISHED
        prove_sam(open_session(connection, PROFILE, keys), keys, permit_profile(), ALL_ROLES)
    assert application_owner(chip) == before, "the application that the vendor installed is the one in use"


@pytest.mark.parametrize("begun", [False, True])
def test_a_rehearsal_is_its_own_vendor(keys: FileKeyStore, begun: bool) -> None:
    with blank_chip(None, keys, 7) as card:
        if begun:
            with card.connect(Interface.CONTACT) as connection:
                session = SecureSession.open(
                    connection, lambda answer: issuer_domain_keys(keys, KeyName.FACTORY, answer.diversification)
                )
                application = PROFILE.application
                session.install(
                    package_aid=application.package,
                    module_aid=application.module,
                    instance_aid=NAME,
                    parameters=PROFILE.install_parameters,
                )
        with card.connect(Interface.CONTACT) as connection:
            look = SamMaker(PROFILE, keys).make(connection)
            assert look.condition is (SamCondition.BEGUN if begun else SamCondition.BLANK)
            prove_sam(open_session(connection, PROFILE, keys), keys, permit_profile(), ALL_ROLES)


def test_production_keys_reach_a_chip_under_its_vendors_load_key_only(keys: FileKeyStore) -> None:
    with blank_chip(None, keys, 7) as card, card.connect(Interface.CONTACT) as connection:
        before = card.image.snapshot()
        with pytest.raises(PersonalizationError, match="sam-without-load-key"):
            SamMaker(PROFILE, production_keys()).make(connection, begin=fail)
        connection.power_off()
        assert contents(card) == contents_of(before), "INITIALIZE UPDATE moved a counter, and nothing else changed"


def fail(_: object) -> None:
    raise AssertionError("nothing may be begun")


def contents(card: SimulatedCard) -> list[tuple[int, int, int]]:
    return contents_of(card.image.snapshot())


def contents_of(snapshot: bytes) -> list[tuple[int, int, int]]:
    with NvmImage.from_snapshot(snapshot) as image:
        return [(item.owner, int(item.kind), item.identifier) for item in ObjectStore(image.nvm()).objects()]


def test_a_chip_with_another_load_key_is_left_as_it_is(chip: SimulatedCard, keys: FileKeyStore) -> None:
    other = keys.with_key(KeyName.SAM_LOAD, bytes(range(32)))
    before = contents(chip)
    with (
        chip.connect(Interface.CONTACT) as connection,
        pytest.raises(PersonalizationError, match="sam-other-load-key") as caught,
    ):
        SamMaker(PROFILE, other).make(connection, begin=fail)
    assert caught.value.parameters["found"] == keys.check_value(KeyName.SAM_LOAD).hex().upper()
    assert contents(chip) == before
    with chip.connect(Interface.CONTACT) as connection:
        assert SamMaker(PROFILE, keys).make(connection).condition is SamCondition.LOADED


def test_a_chip_of_others_costs_no_try_and_is_left(chip: SimulatedCard) -> None:
    """A wrong key set is seen on the card's cryptogram, before EXTERNAL AUTHENTICATE."""
    strangers = published_keys("another centre: ")
    maker = SamMaker(PROFILE, strangers)
    for _ in range(12):  # the chip grants ten tries
        with chip.connect(Interface.CONTACT) as connection:
            assert maker.look(connection).condition is SamCondition.FOREIGN
    with chip.connect(Interface.CONTACT) as connection, pytest.raises(PersonalizationError, match="sam-foreign"):
        maker.make(connection, begin=fail)
    with chip.connect(Interface.CONTACT) as connection:
        SamMaker(PROFILE, specimen_keys()).make(connection)


def test_masters_under_the_factorys_keys_are_somebody_elses(chip: SimulatedCard, keys: FileKeyStore) -> None:
    with chip.connect(Interface.CONTACT) as connection:
        session = SecureSession.open(
            connection, lambda answer: issuer_domain_keys(keys, KeyName.FACTORY, answer.diversification)
        )
        store(session, CardKeys(PROFILE, keys).sam_groupings(session.card, held=1)[:1], complete=False)
    with chip.connect(Interface.CONTACT) as connection:
        assert SamMaker(PROFILE, keys).look(connection).condition is SamCondition.FOREIGN


def test_a_terminated_chip_is_said_to_be(chip: SimulatedCard, keys: FileKeyStore) -> None:
    maker = SamMaker(PROFILE, keys)
    with chip.connect(Interface.CONTACT) as connection:
        assert maker.terminate(connection)
    with chip.connect(Interface.CONTACT) as connection:
        assert maker.look(connection).condition is SamCondition.TERMINATED
        with pytest.raises(PersonalizationError, match="sam-terminated"):
            maker.make(connection, begin=fail)
        assert not maker.terminate(connection)


@pytest.mark.clause("RFC 3394: masters pass to a SAM wrapped under its load key, and in no other form")
def test_no_key_is_on_the_wire_in_clear(chip: SimulatedCard, keys: FileKeyStore, journal: Journal) -> None:
    production = production_keys()
    wire = Real(chip.connect(Interface.CONTACT))
    sam_office(journal, production).make(wire, "li")
    number = bytes.fromhex(list_sams(journal)[0].card_number)
    terminal = PROFILE.key("terminal")
    secrets = {
        **{name.value: keys._symmetric[name] for name in keys._symmetric},
        "concealment of the generation": keys.derive(KeyName.CONCEALMENT, "CONCEAL", b"\x01", 32),
        "terminal of this SAM": keys.derive(KeyName.TERMINAL, terminal.label or "", number, 32),
        **{
            f"{use} of this SAM": keys.derive(KeyName.CARD, f"SCP03 {use}", number, 16) for use in ("ENC", "MAC", "DEK")
        },
    }
    assert len(wire.heard) > 1000
    for name, secret in secrets.items():
        for half in (secret[:16], secret[16:]):
            assert not half or bytes(half) not in wire.heard, name
    held = firmware(chip).platform.store.owned(application_owner(chip), ObjectKind.KEY)
    assert {item.identifier for item in held} == {0x81, 0x82, 0x83, 0x84, 0x85, 0x90}, "the load key is gone"


# ------------------------------------------------------------ the register


def made(journal: Journal, keys: FileKeyStore, chip: SimulatedCard) -> SamOffice:
    office = sam_office(journal, keys)
    office.make(chip.connect(Interface.CONTACT), "li")
    return office


def test_who_made_which_sam_with_which_keys_is_in_the_trail(
    chip: SimulatedCard, keys: FileKeyStore, journal: Journal
) -> None:
    made(journal, keys, chip)
    entry = list_sams(journal)[0]
    assert (entry.state, entry.generation, entry.made_by) == (SamState.IN_USE, 1, "li")
    assert entry.profile == "terminal-sam 1.0"
    assert entry.keys == {name: keys.check_value(KeyName(name)).hex() for name in entry.keys}
    assert set(entry.keys) == {"inspection", "service_desk", "bank_branch", "issuer", "concealment", "terminal"}
    trail = read_trail(journal)[0]
    begun = next(one for one in trail if one["what"] == "sam-begun")
    assert begun["who"] == "li"
    assert keys.check_value(KeyName.SAM_LOAD).hex() in str(begun["facts"])
    assert [one["what"] for one in trail] == ["sam-begun", "sam-made"]


def test_a_sam_that_lost_power_is_begun_until_it_is_made_again(
    chip: SimulatedCard, keys: FileKeyStore, journal: Journal
) -> None:
    office = sam_office(journal, production_keys())
    for commands_left in (12, 14):
        wire = Real(chip.connect(Interface.CONTACT))
        wire.spared = commands_left
        with pytest.raises(ReaderError):
            office.make(wire, "li")
        assert [entry.state for entry in list_sams(journal)] == [SamState.BEGUN]
    office.make(Real(chip.connect(Interface.CONTACT)), "wang")
    entry = list_sams(journal)[0]
    assert (entry.state, entry.made_by) == (SamState.IN_USE, "wang")


def refusal(office: SamOffice, connection: CardConnection) -> str:
    with pytest.raises(PersonalizationError) as caught, office.open(connection, ("inspection",)):
        pass
    return caught.value.code


def test_a_sam_is_opened_when_it_is_known_made_with_todays_keys_and_of_use(
    chip: SimulatedCard, keys: FileKeyStore, journal: Journal, tmp_path: Path
) -> None:
    assert refusal(sam_office(journal, keys), chip.connect(Interface.CONTACT)) == "sam-not-made"
    office = made(journal, keys, chip)
    with pytest.raises(PersonalizationError, match="sam-made"):
        office.make(chip.connect(Interface.CONTACT), "li")
    with office.open(chip.connect(Interface.CONTACT), ALL_ROLES):
        pass
    with open_journal(tmp_path / "other.sqlite") as elsewhere:
        assert refusal(sam_office(elsewhere, keys), chip.connect(Interface.CONTACT)) == "sam-unknown"
    for name in (KeyName.INSPECTION, KeyName.TERMINAL):
        rotated = sam_office(journal, keys.with_key(name, bytes(range(16))))
        assert refusal(rotated, chip.connect(Interface.CONTACT)) == "sam-outdated"
    session = open_session(powered(chip), PROFILE, keys)
    assert session.uses_left()[1] == 1_000, "no refusal has cost it anything"
    office.retire(list_sams(journal)[0].card_number, "li", "trial", None)
    assert refusal(office, chip.connect(Interface.CONTACT)) == "sam-retired"
    with blank_chip(None, keys, 9) as blank:
        assert refusal(office, blank.connect(Interface.CONTACT)) == "sam-absent"


def powered(card: SimulatedCard) -> CardConnection:
    connection = card.connect(Interface.CONTACT)
    connection.power_on()
    return connection


def test_a_sam_has_one_user_at_a_time(chip: SimulatedCard, keys: FileKeyStore, journal: Journal) -> None:
    office = made(journal, keys, chip)
    with office.open(chip.connect(Interface.CONTACT), ("inspection",)):
        assert refusal(office, chip.connect(Interface.CONTACT)) == "sam-in-use"
    with office.open(chip.connect(Interface.CONTACT), ("inspection",)):
        pass


def test_a_sam_that_is_used_up_says_so(chip: SimulatedCard, keys: FileKeyStore, journal: Journal) -> None:
    office = made(journal, keys, chip)
    store, owner = firmware(chip).platform.store, application_owner(chip)
    counter = store.find(owner, ObjectKind.COUNTER, 0x80)
    assert counter is not None
    store.write_through(counter, 0, (3).to_bytes(4, "big"))
    with office.open(chip.connect(Interface.CONTACT), ("inspection",)) as sam:
        prove_sam(sam, keys, permit_profile(), ("inspection", "bank_branch"))
        with pytest.raises(PersonalizationError) as caught:
            prove_sam(sam, keys, permit_profile(), ("inspection",))
        assert (caught.value.code, caught.value.exit_code) == ("sam-used-up", 3)
    assert refusal(office, chip.connect(Interface.CONTACT)) == "sam-used-up"
    with chip.connect(Interface.CONTACT) as connection:
        assert read_facts(connection, PROFILE).used_up


def test_a_sam_that_is_pulled_out_is_no_cards_fault(chip: SimulatedCard, keys: FileKeyStore, journal: Journal) -> None:
    office = made(journal, keys, chip)
    wire = Real(chip.connect(Interface.CONTACT))
    wire_office = sam_office(journal, production_keys())
    with wire_office.open(wire, ("inspection",)) as sam:
        wire.pulled = True
        with pytest.raises(PersonalizationError) as caught:
            sam.prepare(bytes(40), 0x81, bytes(16))
        assert (caught.value.code, caught.value.parameters["reason"]) == ("sam-gone", "card-removed")
        with pytest.raises(PersonalizationError, match="sam-gone"):
            sam.complete(bytes(64))
    with office.open(chip.connect(Interface.CONTACT), ("inspection",)):
        pass


def test_kinds_of_cards_and_keys_are_not_mixed(chip: SimulatedCard, keys: FileKeyStore, journal: Journal) -> None:
    for store_, connection, code in (
        (production_keys(), chip.connect(Interface.CONTACT), "production-keys-simulated-card"),
        (keys, Real(chip.connect(Interface.CONTACT)), "rehearsal-keys-real-card"),
    ):
        with pytest.raises(PersonalizationError, match=code):
            sam_office(journal, store_).make(connection, "li")
        with pytest.raises(PersonalizationError, match=code):
            sam_office(journal, store_).look(connection)
    assert list_sams(journal) == []


def test_a_retired_sam_is_put_out_of_service_when_it_is_at_hand(
    chip: SimulatedCard, keys: FileKeyStore, journal: Journal
) -> None:
    office = made(journal, keys, chip)
    number = list_sams(journal)[0].card_number
    with blank_chip(None, keys, 9) as other, pytest.raises(PersonalizationError, match="sam-another"):
        office.retire(number, "li", "worn", other.connect(Interface.CONTACT))
    assert find_sam(journal, number).state is SamState.IN_USE
    assert not office.retire(number, "li", "worn", None)
    assert find_sam(journal, number).disposal == "not-terminated"
    with pytest.raises(PersonalizationError, match="sam-retired"):
        office.retire(number, "li", "worn", None)
    with pytest.raises(PersonalizationError, match="sam-retired"):
        office.make(chip.connect(Interface.CONTACT), "li")
    assert office.retire(number, "li", "worn", chip.connect(Interface.CONTACT))
    entry = find_sam(journal, number)
    assert (entry.state, entry.reason, entry.disposal) == (SamState.RETIRED, "worn", "terminated")
    assert [one["what"] for one in read_trail(journal)[0]][-2:] == ["sam-retired", "sam-terminated"]


# ------------------------------------------------------------ the proof


class Forger:
    """Stands between proof and SAM and changes what passes."""

    def __init__(self, session: SamSession, *, number: bool = False, message: bool = False, keys: bool = False) -> None:
        self._session = session
        self._number, self._message, self._keys = number, message, keys

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        prepared = self._session.prepare(concealed, reference, challenge)
        if self._number:
            prepared = replace(prepared, card_number=bytes(10))
        if self._message:
            prepared = replace(prepared, data=bytes((prepared.data[0] ^ 1,)) + prepared.data[1:])
        return prepared

    def complete(self, response: bytes) -> SessionKeys:
        keys = self._session.complete(response)
        return SessionKeys(keys.mac, keys.encryption) if self._keys else keys


@pytest.mark.parametrize("lie", ["number", "message", "keys"])
def test_the_proof_finds_each_lie(chip: SimulatedCard, keys: FileKeyStore, lie: str) -> None:
    with chip.connect(Interface.CONTACT) as connection:
        SamMaker(PROFILE, keys).make(connection)
        session = open_session(connection, PROFILE, keys)
        prove_sam(session, keys, permit_profile(), ("issuer",))
        with pytest.raises(PersonalizationError, match="sam-other-keys"):
            prove_sam(Forger(session, **{lie: True}), keys, permit_profile(), ("issuer",))


@pytest.mark.parametrize("name", [KeyName.BANK_BRANCH, KeyName.CONCEALMENT])
def test_the_proof_finds_a_sam_of_other_masters(chip: SimulatedCard, keys: FileKeyStore, name: KeyName) -> None:
    with chip.connect(Interface.CONTACT) as connection:
        SamMaker(PROFILE, keys).make(connection)
        session = open_session(connection, PROFILE, keys)
        other = keys.with_key(name, bytes(range(16)))
        with pytest.raises(PersonalizationError, match="sam-other-keys"):
            prove_sam(session, other, permit_profile(), ("bank_branch",))


def test_a_chip_that_does_not_tell_its_progress_is_let_alone(chip: SimulatedCard, keys: FileKeyStore) -> None:
    """An application of an earlier specification answers 6985: nobody guesses, and nothing is deleted."""

    class Silent(Wrapper):
        __slots__ = ()

        def transmit(self, command: bytes) -> bytes:
            return b"\x69\x85" if command[:4] == bytes.fromhex("00CADF25") else self.inner.transmit(command)

    with chip.connect(Interface.CONTACT) as connection, pytest.raises(CardRefused, match="6985"):
        SamMaker(PROFILE, keys).make(Silent(connection), begin=fail)


def test_masters_replaced_while_a_sam_is_made_are_found(
    chip: SimulatedCard, keys: FileKeyStore, journal: Journal
) -> None:
    bring_to(chip, keys, SamCondition.HALF_MADE, SamStage.KEYS)
    office = sam_office(journal, keys.with_key(KeyName.ISSUER, bytes(range(16))))
    with pytest.raises(PersonalizationError, match="sam-other-keys"):
        office.make(chip.connect(Interface.CONTACT), "li")
    assert [entry.state for entry in list_sams(journal)] == [SamState.BEGUN]
