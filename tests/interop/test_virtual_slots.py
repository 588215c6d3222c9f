"""Many slots, cards that are changed while in use, and T=0 by ATR, through the real PC/SC service and vpcd."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Final

import pytest

from card_os.answers import DEFAULT_ATR
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816
from reader_bridge.modelled import ModelledConnection
from reader_bridge.pcscd import MAX_SLOTS, PcscService
from reader_bridge.reader_models import reader_model
from reader_bridge.vpcd import VirtualReader
from tests.doubles.echo_card import EchoCard
from tests.interop.test_pcsc_stack import CONTACT, PROGRAMS, environment, line, start, wait_until_missed

CLIENT: Final = [sys.executable, str(PROGRAMS / "echo_client.py")]
T0_ONLY: Final = bytes.fromhex("3B021450")  # pcscd 2.5 finds no protocol in one without historical bytes


def names(service: PcscService) -> list[str]:
    """Readers in the order of their slots."""
    script = "from reader_bridge.pcsc import list_pcsc_readers\nfor reader in list_pcsc_readers(): print(reader.name)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(service), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


def serve_all_slots(count: int, seconds: float) -> None:
    """One process serves a card in every slot, one client uses each: ``count`` commands, again for so many seconds."""
    cards = [EchoCard() for _ in range(MAX_SLOTS)]
    with PcscService(slots=MAX_SLOTS) as service, VirtualReader(cards, service.ports, one_card=False) as reader:
        reader.wait_until_inserted(60)
        readers = names(service)
        assert len(readers) == MAX_SLOTS
        deadline = time.monotonic() + seconds
        while True:
            with ExitStack() as running:
                clients = [
                    running.enter_context(
                        subprocess.Popen(
                            [
                                *CLIENT,
                                name,
                                "T=1",
                                str(count),
                                "255",
                                str(seed),
                            ],
                            env=environment(service),
                            stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE,
                            text=True,
                        )
                    )
                    for seed, name in enumerate(readers)
                ]
                for client in clients:
                    told, errors = client.communicate(timeout=300)
                    assert told.strip() == str(count), errors
            if time.monotonic() >= deadline:
                break
        assert reader.failure is None


def test_sixteen_slots_have_sixteen_clients() -> None:
    serve_all_slots(100, 0)


@pytest.mark.long
def test_sixteen_slots_have_sixteen_clients_for_a_minute() -> None:
    serve_all_slots(2_000, 60)


@pytest.mark.clause("ISO/IEC 7816-3, 8.2.3 and 12.2: an ATR that names no protocol is T=0, by TPDUs")
def test_the_atr_chooses_the_protocol() -> None:
    with PcscService() as service, VirtualReader([EchoCard()], service.port, atr=T0_ONLY) as reader:
        reader.wait_until_inserted(60)
        client = [*CLIENT, CONTACT, "T=0", "300", "255", "3"]
        done = subprocess.run(
            client, env=environment(service), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.strip() == "300", done.stderr
        refused = start(service, "address_client.py", f"pcsc,t1:{CONTACT}", "00B0000001")
        with refused:
            assert line(refused) == "protocol-mismatch"


def test_a_card_is_changed_while_it_is_in_use() -> None:
    other = bytes.fromhex("3B800181")
    with PcscService() as service, VirtualReader([EchoCard(DEFAULT_ATR)], service.port) as reader:
        reader.wait_until_inserted(60)
        slot = reader.slots[0]
        with start(service, "address_client.py", f"pcsc:{CONTACT}", "00B0000001", "WAIT", "00B0000001") as client:
            assert len(line(client)) == 6
            assert line(client) == "waiting"
            slot.remove_card()
            wait_until_missed(service, CONTACT)
            slot.insert_card(EchoCard(other))
            assert slot.wait_until_inserted(60)
            assert client.stdin
            client.stdin.write("\n")
            client.stdin.flush()
            assert line(client) in {"card-removed", "card-reset", "reader-removed"}
        with start(service, "address_client.py", f"pcsc:{CONTACT}", "00B0000001") as client:
            assert len(line(client)) == 6


def test_a_reader_model_stands_before_the_slot() -> None:
    ats = bytes.fromhex("0578807002")
    field = EchoCard(ats)
    field.description = ConnectionDescription("echo", Interface.CONTACTLESS, Protocol7816.TCL, ats)
    card = ModelledConnection(field, reader_model("acs-acr122u"))
    with PcscService() as service, VirtualReader([card], service.port) as reader:
        reader.wait_until_inserted(60)
        commands = ("FFCA000000", "00D6000000012C" + "00" * 300, "00B0000001")
        with start(service, "address_client.py", f"pcsc:{CONTACT}", *commands) as client:
            assert [line(client) for _ in range(2)] == ["6a81", "6700"]
            assert len(line(client)) == 6
