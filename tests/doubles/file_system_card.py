"""The default file system card, made as an issuing centre would: INSTALL, STORE DATA, CREATE FILE."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from applet.file_system import aid
from applet.file_system.applet import FileSystemApplet
from applet.file_system.sample import HOLDER_PIN, MF_RULES, sample_commands
from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.security_domain import SecurityDomain
from card_os.hardware.chip import DEFAULT_CHIP, Chip
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.manufacture import manufacture
from personalization.globalplatform.commands import DataGrouping
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from reader_bridge.simulated import SimulatedCard, create_card

KEY: Final = bytes(range(0x40, 0x50))
DEFAULT_SELECTED: Final = b"\x04"
PIN_BLOCK: Final = bytes.fromhex("241234FFFFFFFFFF")


def boot(nvm: Nvm) -> Card:
    """A card with the code of the file system."""
    return Card(nvm, (FileSystemApplet,), randomness=SeededRandomness(7), security_domain=SecurityDomain)


def factory(nvm: Nvm) -> None:
    """A blank card."""
    manufacture(nvm, ProductionData(ic_serial_number=0x01020304), KeySet(0xFF, KEY, KEY, KEY))


def new_file_system_card(
    path: Path | None = None, rules: bytes = MF_RULES, *, chip: Chip | str = DEFAULT_CHIP
) -> SimulatedCard:
    """The file system as default selected application, with the sample in it and PIN 1234.

    Args:
        path: file of the card, None for memory.
        rules: rules of the MF.
        chip: its chip.
    """
    card = create_card(path, boot, chip, manufacture=factory)
    with card.connect() as connection:
        session = SecureSession.open(connection, StaticKeys(0xFF, KEY, KEY, KEY))
        session.install(
            package_aid=aid.PACKAGE,
            module_aid=aid.MODULE,
            instance_aid=aid.INSTANCE,
            privileges=DEFAULT_SELECTED,
            parameters=rules,
        )
        pin = bytes((HOLDER_PIN, 1, 3)) + PIN_BLOCK
        session.personalize(aid.INSTANCE, [DataGrouping(0x8010, pin, encrypted=True)])
    if rules == MF_RULES:
        with card.connect() as connection:
            for command in sample_commands():
                answer = connection.transmit(command.encode())
                if answer != b"\x90\x00":
                    raise AssertionError(f"{command!r}: {answer.hex()}")
    return card
