"""Makes a SAM from what the chip's vendor delivered, and goes on from wherever it was left.

| the chip says | condition | what is missing |
|---|---|---|
| the factory's keys, no application | blank | everything; rehearsals only |
| an application without a load key | begun | everything but INSTALL; rehearsals only |
| an application with a load key | loaded | masters, keys, identification, SECURED |
| an application with masters in it, under our keys | half-made | the groupings that are not there |
| a personalized application, under our keys | personalized | SECURED |
| the same, and it is SECURED | finished | nothing |
| other keys, or a personalized application under the factory's | foreign | it is not ours |
| it is out of service | terminated | |

Keys are the vendor's or ours under any master that was not destroyed: a chip that was delivered or begun before the
master was replaced is finished with the keys of today, and one that was made before is put out of service as any other.

An application is never deleted: its load key came from the vendor, and nobody here can put it back. Everything is one
transaction of the card or can be sent again, so that a SAM which lost power is finished by making it once more.

Source: GlobalPlatform Card Specification 2.3.1, clauses 5.1.1 and 11; card specification, "Personalization" and "Secure
access module".
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.commands import CardState, StatusScope
from personalization.globalplatform.scp03 import InitializeUpdateResponse, StaticKeys
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.card_keys import (
    CARD_VERSION,
    FACTORY_VERSION,
    CardKeys,
    issuer_domain_generations,
    issuer_domain_keys,
)
from personalization.profile import CardProfile
from personalization.terminal.channel import CardRefused, PlainChannel
from personalization.terminal.session import get_data, select
from reader_bridge.connection import CardConnection

TAG_PROGRESS: Final = 0xDF25
_PROGRESS_LENGTH: Final = 4
_NO_PRIVILEGES: Final = b"\x00"


class SamStage(IntEnum):
    """What an application that is not personalized holds, by its own word; each stage is one more data grouping."""

    NOTHING = 0
    LOAD_KEY = 1
    MASTERS = 2
    KEYS = 3


class SamCondition(StrEnum):
    """How far a SAM is; see the module."""

    BLANK = "blank"
    BEGUN = "begun"
    LOADED = "loaded"
    HALF_MADE = "half-made"
    PERSONALIZED = "personalized"
    FINISHED = "finished"
    FOREIGN = "foreign"
    TERMINATED = "terminated"


_BY_STAGE: Final = {
    SamStage.NOTHING: SamCondition.BEGUN,
    SamStage.LOAD_KEY: SamCondition.LOADED,
    SamStage.MASTERS: SamCondition.HALF_MADE,
    SamStage.KEYS: SamCondition.HALF_MADE,
}
_UNDER_FACTORY_KEYS: Final = frozenset({SamCondition.BLANK, SamCondition.BEGUN, SamCondition.LOADED})
"""Conditions that a vendor delivers."""
_WITHOUT_LOAD_KEY: Final = frozenset({SamCondition.BLANK, SamCondition.BEGUN})
_COMPLETE: Final = frozenset({SamCondition.PERSONALIZED, SamCondition.FINISHED})


class Progress(NamedTuple):
    """What the application says of itself.

    Attributes:
        there: whether there is one.
        stage: what it holds; None once it is personalized.
        check_value: of its load key; empty when it holds nothing.
    """

    there: bool
    stage: SamStage | None = SamStage.NOTHING
    check_value: bytes = b""


class SamLook(NamedTuple):
    """What a chip turned out to be.

    Attributes:
        card_number: 10 bytes; empty when it tells none.
        condition: how far it is.
        progress: of its application.
    """

    card_number: bytes
    condition: SamCondition
    progress: Progress = Progress(there=False)


Begin = Callable[[SamLook], None]
"""Called before the first write to a chip; whoever keeps account of SAMs writes it down here, or raises."""


def ask_progress(card: CardConnection, profile: CardProfile) -> Progress:
    """Ask the application how far it is, in plain; changes nothing.

    Raises:
        CardRefused: the chip is out of service, or its application does not tell.
        PersonalizationError: "sam-answer-malformed".
    """
    plain = PlainChannel(card)
    try:
        select(plain, profile.application.instance)
    except CardRefused as refusal:
        if refusal.status == SW.FILE_NOT_FOUND:
            return Progress(there=False)
        raise
    try:
        answer = get_data(plain, TAG_PROGRESS)
    except CardRefused as refusal:
        if refusal.status == SW.REFERENCE_DATA_NOT_FOUND:
            return Progress(there=True, stage=None)
        raise
    if len(answer) != _PROGRESS_LENGTH or answer[0] not in set(SamStage):
        raise PersonalizationError("sam-answer-malformed", length=len(answer))
    return Progress(there=True, stage=SamStage(answer[0]), check_value=answer[1:] if answer[0] else b"")


class SamMaker:
    """Makes SAMs with the keys of one store.

    Args:
        profile: the SAM's profile.
        keys: the store; its masters leave it wrapped under the load key and in no other way.
    """

    __slots__ = ("_groupings", "_keys", "_profile")

    def __init__(self, profile: CardProfile, keys: KeyStore) -> None:
        self._profile = profile
        self._keys = keys
        self._groupings = CardKeys(profile, keys)

    def look(self, card: CardConnection) -> SamLook:
        """Find out how far a chip is; changes nothing and spends no try of its keys.

        Args:
            card: contact connection with power.

        Raises:
            CardRefused, PersonalizationError: an answer that fits no chip of a SAM.
        """
        return self._look(card)[0]

    def make(self, card: CardConnection, begin: Begin = lambda _: None) -> SamLook:
        """Bring a chip from whatever condition to FINISHED; returns what it was before.

        Args:
            card: contact connection with power.
            begin: called before the first write, with the chip as it is.

        Raises:
            PersonalizationError: exit 2, nothing was changed: "sam-foreign", "sam-terminated", "sam-without-load-key",
                "sam-other-load-key"; or what a session meets, and making it again goes on.
        """
        look, session = self._look(card)
        number = look.card_number.hex().upper()
        if session is None:
            raise PersonalizationError(
                "sam-terminated" if look.condition is SamCondition.TERMINATED else "sam-foreign",
                exit_code=2,
                card_id=number or "-",
            )
        self._require_load_key(look)
        begin(look)
        if look.condition is SamCondition.FINISHED:
            return look
        if session.key_version == FACTORY_VERSION or session.place:
            ours = issuer_domain_keys(self._keys, KeyName.CARD, look.card_number)
            session.put_keys(ours, replace=session.key_version)
            session = SecureSession.open(card, ours)
        self._fill(session, look)
        session.set_card_state(CardState.SECURED)
        return look

    def terminate(self, card: CardConnection) -> bool:
        """Put a SAM out of service for good; False when it is not ours or does not let itself be."""
        session = self._look(card)[1]
        if session is None:
            return False
        session.set_card_state(CardState.TERMINATED)
        return True

    def _fill(self, session: SecureSession, look: SamLook) -> None:
        """Install the application where there is none, and bring the groupings that it lacks."""
        application, (there, stage, _) = self._profile.application, look.progress
        if not there:
            session.install(
                package_aid=application.package,
                module_aid=application.module,
                instance_aid=application.instance,
                privileges=_NO_PRIVILEGES,
                parameters=self._profile.install_parameters,
            )
        if stage is not None:
            session.personalize(application.instance, self._groupings.sam_groupings(look.card_number, held=stage))

    def _require_load_key(self, look: SamLook) -> None:
        """Refuse a chip whose vendor put no load key into it, or another one than the masters are wrapped under."""
        number = look.card_number.hex().upper()
        if look.condition in _COMPLETE:
            return
        if look.condition in _WITHOUT_LOAD_KEY:
            if self._keys.production:
                raise PersonalizationError("sam-without-load-key", exit_code=2, card_id=number)
            return
        ours, its = self._keys.check_value(KeyName.SAM_LOAD), look.progress.check_value
        if not hmac.compare_digest(ours, its):
            raise PersonalizationError(
                "sam-other-load-key",
                exit_code=2,
                card_id=number,
                found=its.hex().upper() or "-",
                ours=ours.hex().upper(),
            )

    def _look(self, card: CardConnection) -> tuple[SamLook, SecureSession | None]:
        """What the chip is, and a session with its issuer domain; none with a chip that is not to be spoken to."""
        try:
            progress = ask_progress(card, self._profile)
            session, number = self._open(card)
        except CardRefused as refusal:
            if refusal.status == SW.CONDITIONS_NOT_SATISFIED and _is_terminated(card):
                return SamLook(b"", SamCondition.TERMINATED), None
            raise
        if session is None:
            return SamLook(number, SamCondition.FOREIGN, progress), None
        condition = self._condition(session, progress)
        if session.key_version == FACTORY_VERSION and condition not in _UNDER_FACTORY_KEYS:
            return SamLook(number, SamCondition.FOREIGN, progress), None
        return SamLook(number, condition, progress), session

    def _condition(self, session: SecureSession, progress: Progress) -> SamCondition:
        if not progress.there:
            return SamCondition.BLANK
        if progress.stage is not None:
            return _BY_STAGE[progress.stage]
        entries = session.get_status(StatusScope.ISSUER_DOMAIN)
        secured = any(entry.life_cycle == CardState.SECURED for entry in entries)
        return SamCondition.FINISHED if secured else SamCondition.PERSONALIZED

    def _open(self, card: CardConnection) -> tuple[SecureSession | None, bytes]:
        """A session under the factory's set or ours, and the card's number; no session when it holds neither."""
        numbers: list[bytes] = []

        def keys(answer: InitializeUpdateResponse) -> Iterable[StaticKeys]:
            numbers.append(answer.diversification)
            if answer.key_version not in {FACTORY_VERSION, CARD_VERSION}:
                raise _NotOurs
            name = KeyName.FACTORY if answer.key_version == FACTORY_VERSION else KeyName.CARD
            return issuer_domain_generations(self._keys, name, answer.diversification)

        try:
            return SecureSession.open(card, keys), numbers[0]
        except _NotOurs:
            return None, numbers[0]
        except PersonalizationError as error:
            if error.code == "card-cryptogram-wrong":  # seen before EXTERNAL AUTHENTICATE: it cost the chip no try
                return None, numbers[0]
            raise


class _NotOurs(Exception):
    """The chip offers a key version that is neither the factory's nor ours."""


def _is_terminated(card: CardConnection) -> bool:
    """A card out of service refuses to select its issuer domain."""
    answer = card.transmit(commands.select(commands.ISSUER_DOMAIN_AID).encode())
    return answer == SW.CONDITIONS_NOT_SATISFIED.encode()
