"""The products that the front door knows: which applets a card carries, and their profiles."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from card_os.applet_api import Applet
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
def specimen_profile() -> CardProfile:
    """The same with PINs that are published, and that nobody has to change."""
    profile = permit_profile()
    pins = tuple(row.model_copy(update={"change_first": False}) for row in profile.pins)
    return profile.model_copy(update={"pins": pins})


@cache
def sam_profile() -> CardProfile:
    """Profile of the secure access module."""
    from personalization.profile import CardProfile

    return CardProfile.load(files("applet.sam").joinpath("profile.toml"))


def boot(nvm: Nvm, randomness: Randomness | None = None, *, foreign: Iterable[type[Applet]] = ()) -> Card:
    """Boot a card whose chip carries the code of all our applications.

    Args:
        nvm: its memory.
        randomness: source of the card's random bytes; the operating system's when absent.
        foreign: code of other packages that the chip carries too.
    """
    from card_os.card import Card
    from card_os.globalplatform.security_domain import SecurityDomain
    from permitcard.applets import built_in_applets

    return Card(nvm, (*built_in_applets(), *foreign), randomness=randomness, security_domain=SecurityDomain)


def boot_any(nvm: Nvm, randomness: Randomness | None = None) -> Card:
    """Boot a card of a user, which may hold applications of other packages that are installed."""
    from permitcard.applets import foreign_applets

    return boot(nvm, randomness, foreign=foreign_applets())


def card_maker(faults: Path | None = None) -> CardMaker:
    """What boots the cards of a user.

    Args:
        faults: a fault plan; None for cards that do what they should.

    Raises:
        ReaderError: the plan cannot be read or makes no sense.
    """
    if faults is None:
        return boot_any
    from reader_bridge.fault_plan import FaultPlan
    from reader_bridge.faults import with_faults

    return with_faults(boot_any, FaultPlan.load(faults))


def open_simulated(path: str | PathLike[str], faults: Path | None = None, *, foreign: bool = False) -> SimulatedCard:
    """Open a card file.

    Args:
        path: the card file.
        faults: a fault plan; None for none.
        foreign: whether the card may hold applications of other packages, whose code is loaded then.

    Raises:
        ReaderError: missing, in use, damaged, or of a later version; the plan makes no sense.
    """
    from reader_bridge.simulated import open_card

    return open_card(path, card_maker(faults) if foreign or faults is not None else boot)
