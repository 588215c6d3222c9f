"""Serves a card file as a virtual reader until told to die: card_program.py FILE PORT.

INS EE kills this process in the middle of the command.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from card_os.card import Card
from reader_bridge.connection import Interface
from reader_bridge.simulated import SimulatedConnection, open_card
from reader_bridge.vpcd import VirtualReader


class Doomed(SimulatedConnection):
    def transmit(self, command: bytes) -> bytes:
        if command[1] == 0xEE:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().transmit(command)


card = open_card(sys.argv[1], Card)
connection = Doomed(card.card.contact, Interface.CONTACT)
with VirtualReader([connection], int(sys.argv[2])) as reader:
    reader.wait_until_inserted(60)
    print("inserted", flush=True)  # noqa: T201 - tells the test
    time.sleep(600)
