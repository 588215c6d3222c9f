"""A terminal with a SAM and a role, talking to a permit.

SELECT → GET DATA DF20 (concealed card number) → GET CHALLENGE → MUTUAL AUTHENTICATE, then everything under secure
messaging. Nothing that the card says counts before it has proved its key.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Final, Self

from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.profile import CardProfile
from personalization.terminal.authentication import RandomSource, get_challenge, mutual_authenticate
from personalization.terminal.channel import CardChannel, PlainChannel, ProtectedChannel, transmit
from personalization.terminal.files import CardFiles
from personalization.terminal.sam import CONCEALED_LENGTH, CardAuthenticator
from reader_bridge.connection import CardConnection

CHIP_SIGNATURE_LENGTH: Final = 64
CHIP_CHALLENGE_LENGTH: Final = 32

_SELECT: Final = 0xA4
_BY_NAME: Final = 0x04
_GET_DATA: Final = 0xCA
_PUT_DATA: Final = 0xDA
_INTERNAL_AUTHENTICATE: Final = 0x88
_TAG_CONCEALED: Final = 0xDF20
_TAG_PROFILE: Final = 0xDF21
_TAG_DATE: Final = 0xDF22
_TAG_CHANGES: Final = 0xDF25
_TAG_CORRECTION: Final = 0xDF26
_TAG_BOUND: Final = 0xDF27


def select(channel: CardChannel, aid: bytes) -> bytes:
    """SELECT an application by name; returns its FCI template.

    Raises:
        CardRefused: 6A82 when it is not on the card.
    """
    return transmit(channel, CommandApdu(0x00, _SELECT, _BY_NAME, 0x00, aid, 256), "SELECT")


def get_data(channel: CardChannel, tag: int) -> bytes:
    """GET DATA of a two-byte tag in P1-P2.

    Raises:
        CardRefused: such as 6A88.
    """
    return transmit(channel, CommandApdu(0x00, _GET_DATA, *divmod(tag, 256), b"", 256), f"GET DATA {tag:04X}")


class TerminalSession:
    """An authenticated session with one permit; made by `open`.

    Attributes:
        channel: the protected channel, for commands that have no method here.
        files: the permit's files.
        card_number: the card's number, 10 bytes.
        role: name of the role in the profile.
    """

    __slots__ = ("_profile", "card_number", "channel", "files", "role")

    def __init__(self, channel: ProtectedChannel, profile: CardProfile, role: str, card_number: bytes) -> None:
        self.channel = channel
        self.files = CardFiles(channel)
        self._profile = profile
        self.role = role
        self.card_number = card_number

    @classmethod
    def open(cls, connection: CardConnection, sam: CardAuthenticator, profile: CardProfile, role: str) -> Self:
        """Select the permit and authenticate both ways.

        Args:
            connection: the permit, powered, on either interface.
            sam: who holds the role keys.
            profile: the permit's profile.
            role: name of a role key in it, such as "inspection".

        Raises:
            CardRefused: the card or the SAM refuses a step.
            PersonalizationError: "concealed-number-malformed".
            KeyError: the profile has no such role.
        """
        reference = profile.key(role).reference
        plain = PlainChannel(connection)
        select(plain, profile.application.instance)
        concealed = get_data(plain, _TAG_CONCEALED)
        if len(concealed) != CONCEALED_LENGTH:
            raise PersonalizationError("concealed-number-malformed", length=len(concealed))
        prepared = sam.prepare(concealed, reference, get_challenge(plain))
        keys = sam.complete(mutual_authenticate(plain, reference, prepared.data))
        return cls(ProtectedChannel(connection, keys), profile, role, prepared.card_number)

    def read(self, name: str) -> bytes:
        """Content of a transparent file by its name in the profile.

        Raises:
            CardRefused: such as 6982.
        """
        return self.files.read(self._profile.file_named(name))

    def read_records(self, name: str) -> list[bytes]:
        """Records of a record file by its name in the profile.

        Raises:
            CardRefused: such as 6982.
        """
        return self.files.read_records(self._profile.file_named(name))

    def profile_on_card(self) -> bytes:
        """GET DATA DF21: profile name and version that the card was made with."""
        return get_data(self.channel, _TAG_PROFILE)

    def internal_authenticate(
        self, challenge: bytes | None = None, randomness: RandomSource = secrets.token_bytes
    ) -> tuple[bytes, bytes]:
        """Have the chip key sign; returns the challenge and the signature r ‖ s (64 bytes), not verified.

        Args:
            challenge: 8 to 32 bytes; None draws 32.
            randomness: source for the challenge.

        Raises:
            CardRefused: such as 6982, 6A88.
        """
        if challenge is None:
            challenge = randomness(CHIP_CHALLENGE_LENGTH)
        reference = self._profile.key("chip").reference
        command = CommandApdu(0x00, _INTERNAL_AUTHENTICATE, 0, reference, challenge, CHIP_SIGNATURE_LENGTH)
        return challenge, transmit(self.channel, command, "INTERNAL AUTHENTICATE")

    def tell_date(self, today: dt.date) -> None:
        """PUT DATA DF22: tell the card the date; a card never goes back.

        Raises:
            CardRefused: 6982 for a role that may not.
        """
        self._put(_TAG_DATE, _digits(today))

    def tell_bound(self, bound: dt.date, signature: bytes) -> None:
        """PUT DATA DF27: how far the date may be told, with the clock authority's signature r ‖ s (64 bytes).

        Raises:
            CardRefused: 6982 when it is not signed by that authority, 6985 for a card that has no bound.
        """
        self._put(_TAG_BOUND, _digits(bound) + signature)

    def clock(self) -> tuple[dt.date | None, dt.date | None]:
        """GET DATA DF22 and DF27: the date that the card was told last and its bound; None where there is none.

        Raises:
            CardRefused: 6982 for a role that may not.
        """
        return _read_date(get_data(self.channel, _TAG_DATE)), _read_date(get_data(self.channel, _TAG_BOUND))

    def correct_date(self, right: dt.date) -> None:
        """PUT DATA DF26: set the date, back too; for the issuer.

        Raises:
            CardRefused: 6982 for any other role.
        """
        self._put(_TAG_CORRECTION, _digits(right))

    def change_files(self, changes: bytes) -> None:
        """PUT DATA DF25: change several files in one transaction.

        Args:
            changes: repeated FID (2) ‖ offset (2) ‖ length (1) ‖ bytes.

        Raises:
            CardRefused: such as 6982; nothing was changed.
        """
        self._put(_TAG_CHANGES, changes)

    def _put(self, tag: int, data: bytes) -> None:
        transmit(self.channel, CommandApdu(0x00, _PUT_DATA, *divmod(tag, 256), data), f"PUT DATA {tag:04X}")

    def __repr__(self) -> str:
        return f"TerminalSession({self.role})"


def _digits(day: dt.date) -> bytes:
    return f"{day:%Y%m%d}".encode("ascii")


def _read_date(raw: bytes) -> dt.date | None:
    try:
        return dt.date(int(raw[:4]), int(raw[4:6]), int(raw[6:]))
    except ValueError:
        return None
