"""Makes a card over GlobalPlatform: new keys, an application, its data, SECURED.

What is made comes in as a `Recipe`; nothing here knows a permit.

Source: GlobalPlatform Card Specification 2.3.1, clauses 5.1.1 (card life cycle), 7.3 (issuer domain personalization),
9.3 (card content management) and 11.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from card_os.iso7816 import tlv
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.card_data import CARD_IMAGE, parse_number
from personalization.globalplatform.commands import CardState, DataGrouping, StatusScope
from personalization.globalplatform.key_guard import KeyGuard
from personalization.globalplatform.scp03 import InitializeUpdateResponse, StaticKeys
from personalization.globalplatform.session import SecureSession
from personalization.globalplatform.store_data import store_objects
from personalization.production.fence import Fence
from personalization.production.work import (
    CardFault,
    Condition,
    EnterStep,
    KeysRefused,
    Look,
    Superseded,
    WrongBlank,
)
from reader_bridge.connection import CardConnection

KeyDerivation = Callable[[bytes], Iterable[StaticKeys]]
"""The key sets that the card with that number may have: first the one of today, then those of former masters."""

_PERSONALIZED: Final = 0x0F
_PRODUCT: Final = slice(0, 4)
"""Of a card number: fabricator and type of the chip."""

_LOT: Final = slice(0, 6)
"""Of a card number: the same, and the vendor's batch."""

REFUSALS: Final = {
    "card-cryptogram-wrong": 0,
    "key-set-blocked": 0,
    "authentication-stopped": 0,
    "external-authenticate-refused": 1,
}
"""Error codes of a session that does not open for its keys, and tries that it cost the card."""

FAULTS: Final = frozenset(
    {
        "card-refused",
        "response-not-authentic",
        "initialize-update-malformed",
        "secure-channel-unsupported",
        "security-level-unsupported",
        "key-version-mismatch",
        "key-check-value-wrong",
        "registry-malformed",
        "session-over",
    }
)
"""Error codes that say that the card is not as it has to be; all others are ours."""


@dataclass(frozen=True, slots=True, repr=False)
class Recipe:
    """What a maker makes.

    Attributes:
        package: AID of the load file.
        module: AID of the module in it.
        instance: AID of the application.
        privileges: 1 or 3 bytes.
        parameters: value of the application's install parameters (tag C9).
        groupings: what STORE DATA brings, for a prepared record and a card number.
        factory_keys: sets that a blank may have.
        card_keys: sets that a card of ours may have; the first replaces that of a blank, and any former one.
    """

    package: bytes
    module: bytes
    instance: bytes
    privileges: bytes
    parameters: bytes
    groupings: Callable[[object, bytes], Sequence[DataGrouping]]
    factory_keys: KeyDerivation
    card_keys: KeyDerivation


