"""The bank section of a permit, which a branch alone reads and writes.

EF.BANK holds its data objects in template 7F05; DF43 says whether the account is active (00, 01).
"""

from __future__ import annotations

from typing import Final

from personalization.errors import PersonalizationError
from personalization.permit.desk.card_state import Change, encode_changes, objects_in, template
from personalization.profile import CardProfile
from personalization.terminal.session import TerminalSession

BRANCH_ROLE: Final = "bank_branch"
_FILE: Final = "EF.BANK"
_TEMPLATE: Final = 0x7F05
_ACCOUNT_NUMBER: Final = 0x5A
_ACTIVATION: Final = 0xDF43
_INACTIVE: Final = b"\x00"
_ACTIVE: Final = b"\x01"


class BankSection:
    """What a branch sees of one card.

    Args:
        session: the card in the branch's role.
        profile: the permit's profile.

    Raises:
        PersonalizationError: "account-none" (exit 1), "card-content-malformed".
        CardRefused: this role may not read the account.
    """

    __slots__ = ("_objects", "_row", "_session")

    def __init__(self, session: TerminalSession, profile: CardProfile) -> None:
        self._session = session
        self._row = profile.file_named(_FILE)
        self._objects = objects_in(session.read(_FILE), _TEMPLATE)
        if _ACCOUNT_NUMBER not in self._objects:
            raise PersonalizationError("account-none")

    @property
    def active(self) -> bool:
        """Whether the account is active."""
        return self._objects.get(_ACTIVATION, _INACTIVE) == _ACTIVE

    def activate(self) -> None:
        """Write it active in one command, and see that it is.

        Raises:
            PersonalizationError: "card-not-as-written" (exit 1).
            CardRefused: the card refuses; nothing was written.
        """
        wanted = template(_TEMPLATE, (self._objects | {_ACTIVATION: _ACTIVE}).items(), self._row.size or 0)
        self._session.change_files(encode_changes([Change(self._row.fid, 0, wanted)]))
        if self._session.read(_FILE) != wanted:
            raise PersonalizationError("card-not-as-written", file=_FILE)
        self._objects[_ACTIVATION] = _ACTIVE
