"""The issuer security domain: the application through which the card issuer manages the card.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7 (security domains) and 11 (commands); Amendment D v1.1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar

from card_os.applet_api import Context, Instruction, Platform, instruction_table
from card_os.globalplatform.authentication import external_authenticate, initialize_update
from card_os.globalplatform.content_management import delete, install
from card_os.globalplatform.data_objects import get_data
from card_os.globalplatform.domain_session import open_domain_session
from card_os.globalplatform.key_management import put_key
from card_os.globalplatform.life_cycle import set_status
from card_os.globalplatform.personalization import store_data
from card_os.globalplatform.r_mac_session import begin_r_mac_session, end_r_mac_session
from card_os.globalplatform.registry import DOMAIN_MODULE_AID, DOMAIN_PACKAGE_AID
from card_os.globalplatform.registry_listing import get_status
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NC
from card_os.iso7816.errors import ConditionsNotSatisfied


class _FciTag(IntEnum):
    """File control information of a security domain (table 11-81)."""

    FCI = 0x6F
    DF_NAME = 0x84
    PROPRIETARY = 0xA5
    MAX_COMMAND_DATA = 0x9F65


class IssuerDomain:
    """Code of the issuer security domain; see `Applet`.

    Args:
        platform: what the card offers to security domains.
    """

    __slots__ = ("_platform",)

    package_aid: ClassVar[bytes] = DOMAIN_PACKAGE_AID
    module_aid: ClassVar[bytes] = DOMAIN_MODULE_AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        Instruction(0x50, "INITIALIZE UPDATE", initialize_update, proprietary=True),
        Instruction(0x78, "END R-MAC SESSION", end_r_mac_session, proprietary=True),
        Instruction(0x7A, "BEGIN R-MAC SESSION", begin_r_mac_session, proprietary=True),
        Instruction(0x82, "EXTERNAL AUTHENTICATE", external_authenticate, proprietary=True, opens_secure_channel=True),
        Instruction(0xCA, "GET DATA", get_data),
        Instruction(0xCA, "GET DATA", get_data, proprietary=True),
        Instruction(0xD8, "PUT KEY", put_key, proprietary=True),
        Instruction(0xE2, "STORE DATA", store_data, proprietary=True),
        Instruction(0xE4, "DELETE", delete, proprietary=True),
        Instruction(0xE6, "INSTALL", install, proprietary=True),
        Instruction(0xF0, "SET STATUS", set_status, proprietary=True),
        Instruction(0xF2, "GET STATUS", get_status, proprietary=True),
    )

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def install(self, context: Context, parameters: bytes) -> None:
        """Nothing to make: manufacture puts the domain and its first keys on the card."""

    def select(self, context: Context) -> bytes:
        """FCI: AID and the longest command data field; tells nothing of the card (11.9.3.1)."""
        open_domain_session(context, self._platform)
        longest = tlv.encode(_FciTag.MAX_COMMAND_DATA, bytes((MAX_SHORT_NC,)))
        name = tlv.encode(_FciTag.DF_NAME, context.application.aid)
        return tlv.encode(_FciTag.FCI, name, tlv.encode(_FciTag.PROPRIETARY, longest))

    def deselect(self, context: Context) -> None:
        """The session goes with the channel's state."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """Never personalized as an application.

        Raises:
            ConditionsNotSatisfied: 6985.
        """
        del context, value, last
        raise ConditionsNotSatisfied(f"the issuer domain takes its data itself, not as grouping {identifier:04X}")
