"""Does with a PC/SC reader what it is told by lines, "on" or a command, and answers each: asked_client.py READER."""

from __future__ import annotations

import sys

from reader_bridge.connection import ReaderError
from reader_bridge.pcsc import PcscConnection

connection = PcscConnection(sys.argv[1])
for line in sys.stdin:
    order = line.strip()
    try:
        answer = connection.power_on() if order == "on" else connection.transmit(bytes.fromhex(order))
    except ReaderError as error:
        if error.code in {"card-removed", "card-reset", "transmission-failed", "mute"}:
            connection.power_off()
        print(f"error {error.code}", flush=True)  # noqa: T201 - tells the test
    else:
        print(f"ok {answer.hex()}", flush=True)  # noqa: T201 - same
connection.close()
