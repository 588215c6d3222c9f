"""Finds the key set of a card, and opens a session, without ever guessing at the card's cost.

Before anything counts, the card is asked what it tells to anybody: which protocol and key versions it has, and who it
is. Then comes at most one INITIALIZE UPDATE for each key version; every key set and diversification that could fit is
tried on the answer, off the card. EXTERNAL AUTHENTICATE is sent only with a set that the card has proved.

A card may count sessions that were begun and not finished, so those are counted too, by card and over all runs, and
their answers are kept: a set that does not fit the kept answer is never taken to the card. After a refused
authentication, or two unfinished sessions of one key version, the guard stops until a person has looked.

Source: GlobalPlatform Card Specification 2.3.1, clauses 10.2 and E.4.2; Amendment D v1.1.1, clause 6.2.2; what a card
does after failures is left to it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import Final, NamedTuple

from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.globalplatform import card_data, commands
from personalization.globalplatform import scp02 as scp02_protocol
from personalization.globalplatform import scp03 as scp03_protocol
from personalization.globalplatform.guard_ledger import CardRecord, GuardLedger, RecordedAnswer
from personalization.globalplatform.handshake import Handshake, SecureChannelOption
from personalization.globalplatform.scp03 import InitializeUpdateResponse, StaticKeys
from personalization.globalplatform.session import SecureSession, exchange_plain
from reader_bridge.connection import CardConnection

ALLOWED_UNFINISHED: Final = 2
"""Sessions that may be begun with one key version of a card, without one that opened."""
ALLOWED_IN_ALL: Final = 6
"""The same for all its key versions together: cards that count give ten and more."""

_ALLOWED_REFUSED: Final = 1
_DEFAULT_VERSION: Final = 0
_CARD_NUMBER: Final = (slice(0, 4), slice(16, 18), slice(12, 16))
_CPLC_LENGTH: Final = 42
_REFUSED: Final = "external-authenticate-refused"


@dataclass(frozen=True, slots=True)
class KeyCandidate:
    """A key set that may be the card's.

    Attributes:
        name: for people, such as ``emv``; never anything of the key.
        derive: the set of the card that gave this answer.
        version: key version that it is for, None for any.
    """

    name: str
    derive: Callable[[InitializeUpdateResponse], StaticKeys] = field(repr=False)
    version: int | None = None

    def keys_for(self, handshake: Handshake) -> StaticKeys | None:
        """Its keys when the card proved them, else None."""
        keys = self.derive(handshake.card)
        return keys if handshake.fits(keys) and handshake.under(keys).genuine else None


class CardFacts(NamedTuple):
    """What a card tells before any authentication.

    Attributes:
        identity: who it is, as the ledger knows it.
        individual: False when the card does not tell its own number: then ``identity`` is that of its kind.
        scp02_options: `i` of SCP02 that every option it tells has, None when it does not tell.
        scp03_implementation: `i` of SCP03, None when it does not tell.
        key_versions: key versions with at least the keys of a session, empty when it does not tell.
    """

    identity: str
    individual: bool
    scp02_options: int | None
    scp03_implementation: int | None
    key_versions: tuple[int, ...]


class Identification(NamedTuple):
    """What was found.

    Attributes:
        facts: what the card told.
        candidate: the key set that the card proved; None when none fits.
        key_version: its version as the card told it.
        handshake: the last answer of the card; None when nothing was sent, because a kept answer settled it.
        asked: key versions for which INITIALIZE UPDATE was sent.
        tried: names of the candidates.
    """

    facts: CardFacts
    candidate: KeyCandidate | None
    key_version: int
    handshake: Handshake | None
    asked: tuple[int, ...]
    tried: tuple[str, ...]


class CardGuard:
    """Stands between a host with keys and a card.

    Args:
        ledger: what is remembered of all cards.
        aid: security domain to speak to.
        fresh: take no kept answer for settled, because the card's keys were changed by another program.
        now: the time, for records.
        randomness: source of host challenges.
    """

    __slots__ = ("_aid", "_fresh", "_ledger", "_now", "_randomness")

    def __init__(
        self,
        ledger: GuardLedger,
        *,
        aid: bytes = commands.ISSUER_DOMAIN_AID,
        fresh: bool = False,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._ledger = ledger
        self._aid = aid
        self._fresh = fresh
        self._now = now
        self._randomness = randomness

    def identify(
        self, connection: CardConnection, candidates: Sequence[KeyCandidate], key_version: int | None = None
    ) -> Identification:
        """Find the set that the card proves; no EXTERNAL AUTHENTICATE is sent.

        Args:
            connection: a powered card.
            candidates: sets that may fit.
            key_version: the only version to ask for; by default all that the card tells, or its own choice.

        Raises:
            PersonalizationError: "authentication-halted": the guard lets nothing be tried on this card;
                "card-refused", "key-set-blocked", "initialize-update-malformed", "secure-channel-unsupported".
            ReaderError: an exchange did not complete.
        """
        facts = self.look(connection)
        tried = tuple(candidate.name for candidate in candidates)
        asked: list[int] = []
        handshake: Handshake | None = None
        for version in _versions(facts, candidates, key_version):
            wanted = [item for item in candidates if item.version in (None, version) or version == _DEFAULT_VERSION]
            if not self._may_ask(facts, version, wanted):
                continue
            asked.append(version)
            handshake = self._ask(connection, facts, version)
            for candidate in wanted:
                if (
                    candidate.version in (None, handshake.card.key_version)
                    and candidate.keys_for(handshake) is not None
                ):
                    return Identification(facts, candidate, handshake.card.key_version, handshake, tuple(asked), tried)
        return Identification(facts, None, _DEFAULT_VERSION, handshake, tuple(asked), tried)

    def open(
        self,
        connection: CardConnection,
        candidates: Sequence[KeyCandidate],
        *,
        key_version: int | None = None,
        level: int | None = None,
    ) -> SecureSession:
        """Open a session with the set that the card proves.

        Args:
            connection: a powered card.
            candidates: sets that may fit.
            key_version: the only version to ask for.
            level: security level; the strongest that the card offers by default.

        Raises:
            PersonalizationError: as `identify`; "no-key-set-fits", "security-level-unsupported",
                "external-authenticate-refused".
            ReaderError: an exchange did not complete.
        """
        found = self.identify(connection, candidates, key_version)
        if found.candidate is None or found.handshake is None:
            raise _nothing_fits(found)
        handshake = found.handshake
        chosen = handshake.strongest_level() if level is None else level
        if not handshake.card.supports(chosen):
            raise PersonalizationError("security-level-unsupported", exit_code=2, level=f"{chosen:02X}")
        keys = found.candidate.derive(handshake.card)
        try:
            session = SecureSession.finish(connection, handshake, keys, level=chosen)
        except PersonalizationError as error:
            if error.code == _REFUSED:
                self._ledger.update(found.facts.identity, lambda record: record.refusing(self._time()))
            raise
        self._ledger.forget(found.facts.identity)
        return session

    def look(self, connection: CardConnection) -> CardFacts:
        """Select the domain and read what it tells to anybody.

        Raises:
            PersonalizationError: "card-refused": there is no such domain.
            ReaderError: an exchange did not complete.
        """
        selected = exchange_plain(connection, commands.select(self._aid))
        if selected.sw not in (SW.OK, SW.FILE_DEACTIVATED_WARNING):
            raise PersonalizationError(
                "card-refused", command="SELECT", ins="A4", sw=str(selected.sw), meaning=selected.sw.text
            )
        recognition = _told(connection, card_data.RECOGNITION_DATA)
        keys = _told(connection, card_data.KEY_INFORMATION)
        production = _told(connection, card_data.PRODUCTION_LIFE_CYCLE)
        number = _card_number(production)
        if number is not None:
            identity = f"card {number.hex().upper()}"
        else:
            answer = connection.description.answer
            digest = hashlib.sha256(b"\x00".join((answer, selected.data, recognition, keys))).hexdigest()
            identity = f"kind {digest[:20].upper()}"
        return CardFacts(identity, number is not None, *_implementations(recognition), _key_versions(keys))

    def forget(self, connection: CardConnection) -> str | None:
        """Drop what is remembered of the card in hand, because a person has looked; None when there was nothing."""
        identity = self.look(connection).identity
        return identity if self._ledger.forget(identity) else None

    def record(self, facts: CardFacts) -> CardRecord:
        """What is remembered of a card."""
        return self._ledger.record(facts.identity)

    def _may_ask(self, facts: CardFacts, version: int, wanted: Sequence[KeyCandidate]) -> bool:
        """False when a kept answer shows that no candidate can fit, so that the card need not be asked.

        Raises:
            PersonalizationError: "authentication-halted".
        """
        record = self._ledger.record(facts.identity)
        if record.refused >= _ALLOWED_REFUSED:
            raise self._halted(facts, record)
        kept = record.answers.get(version)
        fits = kept is not None and _any_fits(kept, wanted)
        if facts.individual and kept is not None and not fits and not self._fresh:
            return False
        used_up = record.unfinished.get(version, 0) >= ALLOWED_UNFINISHED or record.unfinished_in_all >= ALLOWED_IN_ALL
        if used_up and not fits:
            raise self._halted(facts, record)
        return True

    def _ask(self, connection: CardConnection, facts: CardFacts, version: int) -> Handshake:
        """INITIALIZE UPDATE, counted before it is sent; its answer is kept until a session opens."""
        self._ledger.update(facts.identity, lambda record: record.begun(version, self._time()))
        challenge = self._randomness(_scp03(facts).challenge_length)
        reference = commands.reference_of_set(version, alone=set(facts.key_versions) <= {version})
        response = exchange_plain(connection, commands.initialize_update(reference, challenge))
        if response.sw == SW.METHOD_BLOCKED:
            raise PersonalizationError("key-set-blocked", command="INITIALIZE UPDATE")
        if response.sw != SW.OK:
            raise PersonalizationError(
                "card-refused", command="INITIALIZE UPDATE", ins="50", sw=str(response.sw), meaning=response.sw.text
            )
        handshake = Handshake.of(challenge, response.data, self._aid, facts.scp02_options)
        answer = RecordedAnswer(challenge, response.data, self._aid, facts.scp02_options, self._time())
        self._ledger.update(facts.identity, lambda record: record.answered(version, answer))
        return handshake

    def _halted(self, facts: CardFacts, record: CardRecord) -> PersonalizationError:
        return PersonalizationError(
            "authentication-halted" if facts.individual else "authentication-halted-kind",
            card=facts.identity.partition(" ")[2],
            unfinished=record.unfinished_in_all,
            refused=record.refused,
            when=record.when,
            file=str(self._ledger.path),
        )

    def _time(self) -> str:
        return self._now().isoformat(timespec="seconds")


def _scp03(facts: CardFacts) -> SecureChannelOption:
    """What decides the length of the host challenge; S8 for a card that does not tell."""
    return SecureChannelOption(scp03_protocol.PROTOCOL, facts.scp03_implementation or 0)


def _any_fits(kept: RecordedAnswer, wanted: Iterable[KeyCandidate]) -> bool:
    handshake = Handshake.of(kept.host_challenge, kept.answer, kept.aid, kept.implementation)
    return any(
        item.version in (None, handshake.card.key_version) and item.keys_for(handshake) is not None for item in wanted
    )


def _versions(facts: CardFacts, candidates: Sequence[KeyCandidate], key_version: int | None) -> Generator[int]:
    """Versions to ask for, each once: the one that is wanted; those that candidates name; else all that the card has.

    A card that does not tell its versions is asked for its own choice.
    """
    if key_version is not None:
        yield key_version
        return
    named = {candidate.version for candidate in candidates}
    known = [version for version in facts.key_versions if None in named or version in named]
    if known:
        yield from known
    elif not facts.key_versions:
        yield from sorted(version for version in named if version is not None) or [_DEFAULT_VERSION]


def _nothing_fits(found: Identification) -> PersonalizationError:
    return PersonalizationError(
        "no-key-set-fits" if found.asked else "no-key-set-fits-kept",
        card=found.facts.identity.partition(" ")[2],
        candidates=", ".join(found.tried),
        versions=", ".join(f"{version:02X}" for version in found.asked or found.facts.key_versions) or "-",
    )


def _told(connection: CardConnection, tag: int) -> bytes:
    """A data object that the card tells to anybody, empty when it does not."""
    response = exchange_plain(connection, commands.get_data(tag))
    return response.data if response.sw == SW.OK else b""


def _card_number(production: bytes) -> bytes | None:
    """Fabricator ‖ type ‖ batch ‖ serial number out of CPLC; None when it is not told."""
    if not production:
        return None
    value = card_data.parse_number(production, card_data.PRODUCTION_LIFE_CYCLE)
    if len(value) != _CPLC_LENGTH or not any(value):
        return None
    return b"".join(value[part] for part in _CARD_NUMBER)


def _implementations(recognition: bytes) -> tuple[int | None, int | None]:
    """`i` of SCP02 and of SCP03; data that cannot be read say nothing."""
    try:
        told = card_data.parse_recognition_data(recognition).secure_channels if recognition else ()
    except PersonalizationError:
        return None, None
    scp02 = [item.implementation for item in told if item.protocol == scp02_protocol.PROTOCOL]
    scp03 = [item.implementation for item in told if item.protocol == scp03_protocol.PROTOCOL]
    return (reduce(and_, scp02) if scp02 else None), (scp03[0] if scp03 else None)


_SESSION_KEYS: Final = frozenset({1, 2, 3})
_SESSION_KEY_TYPES: Final = frozenset({0x80, 0x82, 0x88})


def _key_versions(keys: bytes) -> tuple[int, ...]:
    """Versions that have the three keys of a secure channel set; data that cannot be read say nothing."""
    try:
        entries = card_data.parse_key_information(keys) if keys else []
    except PersonalizationError:
        return ()
    found: dict[int, set[int]] = {}
    for entry in entries:
        if entry.components and entry.components[0][0] in _SESSION_KEY_TYPES:
            found.setdefault(entry.version, set()).add(entry.identifier)
    return tuple(sorted(version for version, identifiers in found.items() if identifiers >= _SESSION_KEYS))
