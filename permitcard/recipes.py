"""What a station makes: a permit or a SAM, and what tries out the file system, as recipes of the production engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from permitcard.products import permit_profile, sam_profile
from personalization.globalplatform.commands import DataGrouping
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.card_keys import CardKeys, issuer_domain_generations
from personalization.preparation.record import PreparedRecord
from personalization.production.maker import Recipe
from personalization.profile import CardProfile
from personalization.terminal.holder import pin_block

Groupings = Callable[[object, bytes], list[DataGrouping]]
"""What STORE DATA brings, for a prepared record and a card number."""

_NO_PRIVILEGES: Final = b"\x00"
_DGI_PINS: Final = 0x8010
_PIN_TRIES: Final = 3
SPECIMEN_PIN: Final = "246802"
"""The published PIN of holders of specimens."""


def permit_recipe(keys: KeyStore, profile: CardProfile | None = None) -> Recipe:
    """A permit from a `PreparedRecord`; by default with the profile that citizens' permits have."""
    made = profile or permit_profile()
    card_keys = CardKeys(made, keys)

    def groupings(record: object, card_number: bytes) -> list[DataGrouping]:
        if not isinstance(record, PreparedRecord):
            raise TypeError(f"a permit is made from a PreparedRecord, not from {type(record).__name__}")
        return card_keys.permit_groupings(record, card_number)

    return _recipe(made, keys, groupings)


def sam_recipe(keys: KeyStore) -> Recipe:
    """A SAM; it needs no record."""
    card_keys = CardKeys(sam_profile(), keys)

    def groupings(record: object, card_number: bytes) -> list[DataGrouping]:
        del record
        return card_keys.sam_groupings(card_number)

    return _recipe(sam_profile(), keys, groupings)


def file_system_recipe(keys: KeyStore) -> Recipe:
    """The file system for try-outs: everybody may do everything in its MF, and its PIN is that of the specimen."""
    from applet.file_system import aid
    from applet.file_system.sample import HOLDER_PIN, MF_RULES

    pin = bytes((HOLDER_PIN, 1, _PIN_TRIES)) + pin_block(SPECIMEN_PIN)

    def groupings(record: object, card_number: bytes) -> list[DataGrouping]:
        del record, card_number
        return [DataGrouping(_DGI_PINS, pin, encrypted=True)]

    return Recipe(
        package=aid.PACKAGE,
        module=aid.MODULE,
        instance=aid.INSTANCE,
        privileges=_NO_PRIVILEGES,
        parameters=MF_RULES,
        groupings=groupings,
        factory_keys=lambda number: issuer_domain_generations(keys, KeyName.FACTORY, number),
        card_keys=lambda number: issuer_domain_generations(keys, KeyName.CARD, number),
    )


def _recipe(profile: CardProfile, keys: KeyStore, groupings: Groupings) -> Recipe:
    application = profile.application
    return Recipe(
        package=application.package,
        module=application.module,
        instance=application.instance,
        privileges=_NO_PRIVILEGES,
        parameters=profile.install_parameters,
        groupings=groupings,
        factory_keys=lambda number: issuer_domain_generations(keys, KeyName.FACTORY, number),
        card_keys=lambda number: issuer_domain_generations(keys, KeyName.CARD, number),
    )


def untimed(step: str) -> None:
    """A step timer for cards that are made one at a time."""
    del step
