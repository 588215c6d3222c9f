"""What a station makes: a permit, or a SAM, as recipes of the production engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from permitcard.products import permit_profile, sam_profile
from personalization.globalplatform.commands import DataGrouping
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.card_keys import CardKeys, issuer_domain_keys
from personalization.preparation.record import PreparedRecord
from personalization.production.maker import Recipe
from personalization.profile import CardProfile

Groupings = Callable[[object, bytes], list[DataGrouping]]
"""What STORE DATA brings, for a prepared record and a card number."""

_NO_PRIVILEGES: Final = b"\x00"


def permit_recipe(keys: KeyStore) -> Recipe:
    """A permit from a `PreparedRecord`."""
    card_keys = CardKeys(permit_profile(), keys)

    def groupings(record: object, card_number: bytes) -> list[DataGrouping]:
        if not isinstance(record, PreparedRecord):
            raise TypeError(f"a permit is made from a PreparedRecord, not from {type(record).__name__}")
        return card_keys.permit_groupings(record, card_number)

    return _recipe(permit_profile(), keys, groupings)


def sam_recipe(keys: KeyStore) -> Recipe:
    """A SAM; it needs no record."""
    card_keys = CardKeys(sam_profile(), keys)

    def groupings(record: object, card_number: bytes) -> list[DataGrouping]:
        del record
        return card_keys.sam_groupings(card_number)

    return _recipe(sam_profile(), keys, groupings)


def _recipe(profile: CardProfile, keys: KeyStore, groupings: Groupings) -> Recipe:
    application = profile.application
    return Recipe(
        package=application.package,
        module=application.module,
        instance=application.instance,
        privileges=_NO_PRIVILEGES,
        parameters=profile.install_parameters,
        groupings=groupings,
        factory_keys=lambda number: issuer_domain_keys(keys, KeyName.FACTORY, number),
        card_keys=lambda number: issuer_domain_keys(keys, KeyName.CARD, number),
    )


def untimed(step: str) -> None:
    """A step timer for cards that are made one at a time."""
    del step
