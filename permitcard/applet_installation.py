"""Installs applications by name on a specimen or a blank, through its issuer domain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from permitcard.applets import applet_named
from permitcard.products import boot
from permitcard.specimen import specimen_keys
from personalization.errors import PersonalizationError
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from reader_bridge.simulated import SimulatedCard

if TYPE_CHECKING:
    from card_os.applet_api import Applet
    from card_os.card import Card
    from card_os.hardware.nvm import Nvm

_NO_PRIVILEGES: Final = b"\x00"


@dataclass(frozen=True, slots=True)
class WantedApplet:
    """An application that a card is to get.

    Attributes:
        name: its name among the known ones.
        code: its class.
        parameters: install parameters, value of tag C9.
    """

    name: str
    code: type[Applet]
    parameters: bytes = b""

    @classmethod
    def parse(cls, text: str) -> WantedApplet:
        """From a name, or from name=parameters in hexadecimal.

        Raises:
            PersonalizationError: "applet-unknown", "applet-broken", or "applet-parameters".
        """
        name, _, digits = text.partition("=")
        try:
            parameters = bytes.fromhex(digits)
        except ValueError as error:
            raise PersonalizationError("applet-parameters", exit_code=2, name=name) from error
        return cls(name, applet_named(name), parameters)

    @property
    def instance(self) -> bytes:
        """Its name on the card: that of the module."""
        return bytes(self.code.module_aid)


def install_applets(card: SimulatedCard, wanted: Iterable[WantedApplet], card_number: bytes, keys: KeyName) -> None:
    """INSTALL [for install and make selectable] of each in turn, over contact.

    Args:
        card: a specimen or a blank, with nothing connected to it.
        wanted: what it is to get.
        card_number: its number, 10 bytes.
        keys: `KeyName.FACTORY` of a blank, `KeyName.CARD` of a specimen.

    Raises:
        PersonalizationError: the card refuses one; the code names the status word.
    """
    chosen = tuple(wanted)
    if not chosen:
        return
    foreign = tuple(dict.fromkeys(each.code for each in chosen))

    def make(nvm: Nvm) -> Card:
        return boot(nvm, foreign=foreign)

    with SimulatedCard(card.image, make, card.name).connect() as connection:
        session = SecureSession.open(connection, issuer_domain_keys(specimen_keys(), keys, card_number))
        for each in chosen:
            try:
                session.install(
                    package_aid=each.code.package_aid,
                    module_aid=each.code.module_aid,
                    instance_aid=each.instance,
                    privileges=_NO_PRIVILEGES,
                    parameters=each.parameters,
                )
            except PersonalizationError as error:
                sw = error.parameters.get("sw", error.code)
                raise PersonalizationError("applet-refused", name=each.name, sw=sw) from error
