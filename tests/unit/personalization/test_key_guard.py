"""The key guard: the right keys are found at no cost to the card, and no card is ever locked by us.

Over a corpus of cards with sets that we know and sets that we do not, cards that count unfinished sessions included.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import KeyType as CardKeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.registry import ISSUER_DOMAIN, CardLifeCycle
from card_os.globalplatform.secure_channel import Protocol as CardProtocol
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.manufacture import manufacture
from personalization.errors import PersonalizationError
from personalization.globalplatform import guard_ledger
from personalization.globalplatform.guard_ledger import CardRecord, GuardLedger, RecordedAnswer
from personalization.globalplatform.guarded_session import CardGuard, KeyCandidate
from personalization.globalplatform.key_diversification import (
    EMV_TEMPLATE,
    MasterKeys,
    Template,
    diversification_of,
)
from personalization.globalplatform.key_diversification import (
    card_keys as keys_of_card,
)
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from tests.doubles.counting_card import INS_INITIALIZE_UPDATE, LIMIT, CountingConnection
from tests.doubles.issuer_card import (
    CARD_NUMBER,
    FACTORY,
    OURS,
    PRODUCTION,
    NotebookApplet,
    boot,
    issuer_image,
    key_set,
)

NOW = dt.datetime(2026, 11, 26, 3, 0, tzinfo=dt.UTC)
CUSTOM = "aes:$0 $1 $2 $3 $4 $5 $6 $7 $8 $9 00 00 00 00 AA $k"
MASTERS = MasterKeys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
OTHER_MASTERS = MasterKeys(bytes(range(1, 17)), bytes(range(2, 18)), bytes(range(3, 19)))
SCHEME_NAMES = ("none", "emv", "visa2", "profile", CUSTOM)


DEFAULT = 0x00


def candidate(scheme: str, masters: MasterKeys = MASTERS, version: int | None = None) -> KeyCandidate:
    derive = diversification_of(scheme)
    return KeyCandidate(
        scheme, lambda card: keys_of_card(masters, derive, card.key_version, card.diversification), version
    )


ALL_CANDIDATES = tuple(candidate(scheme) for scheme in SCHEME_NAMES)


def fixed(keys: StaticKeys, name: str = "fixed") -> KeyCandidate:
    return KeyCandidate(name, lambda _: keys)


@pytest.fixture
def ledger(tmp_path: Path) -> GuardLedger:
    return GuardLedger(tmp_path / "state" / "key-guard.json")


def guard(ledger: GuardLedger, *, fresh: bool = False) -> CardGuard:
    return CardGuard(ledger, fresh=fresh, now=lambda: NOW, randomness=SeededRandomness(b"guard").bytes)


def card_with(
    sets: Sequence[StaticKeys],
    life_cycle: CardLifeCycle = CardLifeCycle.INITIALIZED,
    kind: type[CountingConnection] = CountingConnection,
) -> CountingConnection:
    """A card that counts, with these sets."""
    image = NvmImage.create()
    manufacture(image.nvm(), PRODUCTION, key_set(sets[0]), life_cycle=life_cycle)
    card = Card(image.nvm(), [NotebookApplet], randomness=SeededRandomness(b"card"))
    for further in sets[1:]:
        card_keys.create_key_set(card.platform.store, ISSUER_DOMAIN, key_set(further))
    connection = kind(card.contact)
    connection.power_on()
    return connection


# ---- the corpus


@dataclass(frozen=True, slots=True)
class CorpusCard:
    """One card of the corpus."""

    name: str
    sets: tuple[StaticKeys, ...]
    life_cycle: CardLifeCycle
    known: str


def corpus() -> Iterator[CorpusCard]:
    """Cards with one to four sets, of which at most one is diversified from our masters; half of them are secured."""
    chance = random.Random("key guard")
    for number in range(24):
        versions = chance.sample([0xFF, 0x01, 0x02, 0x20, 0x30, 0x7F], chance.randint(1, 4))
        sets = [StaticKeys(version, *(chance.randbytes(16) for _ in range(3))) for version in versions]
        known = chance.choice((*SCHEME_NAMES, ""))
        if known:
            at = chance.randrange(len(sets))
            sets[at] = keys_of_card(MASTERS, diversification_of(known), versions[at], CARD_NUMBER)
        life_cycle = chance.choice([CardLifeCycle.INITIALIZED, CardLifeCycle.SECURED])
        yield CorpusCard(f"card-{number}", tuple(sets), life_cycle, known)


CORPUS = tuple(corpus())


@pytest.mark.parametrize("card", CORPUS, ids=lambda card: card.name)
def test_the_right_set_is_found_and_nothing_is_spent(card: CorpusCard, ledger: GuardLedger) -> None:
    connection = card_with(card.sets, card.life_cycle)
    found = guard(ledger).identify(connection, ALL_CANDIDATES)
    assert (found.candidate.name if found.candidate else "") == card.known
    if found.candidate is not None:
        assert found.key_version in {keys.version for keys in card.sets}
    assert connection.authentications == 0
    asked = connection.asked_versions()
    assert len(asked) == len(set(asked)) <= len(card.sets)
    assert not connection.locked


@pytest.mark.parametrize("card", CORPUS, ids=lambda card: card.name)
def test_no_card_is_locked_however_often_wrong_keys_are_tried(card: CorpusCard, ledger: GuardLedger) -> None:
    connection = card_with(card.sets, card.life_cycle)
    wrong = [candidate(scheme, OTHER_MASTERS) for scheme in SCHEME_NAMES]
    codes: list[str] = []
    for _ in range(LIMIT + 2):
        connection.reset()
        try:
            guard(ledger).open(connection, wrong)
        except PersonalizationError as error:
            codes.append(error.code)
    assert len(codes) == LIMIT + 2
    assert set(codes) <= {"no-key-set-fits", "no-key-set-fits-kept", "authentication-halted-kind"}
    assert connection.authentications == 0
    assert connection.left >= LIMIT - 6
    tells_its_number = card.life_cycle is CardLifeCycle.INITIALIZED
    assert max(connection.asked_versions().count(keys.version) for keys in card.sets) <= (1 if tells_its_number else 2)


def test_the_corpus_has_every_kind() -> None:
    assert {card.known for card in CORPUS} == {*SCHEME_NAMES, ""}
    assert {len(card.sets) for card in CORPUS} == {1, 2, 3, 4}


# ---- cards of the other protocols

OTHERS = [
    (CardProtocol.SCP02, 0x15),
    (CardProtocol.SCP02, 0x75),
    (CardProtocol.SCP03, 0x60),
    (CardProtocol.SCP03, 0x71),
]


@pytest.mark.parametrize(("protocol", "option"), OTHERS)
@pytest.mark.parametrize("scheme", ["none", "emv", "visa2"])
def test_every_protocol_is_told_from_the_card(
    protocol: CardProtocol, option: int, scheme: str, ledger: GuardLedger
) -> None:
    keys = keys_of_card(MASTERS, diversification_of(scheme), 0x20, CARD_NUMBER)
    kind = CardKeyType.DES if protocol is CardProtocol.SCP02 else CardKeyType.AES
    with contextlib.closing(NvmImage.create()) as image:
        policy = ChannelPolicy(((protocol, option),))
        key_values = KeySet(0x20, keys.enc, keys.mac, keys.dek, kind)
        manufacture(image.nvm(), PRODUCTION, key_values, channel_policy=policy)
        card = Card(image.nvm(), [NotebookApplet], randomness=SeededRandomness(b"card"))
        connection = CountingConnection(card.contact)
        connection.power_on()
        with pytest.raises(PersonalizationError, match="no-key-set-fits"):
            guard(ledger).open(connection, [candidate(name, OTHER_MASTERS) for name in SCHEME_NAMES])
        session = guard(ledger).open(connection, ALL_CANDIDATES)
        assert (session.protocol, session.key_version) == (int(protocol), 0x20)
        assert connection.asked_versions() == [0x20, 0x20]
        assert connection.authentications == 1


# ---- opening a session


def test_a_session_opens_with_one_initialize_update(ledger: GuardLedger) -> None:
    connection = card_with([FACTORY])
    session = guard(ledger).open(connection, [fixed(OURS), fixed(FACTORY)])
    assert (session.card, session.key_version, session.level) == (CARD_NUMBER, 0xFF, 0x33)
    assert connection.asked_versions() == [DEFAULT]
    assert connection.authentications == 1
    assert ledger.record(f"card {CARD_NUMBER.hex().upper()}") == CardRecord()


def test_wrong_keys_of_a_card_that_tells_its_number_are_tried_on_the_kept_answer(ledger: GuardLedger) -> None:
    connection = card_with([FACTORY])
    with pytest.raises(PersonalizationError, match=r"no-key-set-fits: .*candidates=fixed, versions=FF"):
        guard(ledger).open(connection, [fixed(OURS)])
    with pytest.raises(PersonalizationError, match="no-key-set-fits-kept"):
        guard(ledger).open(connection, [fixed(OURS)])
    assert connection.asked_versions() == [DEFAULT]
    assert guard(ledger).open(connection, [fixed(FACTORY)]).key_version == 0xFF
    assert connection.left == LIMIT


def test_fresh_takes_no_kept_answer(ledger: GuardLedger) -> None:
    connection = card_with([FACTORY])
    with pytest.raises(PersonalizationError, match="no-key-set-fits"):
        guard(ledger).open(connection, [fixed(OURS)])
    with pytest.raises(PersonalizationError, match=r"no-key-set-fits: "):
        guard(ledger, fresh=True).open(connection, [fixed(OURS)])
    assert connection.asked_versions() == [DEFAULT, DEFAULT]
    with pytest.raises(PersonalizationError, match=r"authentication-halted: .*unfinished=2, refused=0"):
        guard(ledger, fresh=True).open(connection, [fixed(OURS)])
    assert connection.asked_versions() == [DEFAULT, DEFAULT]


class FieldConnection(CountingConnection):
    """A card that knows P1 of INITIALIZE UPDATE up to 7F only, as JCOP 4 does, its factory set being version FF."""

    def transmit(self, command: bytes) -> bytes:
        if command[1] == INS_INITIALIZE_UPDATE and command[2] > 0x7F:
            return b"\x6a\x86"
        return super().transmit(command)


@pytest.mark.parametrize("key_version", [None, 0xFF])
def test_the_factory_set_of_a_card_that_does_not_take_its_number(ledger: GuardLedger, key_version: int | None) -> None:
    """E.5.1.3: it is asked for as the default set."""
    connection = card_with([FACTORY], kind=FieldConnection)
    session = guard(ledger).open(connection, [fixed(FACTORY)], key_version=key_version)
    assert session.key_version == 0xFF
    connection.reset()
    assert SecureSession.open(connection, FACTORY).key_version == 0xFF


def test_a_refused_authentication_halts_until_a_person_forgives(ledger: GuardLedger) -> None:
    connection = card_with([FACTORY])

    class Refusing(CountingConnection):
        def transmit(self, command: bytes) -> bytes:
            return b"\x63\x00" if command[1] == 0x82 else super().transmit(command)

    refusing = Refusing(connection.port)
    with pytest.raises(PersonalizationError, match=r"external-authenticate-refused.*6300"):
        guard(ledger).open(refusing, [fixed(FACTORY)])
    with pytest.raises(PersonalizationError, match=r"authentication-halted: .*refused=1"):
        guard(ledger).open(connection, [fixed(FACTORY)])
    assert connection.asked_versions() == []
    assert guard(ledger).forget(connection) == f"card {CARD_NUMBER.hex().upper()}"
    assert guard(ledger).forget(connection) is None
    assert guard(ledger).open(connection, [fixed(FACTORY)]).key_version == 0xFF


def test_a_run_that_dies_between_the_commands_leaves_its_count(ledger: GuardLedger) -> None:
    connection = card_with([FACTORY])

    class Dying(CountingConnection):
        def transmit(self, command: bytes) -> bytes:
            if command[1] == 0x50:
                raise KeyboardInterrupt
            return super().transmit(command)

    with pytest.raises(KeyboardInterrupt):
        guard(ledger).open(Dying(connection.port), [fixed(FACTORY)])
    record = ledger.record(f"card {CARD_NUMBER.hex().upper()}")
    assert (record.unfinished, record.last, record.when) == ({0xFF: 1}, "begun", NOW.isoformat())


def test_only_the_version_that_is_wanted_is_asked(ledger: GuardLedger) -> None:
    connection = card_with([OURS, FACTORY, StaticKeys(0x30, bytes(16), bytes(16), bytes(16))])
    found = guard(ledger).identify(connection, [fixed(FACTORY)], key_version=0x30)
    assert found.candidate is None
    assert connection.asked_versions() == [0x30]


def test_a_candidate_for_another_version_is_no_reason_to_ask(ledger: GuardLedger) -> None:
    connection = card_with([OURS, FACTORY])
    only = KeyCandidate("factory", lambda _: FACTORY, 0xFF)
    assert guard(ledger).identify(connection, [only]).key_version == 0xFF
    assert connection.asked_versions() == [0xFF]


def test_a_card_that_does_not_tell_its_keys_is_asked_for_its_own_choice(ledger: GuardLedger) -> None:
    class Silent(CountingConnection):
        def transmit(self, command: bytes) -> bytes:
            return b"\x6a\x88" if command[1] == 0xCA else super().transmit(command)

    connection = Silent(boot(issuer_image(OURS)).contact)
    connection.power_on()
    found = guard(ledger).identify(connection, [fixed(FACTORY), fixed(OURS, "ours")])
    assert found.candidate is not None
    assert (found.candidate.name, found.key_version, found.facts.individual) == ("ours", 0x01, False)
    assert connection.asked_versions() == [0x00]


def test_a_level_that_the_card_does_not_have(ledger: GuardLedger) -> None:
    connection = card_with([FACTORY])
    with pytest.raises(PersonalizationError, match="security-level-unsupported"):
        guard(ledger).open(connection, [fixed(FACTORY)], level=0x10)
    assert connection.authentications == 0


# ---- the ledger


def test_a_record_survives_the_program(ledger: GuardLedger) -> None:
    answer = RecordedAnswer(bytes(8), bytes(32), bytes(5), 0x15, "2026-11-26T03:00:00+00:00")
    ledger.update("card 01", lambda record: record.begun(0x30, "now").answered(0x30, answer).refusing("later"))
    assert GuardLedger(ledger.path).record("card 01") == CardRecord({0x30: 1}, 1, "refused", "later", {0x30: answer})
    assert ledger.forget("card 01")
    assert not ledger.forget("card 01")
    assert ledger.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"format": "permitcard key guard", "version": 2, "cards": {}}',
        b'{"format": "permitcard key guard", "version": 1}',
        b'{"format": "permitcard key guard", "version": 1, "cards": {"card 01": {}}}',
        b'{"format": "permitcard key guard", "version": 1, "cards": {"x": {"unfinished": 1, "refused": 0}}}',
        b'{"format": "permitcard key guard", "version": 1, "cards": {"x": {"unfinished": {}, "refused": []}}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_ledger_lets_nothing_be_tried(ledger: GuardLedger, content: bytes) -> None:
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(content)
    connection = card_with([FACTORY])
    with pytest.raises(PersonalizationError, match="key-guard-unreadable") as caught:
        guard(ledger).open(connection, [fixed(FACTORY)])
    assert caught.value.exit_code == 3
    assert connection.asked_versions() == []


def test_a_ledger_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(PersonalizationError, match="key-guard-unwritable"):
        GuardLedger(tmp_path / "state" / "key-guard.json").record("card 01")


def test_a_ledger_that_another_program_holds(ledger: GuardLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_ledger, "_LOCK_SECONDS", 0.05)
    ledger.update("card 01", lambda record: record)
    with FileLock(f"{ledger.path}.lock"), pytest.raises(PersonalizationError, match="key-guard-busy"):
        ledger.record("card 01")


# ---- diversification


def test_emv_and_visa2_by_hand() -> None:
    """Known by a hand calculation with OpenSSL: 3DES of the two blocks under 00 01 … 0F."""
    data = bytes.fromhex("00112233445566778899")
    emv = diversification_of("emv")(MASTERS, data)
    visa2 = diversification_of("visa2")(MASTERS, data)
    assert emv[0] == des_ecb(MASTERS.enc, "445566778899F0014455667788990F01")
    assert emv[2] == des_ecb(MASTERS.dek, "445566778899F0034455667788990F03")
    assert visa2[1] == des_ecb(MASTERS.mac, "001144556677F0020011445566770F02")


def des_ecb(key: bytes, blocks: str) -> bytes:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import ECB

    return Cipher(TripleDES(key + key[:8]), ECB()).encryptor().update(bytes.fromhex(blocks))  # noqa: S305


def test_the_profile_scheme_is_that_of_the_stations() -> None:
    """As a template: [i] ‖ label ‖ 00 ‖ data ‖ [L]."""
    label = b"SCP03 ENC".hex()
    template = Template.parse(f"cmac:$_ {label} 00 $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $l")
    assert diversification_of("profile")(MASTERS, CARD_NUMBER)[0] == template(MASTERS, CARD_NUMBER)[0]


MALFORMED = (
    *("", "emv2", "3des:00", "des:", "des:$4", "cmac:$k", "des:$"),
    *("des:" + "zz" * 8, "des:" + "$a" * 8, "aes:" + "00" * 8, "des:" + "$_" * 8, "aes:" + "$l" * 16),
)


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_template(text: str) -> None:
    with pytest.raises(PersonalizationError, match="key-template-malformed") as caught:
        diversification_of(text)
    assert caught.value.exit_code == 2


def test_a_template_that_gives_no_key_of_that_length() -> None:
    long = MasterKeys(bytes(32), bytes(32), bytes(32))
    with pytest.raises(PersonalizationError, match="double-length"):
        Template.parse(EMV_TEMPLATE)(long, CARD_NUMBER)
    with pytest.raises(PersonalizationError, match="gives 16 bytes"):
        Template.parse(CUSTOM)(long, CARD_NUMBER)


def test_no_master_shows() -> None:
    assert "0102" not in repr(MASTERS) + repr(candidate("emv"))
