"""Plays the GlobalPlatform programs of others on a card in a PC/SC reader: gp_programs_client.py CARD READER.

Prints what was played; what a program could not use ends it with a traceback.
"""

from __future__ import annotations

import sys

from reader_bridge.addresses import ConnectionFactory
from tests.doubles.gp_programs import CARDS, Player, ProgramCard, levels_of, programs

card = ProgramCard(CARDS[sys.argv[1]])
for program in programs():
    for level in levels_of(program, card):
        with ConnectionFactory().connect(f"pcsc:{sys.argv[2]}") as connection:
            Player(connection, card).play(program, level)
        print(f"{level:02X} {program.name}", flush=True)  # noqa: T201 - tells the test
        if program.spends:
            sys.exit(0)