class GlobalPlatformMaker:
    """A `Maker` over SCP03.

    Args:
        recipe: what to make.
        card_key_version: key version of our set, as the recipe's ``card_keys`` make it.
        guard: refuses a second failed authentication to one card.
    """

    def __init__(self, recipe: Recipe, *, card_key_version: int = 0x01, guard: KeyGuard | None = None) -> None:
        self._recipe = recipe
        self._card_key_version = card_key_version
        self._guard = guard or KeyGuard()
        self._lots: set[bytes] = set()

    def look(self, card: CardConnection) -> Look:
        """Read key version, application and life cycle; a session opens only after the card has proved its keys."""
        answer = card.transmit(commands.select(commands.ISSUER_DOMAIN_AID).encode())
        if answer == SW.CONDITIONS_NOT_SATISFIED.encode():
            return Look(b"", Condition.TERMINATED)
        try:
            session = self._open(card, None, "look")
        except _UnknownVersion as unknown:
            return Look(unknown.card, Condition.FOREIGN)
        if session.key_version == commands.FACTORY_KEY_VERSION:
            return Look(session.card, Condition.UNTOUCHED)
        with _faults("look"):
            return Look(session.card, self._condition(session))

    def make(
        self,
        card: CardConnection,
        record: object,
        card_number: bytes | None,
        enter: EnterStep,
        fence: Fence | None = None,
    ) -> bytes:
        """Make one card, or make a half-made one again; see `Maker.make`."""
        enter("open-factory")
        try:
            session = self._open(card, card_number, "open-factory")
        except _UnknownVersion as unknown:
            raise KeysRefused("open-factory", 0, untouched=True) from unknown
        number = session.card
        if session.key_version == commands.FACTORY_KEY_VERSION:
            self._require_code(session)
            _take(session, fence, enter)
            enter("put-key")
            with _faults("put-key"):
                session.put_keys(self._keys_of_today(number), replace=commands.FACTORY_KEY_VERSION)
            enter("open-ours")
            session = self._open_ours(card, number)
            _check(session, fence, enter)
        else:
            enter("delete")
            self._refuse_finished(session)
            _take(session, fence, enter)
            if session.place:
                session = self._renew_keys(card, session, fence, enter)
            self._clear(session)
        self._fill(session, record, number, enter, fenced=fence is not None)
        return number

    def _require_code(self, session: SecureSession) -> None:
        """Look whether chips of this lot carry the code of the application, at the first of each lot.

        Raises:
            PersonalizationError: "wrong-stock", exit 3; the card was not changed.
        """
        if session.card[_LOT] in self._lots:
            return
        with _faults("stock"):
            entries = session.get_status(StatusScope.PACKAGES)
        if all(entry.aid != self._recipe.package for entry in entries):
            raise _wrong_stock(session.card, "no-code")
        self._lots.add(session.card[_LOT])

    def _refuse_finished(self, session: SecureSession) -> None:
        """A finished card is nobody's blank."""
        with _faults("delete"):
            if self._condition(session) is Condition.FINISHED:
                raise WrongBlank(session.card.hex())

    def _renew_keys(
        self, card: CardConnection, session: SecureSession, fence: Fence | None, enter: EnterStep
    ) -> SecureSession:
        """Put today's keys in the place of a former master's: a card that was begun with those is not finished so."""
        enter("put-key")
        with _faults("put-key"):
            session.put_keys(self._keys_of_today(session.card), replace=self._card_key_version)
        enter("open-ours")
        renewed = self._open_ours(card, session.card)
        _check(renewed, fence, enter)
        return renewed

    def _clear(self, session: SecureSession) -> None:
        """Take a half-made application off a card of ours."""
        with _faults("delete"):
            if self._application_state(session) is not None:
                session.delete(self._recipe.instance)

    def _fill(self, session: SecureSession, record: object, number: bytes, enter: EnterStep, *, fenced: bool) -> None:
        recipe = self._recipe
        enter("derive-keys")
        groupings = recipe.groupings(record, number)
        enter("install")
        with _faults("install"):
            session.install(
                package_aid=recipe.package,
                module_aid=recipe.module,
                instance_aid=recipe.instance,
                privileges=recipe.privileges,
                parameters=recipe.parameters,
            )
        enter("store-data")
        with _faults("store-data"):
            session.personalize(recipe.instance, groupings)
        enter("secure")
        with _faults("secure"):
            if fenced:
                _write_fence(session, b"")  # a finished card is told from others by its secrets only
            session.set_card_state(CardState.SECURED)

    def terminate(self, card: CardConnection, card_number: bytes) -> bool:
        """SET STATUS TERMINATED under whichever key set the card has; see `Maker.terminate`."""
        try:
            session = self._open(card, card_number, "terminate")
            with _faults("terminate"):
                session.set_card_state(CardState.TERMINATED)
        except _UnknownVersion as unknown:
            raise KeysRefused("terminate", 0, untouched=True) from unknown
        except CardFault:
            return False
        except PersonalizationError as error:
            if error.code == "wrong-stock":
                raise WrongBlank(str(error.parameters["card_id"])) from error
            raise
        return True

    def _condition(self, session: SecureSession) -> Condition:
        if any(entry.life_cycle == CardState.SECURED for entry in session.get_status(StatusScope.ISSUER_DOMAIN)):
            return Condition.FINISHED
        state = self._application_state(session)
        if state is None:
            return Condition.KEYED
        return Condition.PERSONALIZED if state == _PERSONALIZED else Condition.STARTED

    def _application_state(self, session: SecureSession) -> int | None:
        entries = session.get_status(StatusScope.APPLICATIONS, self._recipe.instance)
        return next((entry.life_cycle for entry in entries if entry.aid == self._recipe.instance), None)

    def _open(self, card: CardConnection, expected: bytes | None, step: str) -> SecureSession:
        """A session under the set that the card offers, the factory's or ours, of whichever master it is.

        Which master is found on the card's one answer to INITIALIZE UPDATE. A card that proves none of them is refused
        as one with foreign keys: it got no EXTERNAL AUTHENTICATE.

        Raises:
            WrongBlank: not the expected chip; nothing but INITIALIZE UPDATE was sent.
            KeysRefused: the set is not what we derive, from no master.
            CardFault: the card does not speak SCP03 as it has to.
            _UnknownVersion: it offers another key version.
        """

        def keys(answer: InitializeUpdateResponse) -> Iterable[StaticKeys]:
            number = answer.diversification
            if expected is not None and number != expected:
                if number[_PRODUCT] != expected[_PRODUCT]:
                    raise _wrong_stock(number, "other-chip")
                raise WrongBlank(number.hex())
            offered.append(answer.key_version)
            if answer.key_version == commands.FACTORY_KEY_VERSION:
                return self._recipe.factory_keys(number)
            if answer.key_version == self._card_key_version:
                return self._recipe.card_keys(number)
            raise _UnknownVersion(number)

        offered: list[int] = []
        with _faults(step, lambda: commands.FACTORY_KEY_VERSION in offered):
            return SecureSession.open(card, keys, guard=self._guard)

    def _open_ours(self, card: CardConnection, number: bytes) -> SecureSession:
        with _faults("open-ours"):
            return SecureSession.open(
                card, self._keys_of_today(number), key_version=self._card_key_version, guard=self._guard
            )

    def _keys_of_today(self, number: bytes) -> StaticKeys:
        return next(iter(self._recipe.card_keys(number)))


