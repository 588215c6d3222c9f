"""GENERAL AUTHENTICATE with dynamic authentication data objects: the authentications of the other commands in one.

```
7C { 81 challenge, 82 empty }           → 7C { 82 response }      INTERNAL AUTHENTICATE
7C { 81 empty }                         → 7C { 81 challenge }     GET CHALLENGE, as long as the key in P2 takes
7C { 82 response }                      → nothing                 EXTERNAL AUTHENTICATE
7C { 82 response }                      → 7C { 82 response }      MUTUAL AUTHENTICATE
```

P1 is 00, P2 the reference of the key.

Source: ISO/IEC 7816-4:2020, clause 11.6.5 (GENERAL AUTHENTICATE, dynamic authentication data).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NE
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, SecurityStatusNotSatisfied, WrongData
from card_os.security.access import ALWAYS, NEVER, AccessRule, explain
from card_os.security.authentication import authenticate, challenge_length, get_challenge, internal_authenticate

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction
    from card_os.iso7816.apdu import CommandApdu

_CHAINED: Final = 0x10
_TAG_DYNAMIC: Final = 0x7C


class DynamicTag(IntEnum):
    """Objects inside 7C that the card knows."""

    CHALLENGE = 0x81
    RESPONSE = 0x82


@dataclass(frozen=True, slots=True)
class DynamicAuthentication:
    """The handler of GENERAL AUTHENTICATE.

    Attributes:
        internal: what proving the card takes, as of INTERNAL AUTHENTICATE.
    """

    internal: AccessRule

    def __call__(self, context: Context, command: CommandApdu) -> bytes:
        """Run the command.

        Raises:
            IncorrectP1P2: 6A86, P1 names an algorithm.
            ConditionsNotSatisfied: 6985, one command of a chain: each of these authentications is whole in itself.
            WrongData: 6A80, other dynamic authentication data.
            SecurityStatusNotSatisfied: 6982, the rule of proving the card is not satisfied.
            CardError: what the command that is meant raises.
        """
        if command.p1:
            raise IncorrectP1P2("the algorithm is that of the key: P1 00")
        if command.cla & _CHAINED:
            raise ConditionsNotSatisfied("no authentication in several steps is going on")
        challenge, response = DynamicTag.CHALLENGE, DynamicTag.RESPONSE
        match _dynamic(command.data):
            case [(DynamicTag.CHALLENGE, data), (DynamicTag.RESPONSE, b"")] if data:
                if not self.internal.allows(context.proofs):
                    raise SecurityStatusNotSatisfied(explain(self.internal, context.proofs))
                return _answer(response, internal_authenticate(context, command._replace(data=data)))
            case [(DynamicTag.CHALLENGE, b"")]:
                ne = challenge_length(context, command.p2)
                return _answer(challenge, get_challenge(context, command._replace(p2=0, data=b"", ne=ne)))
            case [(DynamicTag.RESPONSE, data)] if data:
                answer = authenticate(context, command._replace(data=data, ne=MAX_SHORT_NE))
                return _answer(response, answer) if answer else b""
            case _:
                raise WrongData("no dynamic authentication data that the card knows")


def _dynamic(data: bytes) -> list[tuple[int, bytes]]:
    try:
        outer = tlv.parse_one(data)
        inside = [(item.tag, item.value) for item in outer.children()]
    except tlv.TlvError as error:
        raise WrongData(str(error)) from None
    if outer.tag != _TAG_DYNAMIC:
        raise WrongData("no template of dynamic authentication data")
    return inside


def _answer(tag: DynamicTag, value: bytes) -> bytes:
    return tlv.encode(_TAG_DYNAMIC, tlv.encode(tag, value))


def dynamic_authentication_instructions(
    *, internal: AccessRule = NEVER, access: AccessRule = ALWAYS, states: frozenset[int] | None = None
) -> tuple[Instruction]:
    """The row of GENERAL AUTHENTICATE for an application without PACE.

    Args:
        internal: rule of proving the card; its signature tells one card from another.
        access: rule of the command.
        states: application life-cycle states in which it is allowed; None = every selectable state.
    """
    from card_os.applet_api import Instruction

    handler = DynamicAuthentication(internal)
    return (Instruction(0x86, "GENERAL AUTHENTICATE", handler, access=access, states=states, stepwise=True),)
