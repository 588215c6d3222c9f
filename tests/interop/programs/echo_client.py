"""Sends commands to an echo card and checks every answer: echo_client.py READER PROTOCOL COUNT LONGEST SEED.

Prints the number of right answers; a wrong one ends the program.
"""

from __future__ import annotations

import sys
import time
from random import Random

from reader_bridge.connection import Protocol7816, ReaderError
from reader_bridge.pcsc import PcscConnection
from tests.doubles.echo_card import answer, commands

reader, protocol, count, longest, seed = sys.argv[1], Protocol7816(sys.argv[2]), *map(int, sys.argv[3:])
random, right = Random(seed), 0
connection = PcscConnection(reader, protocol=protocol)
deadline = time.monotonic() + 60
while True:
    try:
        connection.power_on()
    except ReaderError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
    else:
        break
with connection:
    if connection.description.protocol is not protocol:
        raise SystemExit(f"{connection.description.protocol} instead of {protocol}")
    longest_read = 256 if protocol is Protocol7816.T0 else None  # by T=0 a card does not see a longer Ne
    made = commands(random, min(count, 2_000), longest, longest_read)
    known = [(command.encode(), answer(command)) for command in made]
    while right < count:
        for command, expected in known[: count - right]:
            began = time.monotonic()
            try:
                got = connection.transmit(command)
            except ReaderError as error:
                spent = time.monotonic() - began
                raise SystemExit(
                    f"{error} at answer {right + 1}, to {command[:5].hex()}, after {spent:.3f} s"
                ) from error
            if got != expected:
                raise SystemExit(f"wrong answer {right + 1}: {len(got)} bytes to {command[:5].hex()}")
            right += 1
print(right)  # noqa: T201 - tells the test
