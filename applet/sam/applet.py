"""The secure access module as an application of a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from applet.sam import aid
from applet.sam.commands import SAM_INSTRUCTIONS
from applet.sam.personalize import store_grouping
from applet.sam.usage import create_limits
from card_os.iso7816.tlv import encode

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction

_TAG_FCI: Final = 0x6F
_TAG_DF_NAME: Final = 0x84
_TAG_PROPRIETARY: Final = 0xA5
_TAG_LABEL: Final = 0x50
_LABEL: Final = b"TERMINAL SAM"


class SamApplet:
    """Masters of a terminal's roles, used and never given out; implements `card_os.applet_api.Applet`."""

    __slots__ = ()

    package_aid: ClassVar[bytes] = aid.PACKAGE
    module_aid: ClassVar[bytes] = aid.MODULE
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = SAM_INSTRUCTIONS

    def install(self, context: Context, parameters: bytes) -> None:
        """Create the limits of the module's life; see `create_limits`."""
        create_limits(context, parameters)

    def select(self, context: Context) -> bytes:
        """The FCI: 6F { 84 name · A5 { 50 label } }."""
        return encode(
            _TAG_FCI,
            encode(_TAG_DF_NAME, context.application.aid),
            encode(_TAG_PROPRIETARY, encode(_TAG_LABEL, _LABEL)),
        )

    def deselect(self, context: Context) -> None:
        """Nothing to do: a pending authentication and a begun lot end with the session."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """One DGI; see `store_grouping`."""
        store_grouping(context, identifier, value, last=last)
