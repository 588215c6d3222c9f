"""Security domains: the applications through which an issuer or a provider manages the card and what is on it.

One code for all of them: what a domain may do is in its registry entry.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7 (security domains) and 11 (commands); Amendment D v1.1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar

from card_os.applet_api import Context, Instruction, Platform, instruction_table
from card_os.globalplatform.authentication import authenticate, initialize_update
from card_os.globalplatform.channel_policy import load_policy, store_policy
from card_os.globalplatform.content_management import install
from card_os.globalplatform.data_objects import get_data, get_value, store_objects
from card_os.globalplatform.domain_session import domain_session, open_domain_session
from card_os.globalplatform.key_agreement import internal_authenticate, perform_security_operation
from card_os.globalplatform.key_management import put_key
from card_os.globalplatform.keys import key_versions
from card_os.globalplatform.life_cycle import set_status
from card_os.globalplatform.load import load
from card_os.globalplatform.personalization import TEMPLATE_GROUPING, store_data, store_grouping
from card_os.globalplatform.r_mac_session import begin_r_mac_session, end_r_mac_session
from card_os.globalplatform.registry import (
    DOMAIN_MODULE_AID,
    DOMAIN_PACKAGE_AID,
    ISSUER_DOMAIN,
    ApplicationLifeCycle,
)
from card_os.globalplatform.registry_listing import get_status
from card_os.globalplatform.removal import delete
from card_os.globalplatform.secure_channel import is_piece, is_piece_of_keys
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NC, CommandApdu
from card_os.iso7816.errors import WrongData


class _FciTag(IntEnum):
    """File control information of a security domain (table 11-81)."""

    FCI = 0x6F
    DF_NAME = 0x84
    PROPRIETARY = 0xA5
    MAX_COMMAND_DATA = 0x9F65


def _put_key(context: Context, command: CommandApdu) -> bytes:
    """PUT KEY; the first whole key set makes a supplementary domain PERSONALIZED (5.3.2.3)."""
    domain = context.application
    with context.store.transaction():
        answer = put_key(context, command)
        if (
            domain.owner != ISSUER_DOMAIN
            and domain.life_cycle == ApplicationLifeCycle.SELECTABLE
            and key_versions(context.store, domain.owner)
        ):
            domain_session(context).platform.registry.set_life_cycle(domain, ApplicationLifeCycle.PERSONALIZED)
    return answer


class SecurityDomain:
    """Code of security domains; see `Applet`.

    Args:
        platform: what the card offers to security domains.
    """

    __slots__ = ("_platform",)

    package_aid: ClassVar[bytes] = DOMAIN_PACKAGE_AID
    module_aid: ClassVar[bytes] = DOMAIN_MODULE_AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        Instruction(0x2A, "PERFORM SECURITY OPERATION", perform_security_operation, proprietary=True, stepwise=True),
        Instruction(0x50, "INITIALIZE UPDATE", initialize_update, proprietary=True),
        Instruction(0x78, "END R-MAC SESSION", end_r_mac_session, proprietary=True),
        Instruction(0x7A, "BEGIN R-MAC SESSION", begin_r_mac_session, proprietary=True),
        Instruction(0x82, "EXTERNAL AUTHENTICATE", authenticate, proprietary=True, opens_secure_channel=True),
        Instruction(0x88, "INTERNAL AUTHENTICATE", internal_authenticate, proprietary=True),
        Instruction(0xCA, "GET DATA", get_value),
        Instruction(0xCB, "GET DATA", get_value),
        Instruction(0xCA, "GET DATA", get_data, proprietary=True),
        Instruction(0xD8, "PUT KEY", _put_key, proprietary=True, chaining=True, is_piece=is_piece_of_keys),
        Instruction(0xE2, "STORE DATA", store_data, proprietary=True, chaining=True),
        Instruction(0xE4, "DELETE", delete, proprietary=True, is_piece=is_piece),
        Instruction(0xE6, "INSTALL", install, proprietary=True, is_piece=is_piece),
        Instruction(0xE8, "LOAD", load, proprietary=True),
        Instruction(0xF0, "SET STATUS", set_status, proprietary=True),
        Instruction(0xF2, "GET STATUS", get_status, proprietary=True),
    )

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def install(self, context: Context, parameters: bytes) -> None:
        """Take over the secure channel policy of the associated domain; keys and data come by PUT KEY and STORE DATA.

        Raises:
            WrongData: 6A80, the parameters are no BER-TLV (11.5.2.3.7).
            NotEnoughMemory: 6A84.
        """
        try:
            tlv.parse_all(parameters)
        except tlv.TlvError as error:
            raise WrongData("parameters of a security domain are BER-TLV") from error
        store, application = context.store, context.application
        store_policy(store, application.owner, load_policy(store, application.domain))

    def select(self, context: Context) -> bytes:
        """FCI: AID and the longest command data field; tells nothing of the card (11.9.3.1)."""
        open_domain_session(context, self._platform)
        longest = tlv.encode(_FciTag.MAX_COMMAND_DATA, bytes((MAX_SHORT_NC,)))
        name = tlv.encode(_FciTag.DF_NAME, context.application.aid)
        return tlv.encode(_FciTag.FCI, name, tlv.encode(_FciTag.PROPRIETARY, longest))

    def deselect(self, context: Context) -> None:
        """The session goes with the channel's state; a load file that is not whole gives its memory back."""
        state = domain_session(context)
        if state.loading is not None:
            state.platform.registry.recover()

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """Data that the domain above brings: the grouping 0070, or a data object (11.11.2.3).

        Raises:
            WrongData: 6A80, a grouping or data object that a domain does not keep.
        """
        del last
        if identifier == TEMPLATE_GROUPING:
            store_grouping(context, self._platform, identifier, value)
        else:
            store_objects(context, self._platform, [tlv.Tlv(identifier, value)])
