"""Logical channels: what one channel of one interface remembers between two commands.

Source: ISO/IEC 7816-4:2020, clause 5.5 (logical channels).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from card_os.applet_api import Applet, Context, Instruction
    from card_os.chaining import CommandChain, CutCommand
    from card_os.iso7816.status import StatusWord

CHANNEL_COUNT: Final = 20
"""Channels that can be open on one interface: all that the class byte codes, 0 to 19."""

NO_INSTRUCTIONS: Final[Mapping[tuple[bool, int], Instruction]] = {}


class Channel:
    """Volatile state of one logical channel.

    Attributes:
        number: 0..19; 0 is the basic channel.
        applet: code of the selected application, None when none is selected.
        context: its context, None when none is selected.
        instructions: its command table.
        chain: commands of a chain that has not ended.
        cut: pieces of a command whose last piece has not come.
        pending: response data that waits for GET RESPONSE.
        pending_sw: status word that ends it.
    """

    __slots__ = ("applet", "chain", "context", "cut", "instructions", "number", "pending", "pending_sw")

    def __init__(self, number: int) -> None:
        self.number = number
        self.applet: Applet | None = None
        self.context: Context | None = None
        self.instructions: Mapping[tuple[bool, int], Instruction] = NO_INSTRUCTIONS
        self.chain: CommandChain | None = None
        self.cut: CutCommand | None = None
        self.pending = b""
        self.pending_sw: StatusWord | None = None

    @property
    def secured(self) -> bool:
        """True while commands of the selected application come by secure messaging."""
        return self.context is not None and self.context.session.secure_channel is not None

    def clear_application(self) -> None:
        """No application is selected any more; session, keys, proofs and what waited are gone."""
        self.applet = None
        self.context = None
        self.instructions = NO_INSTRUCTIONS
        self.chain = self.cut = None
        self.pending, self.pending_sw = b"", None