def _wrong_stock(card_number: bytes, cause: str) -> PersonalizationError:
    """A card of another product: whoever filled the feeder has to look, before the next one is touched."""
    return PersonalizationError("wrong-stock", exit_code=3, card_id=card_number.hex().upper(), cause=cause)


class _UnknownVersion(Exception):
    """The card offers a key version that is neither the factory's nor ours."""

    def __init__(self, card: bytes) -> None:
        super().__init__()
        self.card = card


def _take(session: SecureSession, fence: Fence | None, enter: EnterStep) -> None:
    """Write our fence, the first thing that a card keeps of us, over none or an earlier one.

    From here on whoever wants to change the card has to open a session of his own, which ends this one: what a station
    sends that was stopped and goes on is refused by the card.

    Raises:
        Superseded: the card carries a later one.
    """
    if fence is None:
        return
    enter("fence")
    with _faults("fence"):
        found = _read_fence(session)
        if found is not None and found > fence:
            raise Superseded(found)
        if found != fence:
            _write_fence(session, fence.encode())


def _check(session: SecureSession, fence: Fence | None, enter: EnterStep) -> None:
    """Make sure that the card still carries our fence after a new session was opened.

    Raises:
        Superseded: it carries another one.
    """
    if fence is None:
        return
    enter("fence")
    with _faults("fence"):
        found = _read_fence(session)
    if found != fence:
        raise Superseded(found or Fence(0, 0))


def _read_fence(session: SecureSession) -> Fence | None:
    answer = session.transmit(commands.get_data(CARD_IMAGE), accept=(SW.OK, SW.REFERENCE_DATA_NOT_FOUND))
    return Fence.parse(parse_number(answer.data, CARD_IMAGE))


def _write_fence(session: SecureSession, value: bytes) -> None:
    for command in store_objects(tlv.encode(CARD_IMAGE, value), max_data=session.max_data):
        session.transmit(command)


@contextmanager
def _faults(step: str, untouched: Callable[[], bool] = lambda: False) -> Generator[None]:
    """Tell the card's errors from ours: a session's codes become `KeysRefused` or `CardFault`."""
    try:
        yield
    except PersonalizationError as error:
        if error.code in REFUSALS:
            raise KeysRefused(step, REFUSALS[error.code], untouched=untouched()) from error
        if error.code in FAULTS:
            sw = error.parameters.get("sw")
            raise CardFault(step, f"{error.code} {sw}" if sw else error.code) from error
        raise
