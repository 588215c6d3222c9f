"""One card, read for a person: its face and files, as its holder and as an inspection terminal see them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from permitcard.products import permit_profile
from permitcard.reaching import card_factory
from permitcard.specimen import HOLDER_PIN, require_specimen, specimen_keys
from permitcard.testing.access import read_card_number
from permitcard.testing.laboratory_sam import LaboratorySam
from permitcard.translation import Language
from personalization.card_view import CardView, ShownFile, ShownValue, view_card
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyStore
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from reader_bridge.pin_pads import pin_pad_of, verify_at
from reader_bridge.remote_protocol import new_token

_INSPECTION: Final = "inspection"
_HOLDER: Final = "holder"
_PORTRAIT: Final = "EF.PORTRAIT"
_IDENTITY: Final = "EF.IDENTITY"
_FACE_WIDTH: Final = 60
_LONG: Final = 64

Say = Callable[..., str]
"""Words for a code."""


@dataclass(frozen=True, slots=True)
class CardInHand:
    """What was read of a card.

    Attributes:
        card_id: the card's own id, hex.
        language: language of titles.
        views: as its holder and as an inspection terminal.
        portrait: JPEG as it stands on the card, empty when nobody could read it.
        pin_to_change: the holder has not changed the PIN of the letter yet, and sees nothing before.
    """

    card_id: str
    language: Language
    views: tuple[CardView, ...] = field(repr=False)
    portrait: bytes = field(default=b"", repr=False)
    pin_to_change: bool = False

    def text(self, say: Say) -> str:
        """Face and files for people."""
        lines = list(self._face(say))
        if self.pin_to_change:
            lines += ["", say("card.pin-to-change")]
        for view in self.views:
            lines += ["", say(f"view.{view.seen_by}")]
            for file in view.files:
                lines += self._file(file, say)
        return "\n".join(lines)

    def document(self) -> dict[str, object]:
        """The same for programs."""
        views = [view.to_plain() for view in self.views]
        return {"card_id": self.card_id, "pin_to_change": self.pin_to_change, "views": views}

    def _face(self, say: Say) -> Iterator[str]:
        yield say("card.face", card_id=self.card_id)
        yield "+" + "-" * _FACE_WIDTH + "+"
        for file in self.views[-1].files:
            if file.name == _IDENTITY:
                for record in file.records:
                    yield from (f"|  {self._line(item)}" for item in record)
        yield "+" + "-" * _FACE_WIDTH + "+"

    def _file(self, file: ShownFile, say: Say) -> Iterator[str]:
        title = file.title.zh if self.language is Language.CHINESE else file.title.en
        yield f"  {file.fid:04X} {file.name}  {title}"
        if file.refused:
            status, _, meaning = file.refused.partition(" ")
            yield f"       {say('card.file-refused', sw=status, meaning=meaning)}"
        elif file.problem:
            yield f"       {say('card.file-unread', reason=file.problem)}"
        for record in file.records:
            yield from (f"       {self._line(item)}" for item in record)

    def _line(self, item: ShownValue) -> str:
        title = item.title.zh if self.language is Language.CHINESE else item.title.en
        value = item.value if len(item.value) <= _LONG else item.value[:_LONG] + "…"
        if item.meaning is not None:
            value += f"  {item.meaning.zh if self.language is Language.CHINESE else item.meaning.en}"
        return f"{title}: {value}"


def read_card(
    address: str, centre: Path | None, language: str, ask_holder: Callable[[str], None] | None = None
) -> CardInHand:
    """Read a card at an address.

    Args:
        address: sim:FILE, pcsc:NAME or remote:HOST:PORT.
        centre: the centre that made it; None for a specimen.
        language: language of titles.
        ask_holder: told the reader's name before the holder types the PIN there; None takes the PIN that the card was
            made with.

    Raises:
        ReaderError: no card there; "no-pin-pad", the holder is to type and the reader has no keys.
        PersonalizationError: not our card, other keys, or unknown to the centre; "pin-changed-since" when the
            holder has changed the PIN, and "pin-last-try" when that was seen twice.
    """
    profile = permit_profile()
    with card_factory().connect(address) as connection:
        pad = None if ask_holder is None else pin_pad_of(connection)
        if connection.description.interface is not Interface.CONTACT:
            terminal = TerminalSession.open(connection, LaboratorySam(_keys(centre)), profile, _INSPECTION)
            return _in_hand(terminal.card_number, language, (view_card(profile, terminal, _INSPECTION),))
        card_number = read_card_number(connection)
        keys, pin = _secrets(card_number, centre)
        connection.reset()
        # First the card proves that it is of this centre: a PIN tried on another centre's card costs its holder.
        terminal = TerminalSession.open(connection, LaboratorySam(keys), profile, _INSPECTION)
        # And that it is the one it claims to be, for it would be told another card's PIN.
        if terminal.card_number != card_number:
            raise PersonalizationError("card-not-genuine")
        inspection = view_card(profile, terminal, _INSPECTION)
        connection.reset()
        session = HolderSession.open(connection, profile)

        def typed() -> None:
            if pad is not None and ask_holder is not None:
                ask_holder(connection.description.name)
                session.verify_typed(partial(verify_at, pad))

        try:
            _prove_holder(session, pin, None if pad is None else typed)
        except PersonalizationError as error:
            if error.code != "pin-to-change":
                raise
            return _in_hand(card_number, language, (inspection,), pin_to_change=True)
        return _in_hand(card_number, language, (view_card(profile, session, _HOLDER), inspection))


def _prove_holder(session: HolderSession, pin: str, typed: Callable[[], None] | None) -> None:
    """Verify the PIN that the card was made with, unless the holder types it."""
    tries = session.tries_left()
    if typed is not None:
        typed()
    elif tries == 1:  # holders change their PIN, and looking at a card must not block it: the last try is theirs
        raise PersonalizationError("pin-last-try")
    else:
        try:
            session.verify(pin)
        except PersonalizationError as error:
            if error.code != "pin-wrong":
                raise
            raise PersonalizationError("pin-changed-since", tries=error.parameters["tries"]) from error


def _in_hand(
    card_number: bytes, language: str, views: tuple[CardView, ...], *, pin_to_change: bool = False
) -> CardInHand:
    portrait = views[-1].file(_PORTRAIT).content
    return CardInHand(card_number.hex().upper(), Language(language), views, portrait, pin_to_change)


def _keys(centre: Path | None) -> KeyStore:
    if centre is None:
        return specimen_keys()
    from permitcard.centre import Centre
    from permitcard.operator_login import open_store
    from personalization.production.acts import Role

    return open_store(Centre(centre), Role.INSPECT)


def _secrets(card_number: bytes, centre: Path | None) -> tuple[KeyStore, str]:
    """Keys and holder PIN of a card."""
    if centre is None:
        require_specimen(card_number)
        return specimen_keys(), HOLDER_PIN
    from permitcard.centre import Centre
    from permitcard.job import Job

    with Job.open(Centre(centre)) as job:
        return job.keys, job.pin_letter(card_number).pins[_HOLDER]


def serving_token(variable: str, tell: Callable[[str], None]) -> str:
    """The token that remote clients must present: from the environment, or a new one that is told."""
    if token := os.environ.get(variable):
        return token
    token = new_token()
    tell(token)
    return token
