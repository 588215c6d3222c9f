"""Plays the desk's play on a card behind addresses: desk_program.py CONTACT-ADDRESS CONTACTLESS-ADDRESS MODE."""

# ruff: noqa: T201 - it tells the test

from __future__ import annotations

import json
import sys

from permitcard.products import boot
from reader_bridge.addresses import ConnectionFactory
from reader_bridge.connection import CardConnection, Interface
from tests.unit.personalization.desk.desk_play import play

MODES = {"contact": [Interface.CONTACT], "contactless": [Interface.CONTACTLESS], "dual": list(Interface)}


def main() -> None:
    addresses = {Interface.CONTACT: sys.argv[1], Interface.CONTACTLESS: sys.argv[2]}
    factory = ConnectionFactory(make=boot)

    def connect(interface: Interface) -> CardConnection:
        return factory.connect(addresses[interface])

    for shown in play(connect, MODES[sys.argv[3]]):
        print(json.dumps(shown), flush=True)


main()
