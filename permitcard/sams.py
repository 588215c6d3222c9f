"""The centre's SAM cards: made by the same means as permits, one for each station that inspects.

    centre/sams/sam-01.card, sam-02.card, …

A station takes the first that nobody else has open, or makes another.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.blanks import make_blank
from permitcard.products import boot, open_simulated, sam_profile
from permitcard.recipes import sam_recipe, untimed
from personalization.atomic_file import write_atomically
from personalization.keys.keystore import KeyName, KeyStore
from personalization.production.maker import GlobalPlatformMaker
from personalization.terminal.sam import SamSession
from reader_bridge.connection import Interface, ReaderError
from reader_bridge.simulated import SimulatedCard

SAM_BATCH: Final = 0xFF00
"""IC batch of SAM chips, apart from those of permits."""

_MOST_SAMS: Final = 99
_IN_USE: Final = "image-in-use"


def personalize_sam(card: SimulatedCard, keys: KeyStore, card_number: bytes) -> None:
    """Turn a blank card into a SAM that holds the masters of all roles.

    Raises:
        CardFault: the card refuses a step.
    """
    with card.connect(Interface.CONTACT) as connection:
        GlobalPlatformMaker(sam_recipe(keys)).make(connection, None, card_number, untimed)


def new_sam(keys: KeyStore, serial: int, *, chip: str = DEFAULT_CHIP) -> SimulatedCard:
    """A SAM card in memory; it stays open.

    Args:
        keys: store with the masters, which leave it for this card only.
        serial: IC serial number among the SAM chips.
        chip: name of the chip geometry.

    Raises:
        CardFault: the card refuses a step.
    """
    image, card_number = make_blank(None, keys, SAM_BATCH, serial, dt.datetime.now(dt.UTC).date(), chip=chip)
    card = SimulatedCard(image, boot, "sim")
    personalize_sam(card, keys, card_number)
    return card


def make_sam(path: Path, keys: KeyStore, serial: int) -> None:
    """Make a SAM card file; it appears whole, so that nobody opens one that is half made, also after a kill.

    Args:
        path: card file.
        keys: store with the masters, which leave it for this card only.
        serial: IC serial number among the SAM chips.

    Raises:
        FileExistsError: another station was faster.
        CardFault: the card refuses a step.
    """
    with new_sam(keys, serial) as card:
        write_atomically(path, card.image.snapshot(), replace=False)


def take_sam(folder: Path, keys: KeyStore) -> SimulatedCard:
    """Open the first SAM that nobody else has open; make one when there is none.

    Raises:
        ReaderError: "no-sam-free", all are in use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for serial in range(1, _MOST_SAMS + 1):
        path = folder / f"sam-{serial:02d}.card"
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                make_sam(path, keys, serial)
        try:
            return open_simulated(path)
        except ReaderError as error:
            if error.code != _IN_USE:
                raise
    raise ReaderError("no-sam-free", path=str(folder))


@contextmanager
def open_sam(card: SimulatedCard, keys: KeyStore) -> Generator[SamSession]:
    """An authenticated session with a SAM; the card is closed at the end."""
    terminal = sam_profile().key("terminal")
    label = terminal.label or ""

    def terminal_key(card_number: bytes) -> bytes:
        return keys.derive(KeyName.TERMINAL, label, terminal.derivation_context(card_number), terminal.length)

    with card, card.connect(Interface.CONTACT) as connection:
        yield SamSession.open(connection, terminal_key)
