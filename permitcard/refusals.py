"""Why a card refuses: commands on a copy of a card file, each with the card's own reason.

A card in the field tells a status word and nothing more. A simulated one knows which rule refused and which proof was
missing; a copy in memory is asked, so that no try is spent and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from card_os.card import Card
from card_os.hardware.nvm import Nvm
from permitcard.products import boot_any, open_simulated
from permitcard.trace_names import card_names
from reader_bridge.connection import Interface, ReaderError
from reader_bridge.simulated import SimulatedCard
from reader_bridge.trace.decode import decode
from reader_bridge.trace.record import Hidden, Kind
from reader_bridge.trace.recorder import TraceRecorder


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one command.

    Attributes:
        title: the command by its name.
        status: status word and its meaning; empty when the card was mute.
        reason: why it did not end with 9000, in the firmware's words; empty when it did.
    """

    title: str
    status: str
    reason: str


def ask_why(path: Path, commands: Sequence[bytes], interface: Interface) -> list[Answered]:
    """Give commands to a copy of a card, and tell why each was refused.

    Args:
        path: the card file, which stays as it is.
        commands: command APDUs, in their order.
        interface: where they come in.

    Raises:
        ReaderError: the card file cannot be used.
    """
    booted: list[Card] = []

    def make(nvm: Nvm) -> Card:
        booted.append(boot_any(nvm))
        return booted[-1]

    recorder = TraceRecorder(Hidden.SECRETS | Hidden.CONTENT)
    reasons: list[str] = []
    with (
        open_simulated(path, foreign=True) as original,
        SimulatedCard(original.image.fork(), make) as copy,
        recorder.watch(copy.connect(interface)) as connection,
    ):
        (card,) = booted
        port = card.contact if interface is Interface.CONTACT else card.contactless
        for command in commands:
            try:
                connection.transmit(command)
            except ReaderError as error:
                reasons.append(error.code)
                continue
            refused = port.last_error
            reasons.append("" if refused is None else refused.reason)
    said = [entry for entry in decode(recorder.trace(), card_names()) if entry.entry.kind is Kind.APDU]
    return [Answered(entry.title, entry.status, reason) for entry, reason in zip(said, reasons, strict=True)]
