"""Sends commands to a card at an address and prints what came back: address_client.py ADDRESS COMMAND...

WAIT pauses for a line. After an error the code is printed, and the next command is tried after a reset.
"""

from __future__ import annotations

import sys

from reader_bridge.addresses import ConnectionFactory
from reader_bridge.connection import ReaderError
from tests.doubles.new_card import power_when_seen

connection = ConnectionFactory().connect(sys.argv[1])
try:
    power_when_seen(connection)
    with connection:
        for command in sys.argv[2:]:
            if command == "WAIT":
                print("waiting", flush=True)  # noqa: T201 - tells the test
                sys.stdin.readline()
            else:
                print(connection.transmit(bytes.fromhex(command)).hex(), flush=True)  # noqa: T201 - same
except ReaderError as error:
    print(error.code, flush=True)  # noqa: T201 - same
