"""Sends commands to a reader and prints what came back: client_program.py READER COMMAND..., WAIT pauses for a line."""

from __future__ import annotations

import sys
import time

from reader_bridge.connection import ReaderError
from reader_bridge.pcsc import PcscConnection


def power(connection: PcscConnection) -> None:
    """A card that came just now is in its reader when the service looks next; a busy machine takes its time."""
    deadline = time.monotonic() + 30
    while True:
        try:
            connection.power_on()
        except ReaderError as error:
            if error.code != "no-card" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


try:
    connection = PcscConnection(sys.argv[1])
    power(connection)
    with connection:
        for command in sys.argv[2:]:
            if command == "WAIT":
                print("waiting", flush=True)  # noqa: T201 - tells the test
                sys.stdin.readline()
            else:
                print(connection.transmit(bytes.fromhex(command)).hex(), flush=True)  # noqa: T201 - same
except ReaderError as error:
    print(error.code, flush=True)  # noqa: T201 - same
