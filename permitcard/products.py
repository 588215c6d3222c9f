"""The products that the front door knows: which applets a card carries, and their profiles."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from card_os.card import Card
    from card_os.hardware.nvm import Nvm
    from card_os.hardware.randomness import Randomness
    from personalization.profile import CardProfile
    from reader_bridge.simulated import CardMaker, SimulatedCard


@cache
def permit_profile() -> CardProfile:
    """Profile of the residence permit."""
    from personalization.profile import CardProfile

    return CardProfile.load(files("applet.permit").joinpath("profile.toml"))


@cache
def sam_profile() -> CardProfile:
    """Profile of the secure access module."""
    from personalization.profile import CardProfile

    return CardProfile.load(files("applet.sam").joinpath("profile.toml"))


def boot(nvm: Nvm, randomness: Randomness | None = None) -> Card:
    """Boot a card whose chip carries the code of all our applications.

    Args:
        nvm: its memory.
        randomness: source of the card's random bytes; the operating system's when absent.
    """
    from applet.permit.applet import PermitApplet
    from applet.sam.applet import SamApplet
    from card_os.card import Card
    from card_os.globalplatform.security_domain import SecurityDomain

    return Card(nvm, (PermitApplet, SamApplet), randomness=randomness, security_domain=SecurityDomain)


def card_maker(faults: Path | None = None) -> CardMaker:
    """What boots our cards.

    Args:
        faults: a fault plan; None for cards that do what they should.

    Raises:
        ReaderError: the plan cannot be read or makes no sense.
    """
    if faults is None:
        return boot
    from reader_bridge.fault_plan import FaultPlan
    from reader_bridge.faults import with_faults

    return with_faults(boot, FaultPlan.load(faults))


def open_simulated(path: str | PathLike[str], faults: Path | None = None) -> SimulatedCard:
    """Open a card file.

    Args:
        path: the card file.
        faults: a fault plan; None for none.

    Raises:
        ReaderError: missing, in use, damaged, or of a later version; the plan makes no sense.
    """
    from reader_bridge.simulated import open_card

    return open_card(path, card_maker(faults))
