"""Which application a channel talks to: SELECT by DF name, default selection, deselection.

Source: ISO/IEC 7816-4:2020, clauses 8.2 and 11.2.2; GlobalPlatform Card Specification 2.3.1, clauses 6.4 and 11.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeVar

from card_os.files.life_cycle import FileLifeCycle
from card_os.files.select import select_and_answer
from card_os.files.spec import FileStructure, Tag
from card_os.globalplatform.card_policy import load_card_policy
from card_os.globalplatform.registry import CardLifeCycle, ContactlessState, Privilege
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    CardError,
    FileDeactivatedWarning,
    FileNotFound,
    IncorrectP1P2,
)
from card_os.security.access import Proof

if TYPE_CHECKING:
    from card_os.channels import Channel
    from card_os.globalplatform.registry import Application
    from card_os.iso7816.apdu import CommandApdu
    from card_os.runtime import Runtime

INS_SELECT: Final = 0xA4
P1_BY_NAME: Final = 0x04

_FINAL: Final = Privilege.FINAL_APPLICATION
_OVER_THE_FIELD: Final = (ContactlessState.ACTIVATED, ContactlessState.UNMANAGED)
_CONTACT_BIT: Final = 0x40
_CONTACTLESS_BIT: Final = 0x80
_OCCURRENCE: Final = 0x03
_SECURED: Final = int(CardLifeCycle.SECURED)
_LOCKED: Final = int(CardLifeCycle.CARD_LOCKED)
_RESPONSE: Final = 0x0C
_FCP: Final = 0x04
_FMD: Final = 0x08
_NO_RESPONSE: Final = 0x0C


T = TypeVar("T")


class Occurrence(IntEnum):
    """Which one of several of one name; b2-b1 of P2 (table 63)."""

    FIRST = 0
    LAST = 1
    NEXT = 2
    PREVIOUS = 3


class Selector:
    """Selection on one interface.

    Args:
        runtime: what the card has booted.
        interface: `Proof.CONTACT` or `Proof.CONTACTLESS`.
    """

    __slots__ = ("_contact", "_proof", "_runtime")

    def __init__(self, runtime: Runtime, interface: Proof) -> None:
        self._runtime = runtime
        self._contact = interface is Proof.CONTACT
        self._proof = int(interface)

    def select(self, channel: Channel, command: CommandApdu) -> bytes:
        """SELECT by DF name, P1 04; data is an AID or its beginning, none stands for the issuer domain.

        The application with exactly this name comes first, then those whose name begins with it. A name that no
        application has may be that of a DF inside the selected one. The channel keeps its application when nothing is
        found.

        Raises:
            IncorrectP1P2: 6A86.
            FileNotFound: 6A82, no (other) application matches.
            FileDeactivatedWarning: 6283 with the response, the final application of a locked card.
        """
        p2 = command.p2
        if p2 & ~(_OCCURRENCE | _RESPONSE):
            raise IncorrectP1P2("no such form of SELECT")
        application = self._find(channel, command.data, p2 & _OCCURRENCE)
        if application is None:
            return self._select_df(channel, command, p2 & _OCCURRENCE)
        template = self.enter(channel, application)
        if p2 & _RESPONSE == _NO_RESPONSE:
            template = b""
        elif p2 & _RESPONSE == _FMD:
            template = tlv.encode(Tag.FMD, tlv.encode(Tag.APPLICATION_IDENTIFIER, application.aid))
        elif p2 & _RESPONSE == _FCP:
            template = _control_parameters(application)
        if self._runtime.registry.card_life_cycle == _LOCKED:
            raise FileDeactivatedWarning("the card is locked", data=template)
        return template

    def _select_df(self, channel: Channel, command: CommandApdu, occurrence: int) -> bytes:
        """A named DF inside the selected application, which stays selected."""
        context = channel.context
        if context is None:
            raise FileNotFound("no application with this name")
        files = context.files
        file = _occurrence(files.by_name(command.data), files.current_df, occurrence)
        if file is None:
            raise FileNotFound("no application and no DF with this name")
        context.proofs = int(context.session.proofs) | self._proof
        return select_and_answer(context, file, command.p2 & _RESPONSE)

    def _find(self, channel: Channel, name: bytes, occurrence: int) -> Application | None:
        registry = self._runtime.registry
        if not name:
            application = registry.issuer_domain
            return application if application is not None and self.allowed(application) else None
        if not occurrence:  # the first
            exact = registry.by_aid(name)
            if exact is not None and self.allowed(exact):
                return exact
        current = channel.context.application if channel.context is not None else None
        named = sorted(filter(self.allowed, registry.matching(name)), key=lambda application: application.aid != name)
        return _occurrence(named, current, occurrence)

    def allowed(self, application: Application) -> bool:
        """True when an application may be selected on this interface in the card's present state.

        A locked card offers the final application only; once the card is secured its domains are reached over contact
        only, unless its policy says otherwise, because they tell the card number.
        """
        runtime = self._runtime
        if not application.selectable or runtime.runs(application) is None:
            return False
        state, contact = runtime.registry.card_life_cycle, self._contact
        if state >= _LOCKED and application is not runtime.registry.holder(_FINAL):
            return False
        if not contact and application.data.contactless not in _OVER_THE_FIELD:
            return False
        if contact or state < _SECURED or not application.is_security_domain:
            return True
        return load_card_policy(runtime.store).domains_over_the_field

    def enter(self, channel: Channel, application: Application) -> bytes:
        """Leave the application of a channel and select another (or the same again); returns its FCI.

        When the application refuses with an error, none is selected afterwards.
        """
        self.leave(channel)
        runtime = self._runtime
        applet = runtime.code_of(application)
        context = runtime.new_context(application)
        context.proofs = self._proof
        template = applet.select(context)
        channel.applet, channel.context, channel.instructions = applet, context, applet.instructions
        return template

    def leave(self, channel: Channel) -> None:
        """Deselect the application of a channel; an error in its code is counted and changes nothing."""
        applet, context = channel.applet, channel.context
        channel.clear_application()
        if applet is None or context is None:
            return
        try:
            applet.deselect(context)
        except CardError:
            pass
        except Exception as fault:  # noqa: BLE001 - the dispatcher's rule: a fault of an applet is counted
            self._runtime.count_fault(fault)

    def enter_default(self, channel: Channel) -> None:
        """Select the application that is selected implicitly on this interface and channel (6.4.1).

        That is the one registered for the channel, else the one registered for the basic channel, else the one with
        the card reset privilege; where it is locked, the final application.
        """
        registry = self._runtime.registry
        bit = _CONTACT_BIT if self._contact else _CONTACTLESS_BIT
        application = (
            registry.implicitly_selected(bit, channel.number)
            or registry.implicitly_selected(bit, 0)
            or registry.default_selected
        )
        if application is not None and (application.locked or registry.card_life_cycle >= _LOCKED):
            application = registry.holder(_FINAL)
        if application is None or not self.allowed(application):
            return
        try:
            self.enter(channel, application)
        except CardError:
            channel.clear_application()
        except Exception as fault:  # noqa: BLE001 - as above
            channel.clear_application()
            self._runtime.count_fault(fault)


def _occurrence(named: Sequence[T], current: T | None, occurrence: int) -> T | None:
    """The one of several of one name that P2 asks for (table 63); next and previous count from the current one.

    Where the current one is none of them, next is the first and previous the last.
    """
    at = named.index(current) if current in named else None
    match occurrence:
        case _ if not named:
            return None
        case Occurrence.FIRST:
            return named[0]
        case Occurrence.LAST:
            return named[-1]
        case Occurrence.NEXT:
            return named[0] if at is None else next(iter(named[at + 1 :]), None)
        case _:
            return named[-1] if at is None else next(iter(reversed(named[:at])), None)


def _control_parameters(application: Application) -> bytes:
    """The FCP template of an application: descriptor, DF name, life cycle."""
    return tlv.encode(
        Tag.FCP,
        tlv.encode(Tag.DESCRIPTOR, bytes((FileStructure.DF,))),
        tlv.encode(Tag.DF_NAME, application.aid),
        tlv.encode(Tag.LIFE_CYCLE, bytes((FileLifeCycle.ACTIVATED,))),
    )
