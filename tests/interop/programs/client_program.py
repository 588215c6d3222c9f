"""Sends commands to a reader and prints what came back: client_program.py READER COMMAND..., WAIT pauses for a line."""

from __future__ import annotations

import sys

from reader_bridge.connection import ReaderError
from reader_bridge.pcsc import PcscConnection
from tests.doubles.new_card import power_when_seen

try:
    connection = PcscConnection(sys.argv[1])
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
