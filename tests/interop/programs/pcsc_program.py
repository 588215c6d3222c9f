"""Uses PC/SC in one way and prints what happened: pcsc_program.py WAY [READER [PROTOCOL]]."""

# ruff: noqa: T201 - it tells the test

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from reader_bridge.connection import Protocol7816, ReaderError
from reader_bridge.pcsc import Feature, PcscConnection, PcscDirect, PcscMonitor, Property

VERIFY = bytes.fromhex("00200081082FFFFFFFFFFFFFFF")
READ = bytes.fromhex("00B0000003")
HEAD = bytes((30, 30, 0x89, 0x47, 0x04, 12, 4, 2, 1, 9, 4, 0, 0, 0, 0))
STRUCTURE = HEAD + len(VERIFY).to_bytes(4, "little") + VERIFY


def code_of(action: Callable[[], object]) -> str:
    try:
        action()
    except ReaderError as error:
        return error.code
    return "ok"


def pin(reader: str, protocol: str) -> None:
    with PcscConnection(reader, protocol={"t0": Protocol7816.T0, "t1": Protocol7816.T1}[protocol]) as connection:
        for _ in range(3):
            print(connection.verify_pin(STRUCTURE).hex())
        connection.transmit(READ)


def features(reader: str) -> None:
    from reader_bridge.pcsc import list_pcsc_readers

    name = next(found.name for found in list_pcsc_readers() if reader in found.name)
    with PcscDirect(name) as control:
        for feature in control.features():
            print(Feature(feature).name)
        for tag, value in control.properties().items():
            print(Property(tag).name, int.from_bytes(value, "little"))


def control(reader: str) -> None:
    with PcscDirect(reader) as direct:
        print(code_of(lambda: direct.use(Feature.EXECUTE_PACE, b"")))
        print(code_of(lambda: direct.control(0x42000000 + 3999)))


def resets(reader: str) -> None:
    with PcscConnection(reader) as first, PcscConnection(reader) as second:
        print(code_of(first.reset))
        print(code_of(first.cold_reset))
        print(code_of(lambda: second.transmit(READ)))
        print(code_of(second.reconnect))
        print(code_of(lambda: second.transmit(READ)))


def transaction(reader: str) -> None:
    with PcscConnection(reader) as first, PcscConnection(reader) as second:
        done = threading.Event()

        def other() -> None:
            second.transmit(READ)
            done.set()

        with first.transaction():
            thread = threading.Thread(target=other)
            thread.start()
            print("too early" if done.wait(1) else "waited")
        print("after the transaction" if done.wait(30) else "never")
        thread.join()


def monitor() -> None:
    with PcscMonitor() as watching:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                event = watching.next(5)
            except ReaderError as error:
                print(error.code, flush=True)
                return
            if event is not None:
                print(event.change.value, event.reader, flush=True)


WAYS: dict[str, Callable[..., None]] = {
    "pin": pin,
    "features": features,
    "control": control,
    "resets": resets,
    "transaction": transaction,
    "monitor": monitor,
}
try:
    WAYS[sys.argv[1]](*sys.argv[2:])
except ReaderError as error:
    sys.exit(error.code)
