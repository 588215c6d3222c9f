"""BEGIN R-MAC SESSION and END R-MAC SESSION: MACs on responses for a part of a secure channel session.

Deviates: SCP02 allows an R-MAC session without a secure channel session; the card does not, for its chaining vector is
defined for implicit initiation only (E.3.2, E.3.3).

Source: GlobalPlatform Card Specification 2.3.1, clauses E.5.3 and E.5.4; Amendment D v1.1.1, clauses 7.1.3 and 7.1.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform.domain_session import authenticated_channel
from card_os.iso7816.errors import IncorrectP1P2, WrongLength

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

_BEGIN: Final = 0x01
_RETURN: Final = 0x01
_END_AND_RETURN: Final = 0x03
_MAX_DATA: Final = 24


def begin_r_mac_session(context: Context, command: CommandApdu) -> bytes:
    """BEGIN R-MAC SESSION: P1 is the level of the answers that follow, P2 is 01; data is length (1) ‖ 0 to 24 bytes.

    Raises:
        SecurityStatusNotSatisfied: 6982, no authenticated session.
        IncorrectP1P2: 6A86, another P2, or a level that the session cannot give.
        WrongLength: 6700, data is not one element with its length.
        ConditionsNotSatisfied: 6985, the answers are protected already, or the commands too little.
    """
    channel = authenticated_channel(context)
    if command.p2 != _BEGIN:
        raise IncorrectP1P2("P2 of BEGIN R-MAC SESSION is 01")
    data = command.data
    if data and (len(data) != 1 + data[0] or data[0] > _MAX_DATA):
        raise WrongLength("one element of at most 24 bytes with its length")
    channel.begin_r_mac(command.p1)
    return b""


def end_r_mac_session(context: Context, command: CommandApdu) -> bytes:
    """END R-MAC SESSION: P1 is 00, P2 03 ends, P2 01 goes on (SCP02 only).

    Returns:
        SCP02: the R-MAC (8). SCP03: nothing but the R-MAC that protects the answer.

    Raises:
        SecurityStatusNotSatisfied: 6982, no authenticated session.
        IncorrectP1P2: 6A86, another form.
        WrongLength: 6700, there is a data field.
        ConditionsNotSatisfied: 6985, BEGIN R-MAC SESSION did not come before.
    """
    channel = authenticated_channel(context)
    if command.p1 or command.p2 not in (_RETURN, _END_AND_RETURN):
        raise IncorrectP1P2("no such form of END R-MAC SESSION")
    if command.data:
        raise WrongLength("END R-MAC SESSION has no data")
    return channel.end_r_mac(ends=command.p2 == _END_AND_RETURN)
