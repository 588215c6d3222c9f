"""Cards at addresses, with what the environment says of those that other programs serve."""

from __future__ import annotations

import os
from typing import Final

from permitcard.products import boot
from reader_bridge.addresses import ConnectionFactory
from reader_bridge.simulated import CardMaker

TOKEN_VARIABLE: Final = "PERMITCARD_TOKEN"  # noqa: S105 - a variable's name
AUTHORITY_VARIABLE: Final = "PERMITCARD_AUTHORITY"


def card_factory(make: CardMaker = boot, *, exclusive: bool = False) -> ConnectionFactory:
    """Connections for a command: every one of them takes every address.

    Args:
        make: boots simulated cards.
        exclusive: nobody else may speak to a PC/SC card meanwhile.
    """
    environment = os.environ
    return ConnectionFactory(
        make, environment.get(TOKEN_VARIABLE), authority=environment.get(AUTHORITY_VARIABLE), exclusive=exclusive
    )
