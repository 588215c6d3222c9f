"""The residence permit as an application of the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from applet.permit import aid
from applet.permit.commands import PERMIT_INSTRUCTIONS
from applet.permit.personalize import create_stage, store_grouping
from applet.permit.status import create_date
from card_os.iso7816.errors import WrongData
from card_os.iso7816.tlv import encode

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction

_TAG_FCI: Final = 0x6F
_TAG_DF_NAME: Final = 0x84
_TAG_PROPRIETARY: Final = 0xA5
_TAG_LABEL: Final = 0x50
_LABEL: Final = b"RESIDENCE PERMIT"


class PermitApplet:
    """Identity, service and bank section under one name; implements `card_os.applet_api.Applet`."""

    __slots__ = ()

    package_aid: ClassVar[bytes] = aid.PACKAGE
    module_aid: ClassVar[bytes] = aid.MODULE
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = PERMIT_INSTRUCTIONS

    def install(self, context: Context, parameters: bytes) -> None:
        """Create what an empty permit needs: stage of personalization and told date.

        Raises:
            WrongData: 6A80, the permit has no install parameters.
        """
        if parameters:
            raise WrongData("the permit has no install parameters")
        create_stage(context)
        create_date(context)

    def select(self, context: Context) -> bytes:
        """The FCI: 6F { 84 name · A5 { 50 label } }, the same on every permit and in every state."""
        return encode(
            _TAG_FCI,
            encode(_TAG_DF_NAME, context.application.aid),
            encode(_TAG_PROPRIETARY, encode(_TAG_LABEL, _LABEL)),
        )

    def deselect(self, context: Context) -> None:
        """Nothing to do: proofs, challenge and secure messaging end with the session."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """One DGI; see `store_grouping`."""
        store_grouping(context, identifier, value, last=last)
