"""A centre's SAMs and its keys brought together: making, opening and retiring the SAM that lies in a reader.

A terminal that proves itself with a wrong key costs a SAM one of its ten tries, and a card met with a SAM of other keys
looks like a forged one. So the number that a SAM tells in plain is looked up first, and what it was made with is
compared with the keys of today; then it proves itself, and only then it meets a card.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from filelock import Timeout

from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.keys.keystore import SAM_KEYS, KeyName, KeyStore
from personalization.production.card_kind import GuardedCard
from personalization.production.journal.database import Journal
from personalization.production.journal.sams import (
    SamEntry,
    begin_sam,
    find_sam,
    finish_sam,
    record_terminated,
    retire_sam,
)
from personalization.production.states import SamState
from personalization.profile import CardProfile
from personalization.profile_rows import KeyUsage
from personalization.sams.maker import SamLook, SamMaker
from personalization.sams.masters import Diversifier, SamMasters
from personalization.sams.proof import prove_sam
from personalization.terminal.channel import CardRefused, PlainChannel
from personalization.terminal.sam import PreparedAuthentication, SamSession
from personalization.terminal.secure_messaging import SessionKeys
from personalization.terminal.session import get_data, select
from reader_bridge.connection import CardConnection, ReaderError

_LOADED_WITH: Final = (KeyName.FACTORY, KeyName.CARD, KeyName.SAM_LOAD)
"""Keys that make a SAM and are named in the audit trail beside those in it."""

_ENVIRONMENT: Final = 3
_TAG_PROFILE: Final = 0xDF21
_TAG_CARD_NUMBER: Final = 0xDF23
_TAG_USES_LEFT: Final = 0xDF24
_COUNTER: Final = 4


class SamFacts(NamedTuple):
    """What a finished SAM tells everybody.

    Attributes:
        card_number: hex.
        profile: name and version.
        authentications: how many it will still do.
        wrong_cards: how many it will still see.
    """

    card_number: str
    profile: str
    authentications: int
    wrong_cards: int

    @property
    def used_up(self) -> bool:
        """Whether it does nothing any more."""
        return not self.authentications or not self.wrong_cards


def read_facts(card: CardConnection, profile: CardProfile) -> SamFacts:
    """Ask a SAM in plain; spends nothing.

    Raises:
        PersonalizationError: exit 3: "sam-absent", the card in the reader is none; "sam-not-made", it is not finished;
            "sam-answer-malformed".
    """
    plain, reader = PlainChannel(card), card.description.name
    try:
        select(plain, profile.application.instance)
    except CardRefused as refusal:
        raise PersonalizationError(
            "sam-absent", exit_code=_ENVIRONMENT, reader=reader, sw=str(refusal.status)
        ) from refusal
    try:
        number, name, left = (get_data(plain, tag) for tag in (_TAG_CARD_NUMBER, _TAG_PROFILE, _TAG_USES_LEFT))
    except CardRefused as refusal:
        if refusal.status == SW.CONDITIONS_NOT_SATISFIED:
            raise _not_made(reader) from refusal
        raise
    if len(left) != 2 * _COUNTER or not name.isascii():
        raise PersonalizationError("sam-answer-malformed", exit_code=_ENVIRONMENT, length=len(left))
    authentications, wrong_cards = (int.from_bytes(left[at : at + _COUNTER], "big") for at in (0, _COUNTER))
    return SamFacts(number.hex(), name.decode("ascii"), authentications, wrong_cards)


class ChangedKeys(NamedTuple):
    """What became of the keys that a SAM was made with.

    Attributes:
        replaced: names of those that are not in use any more: it is for desks and cards of before.
        destroyed: names of those that the store does not hold any more: it is of no use.
    """

    replaced: list[str]
    destroyed: list[str]


class OpenSam:
    """An open SAM in a reader: tells its own troubles from those of the cards that it meets.

    Args:
        session: with the SAM.
        reader: where it is, for people.
        masters: what it was made with.

    Attributes:
        masters: what it was made with; a card has to be of the same.
    """

    __slots__ = ("_reader", "_session", "masters")

    def __init__(self, session: SamSession, reader: str, masters: SamMasters) -> None:
        self._session = session
        self._reader = reader
        self.masters = masters

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        """See `CardAuthenticator`.

        Raises:
            PersonalizationError: exit 3: "sam-gone", it was pulled out or its reader failed; "sam-used-up".
        """
        with self._own_troubles():
            try:
                return self._session.prepare(concealed, reference, challenge)
            except CardRefused as refusal:
                if refusal.status == SW.CONDITIONS_NOT_SATISFIED:
                    raise _used_up(self._reader) from refusal
                raise

    def complete(self, response: bytes) -> SessionKeys:
        """See `CardAuthenticator`.

        Raises:
            PersonalizationError: "sam-gone", exit 3.
        """
        with self._own_troubles():
            return self._session.complete(response)

    @contextmanager
    def _own_troubles(self) -> Generator[None]:
        try:
            yield
        except ReaderError as error:
            raise PersonalizationError(
                "sam-gone", exit_code=_ENVIRONMENT, reader=self._reader, reason=error.code
            ) from error

    def __repr__(self) -> str:
        return f"OpenSam({self._reader})"


@dataclass(frozen=True, slots=True)
class SamOffice:
    """What a centre does with its SAMs.

    Attributes:
        journal: the open journal.
        keys: the centre's keys.
        sam: profile of the SAM.
        permit: profile of the cards that it is for.
    """

    journal: Journal
    keys: KeyStore
    sam: CardProfile
    permit: CardProfile

    def look(self, connection: CardConnection) -> SamLook:
        """Find out how far the chip in a reader is; changes nothing.

        Raises:
            PersonalizationError: a card of the other kind, exit 2.
            ReaderError: no reader or no card.
        """
        with self.guarded(connection) as card:
            return SamMaker(self.sam, self.keys).look(card)

    def make(self, connection: CardConnection, who: str) -> tuple[SamLook, SamFacts]:
        """Make the chip in a reader a SAM of this centre, from whatever its vendor or an interruption left.

        Args:
            connection: the reader, contact, without power.
            who: operator.

        Returns:
            What the chip was before, and what it tells now.

        Raises:
            PersonalizationError: exit 2, nothing was changed: "sam-made", "sam-retired", a card of the other kind, and
                as `SamMaker.make`; exit 3: "sam-other-keys", "sam-limits-wrong", it is made and not of use.
            ReaderError: the exchange broke off; make it again.
        """
        with self.guarded(connection) as card:

            def begin(look: SamLook) -> None:
                begin_sam(
                    self.journal,
                    who,
                    look.card_number.hex(),
                    profile=self.sam.identification.decode("ascii"),
                    generation=self.generation,
                    keys=self.key_values(),
                    facts={
                        "condition": look.condition.value,
                        "with": {name.value: self.keys.check_value(name).hex() for name in _LOADED_WITH},
                    },
                )

            before = SamMaker(self.sam, self.keys).make(card, begin)
            facts = read_facts(card, self.sam)
            self._check_limits(facts)
            session = self._session(card, facts, self.keys)
            prove_sam(session, self.keys, self.permit, self._roles())
        finish_sam(self.journal, who, facts.card_number)
        return before, facts

    @contextmanager
    def open(self, connection: CardConnection, roles: Sequence[str], *, former: bool = False) -> Generator[OpenSam]:
        """The SAM in a reader, for one user at a time.

        Args:
            connection: the reader, contact, without power.
            roles: names of the roles in the permit's profile that it is wanted for.
            former: take one whose keys were replaced since it was made too, as long as none of them was destroyed: for
                cards that have such keys.

        Raises:
            PersonalizationError: exit 2 or 3: a card of the other kind, "sam-absent", "sam-unknown", "sam-not-made",
                "sam-retired", "sam-other-profile", "sam-outdated", "sam-keys-destroyed", "sam-used-up", "sam-in-use",
                "sam-not-genuine",
                "sam-other-keys".
            ReaderError: no reader or no card, or somebody else has it.
        """
        with self.guarded(connection) as card:
            reader, facts = card.description.name, read_facts(card, self.sam)
            masters = self._admit(facts, reader, former=former)
            lock = self.journal.lock(f"sam-{facts.card_number}")
            try:
                held = lock.acquire(timeout=0)
            except Timeout:
                raise PersonalizationError("sam-in-use", exit_code=_ENVIRONMENT, reader=reader) from None
            with held:
                opened = OpenSam(self._session(card, facts, masters), reader, masters)
                prove_sam(opened, masters, self.permit, roles)
                yield opened

    def retire(self, card_number: str, who: str, reason: str, connection: CardConnection | None) -> bool:
        """Use a SAM never again; returns whether its chip was put out of service.

        That it is retired is durable before the chip is touched. A chip that was not at hand may be put out of service
        later, by the same call.

        Args:
            card_number: hex.
            who: operator.
            reason: why.
            connection: the reader in which it lies; None for a chip that is not at hand.

        Raises:
            PersonalizationError: exit 2: "sam-unknown", "sam-retired"; "sam-another", another one lies in the reader.
            ReaderError: it cannot be reached.
        """
        if connection is None:
            retire_sam(self.journal, who, card_number, reason)
            return False
        maker = SamMaker(self.sam, self.keys)
        with self.guarded(connection) as card:
            found = maker.look(card).card_number.hex()
            if found != card_number.lower():
                raise PersonalizationError(
                    "sam-another", exit_code=2, card_id=found.upper() or "-", wanted=card_number.upper()
                )
            if find_sam(self.journal, card_number).state is not SamState.RETIRED:
                retire_sam(self.journal, who, card_number, reason)
            terminated = maker.terminate(card)
        if terminated:
            record_terminated(self.journal, who, card_number)
        return terminated

    @property
    def generation(self) -> int:
        """Generation of the cards that a SAM of the profile opens."""
        return next(row.generation for row in self.sam.keys if row.usage is KeyUsage.CONCEALMENT)

    def key_values(self) -> dict[str, str]:
        """Check values (hex) of the keys that a SAM holds, by name."""
        return {name.value: self.keys.check_value(name).hex() for name in SAM_KEYS}

    def changed_keys(self, entry: SamEntry) -> ChangedKeys:
        """What became of the keys that a SAM was made with."""
        masters = SamMasters(self.keys, entry.keys)
        return ChangedKeys(masters.replaced(), masters.lost())

    def guarded(self, connection: CardConnection) -> GuardedCard:
        """The connection, which gives power to cards of the keys' kind only."""
        return GuardedCard(connection, production=self.keys.production)

    def _roles(self) -> list[str]:
        masters = {row.name for row in self.sam.keys if row.usage is KeyUsage.MASTER}
        return [row.name for row in self.permit.keys if row.name in masters]

    def _admit(self, facts: SamFacts, reader: str, *, former: bool) -> SamMasters:
        """Let only a SAM pass that the centre made with its keys of today, or with former ones where they will do."""
        entry = find_sam(self.journal, facts.card_number)
        number = facts.card_number.upper()
        if entry.state is SamState.BEGUN:
            raise _not_made(reader)
        if entry.state is SamState.RETIRED:
            raise PersonalizationError("sam-retired", exit_code=2, card_id=number, reason=entry.reason or "-")
        profile = self.sam.identification.decode("ascii")
        if facts.profile != profile or entry.generation != self.generation:
            raise PersonalizationError(
                "sam-other-profile", exit_code=_ENVIRONMENT, reader=reader, found=facts.profile, wanted=profile
            )
        masters = SamMasters(self.keys, entry.keys)
        if lost := masters.lost():
            raise PersonalizationError(
                "sam-keys-destroyed", exit_code=_ENVIRONMENT, reader=reader, keys=", ".join(lost)
            )
        if not former and (replaced := masters.replaced()):
            raise PersonalizationError("sam-outdated", exit_code=_ENVIRONMENT, reader=reader, keys=", ".join(replaced))
        if facts.used_up:
            raise _used_up(reader)
        return masters

    def _check_limits(self, facts: SamFacts) -> None:
        """A vendor who installed the application gave it its limits; they may not be wider than the profile's."""
        usage = self.sam.usage
        if usage is not None and (
            facts.authentications > usage.authentications or facts.wrong_cards > usage.wrong_cards
        ):
            raise PersonalizationError(
                "sam-limits-wrong",
                exit_code=_ENVIRONMENT,
                card_id=facts.card_number.upper(),
                found=f"{facts.authentications}, {facts.wrong_cards}",
                wanted=f"{usage.authentications}, {usage.wrong_cards}",
            )

    def _session(self, card: CardConnection, facts: SamFacts, masters: Diversifier) -> SamSession:
        try:
            return open_session(card, self.sam, masters)
        except (CardRefused, PersonalizationError) as error:
            if error.code not in {"card-refused", "card-not-genuine", "response-not-authentic"}:
                raise
            raise PersonalizationError(
                "sam-not-genuine",
                exit_code=_ENVIRONMENT,
                card_id=facts.card_number.upper(),
                sw=str(error.parameters.get("sw", "")),
            ) from error


def open_session(card: CardConnection, profile: CardProfile, keys: Diversifier) -> SamSession:
    """Authenticate to a SAM with the terminal key that belongs to its number.

    Raises:
        CardRefused, PersonalizationError: as `SamSession.open`.
    """
    terminal = profile.key("terminal")
    label = terminal.label or ""

    def terminal_key(card_number: bytes) -> bytes:
        return keys.derive(KeyName.TERMINAL, label, terminal.derivation_context(card_number), terminal.length)

    return SamSession.open(card, terminal_key)


def _not_made(reader: str) -> PersonalizationError:
    return PersonalizationError("sam-not-made", exit_code=_ENVIRONMENT, reader=reader)


def _used_up(reader: str) -> PersonalizationError:
    return PersonalizationError("sam-used-up", exit_code=_ENVIRONMENT, reader=reader)
