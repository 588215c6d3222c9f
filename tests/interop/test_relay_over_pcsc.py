"""A relay in front of a card, offered through the real PC/SC stack and over TCP to other people's programs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from permitcard.specimen import make_blank_specimen
from reader_bridge.connection import Interface
from reader_bridge.offering import ConnectionServer
from reader_bridge.relay import RelayConnection
from reader_bridge.relay_rules import RelayRules
from reader_bridge.remote import RemoteConnection
from reader_bridge.remote_protocol import new_token
from reader_bridge.trace.record import Hidden, Kind
from reader_bridge.trace.recorder import TraceRecorder
from reader_bridge.trace.replay import ReplayConnection

SELECT = "00A4040008A00000015100000000"
COUNTER = "80CA00C100"
RULES = """
[[rule]]
action = "answer"
ins = "CA"
p2 = "C1"
after = 1
response = "C1030000FF 9000"
"""


def ask(server: ConnectionServer, *commands: str) -> str:
    """What opensc-tool prints for some commands to the first reader."""
    if shutil.which("opensc-tool") is None:
        pytest.skip("opensc-tool is not installed")
    arguments = [part for command in commands for part in ("-s", command)]
    return subprocess.run(
        ["opensc-tool", "-r", "0", *arguments],
        env={**os.environ, **server.client_variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_rules_act_on_what_a_pcsc_program_sends_and_the_trace_replays_it() -> None:
    card, _ = make_blank_specimen()
    recorder = TraceRecorder(Hidden.NOTHING)
    with card:
        relay = RelayConnection(recorder.watch(card.connect()), RelayRules.parse(RULES))
        with ConnectionServer([relay]) as server:
            server.offer_own_pcsc()
            shown = ask(server, SELECT, COUNTER, COUNTER)
    assert "C1 03 00 00 FF" in shown
    assert relay.acted == 1
    trace = recorder.trace()
    commands = [entry.sent.data.hex().upper() for entry in trace.entries if entry.kind is Kind.APDU]
    assert commands.count(COUNTER) == 1  # the second one was answered on the way
    assert SELECT in commands
    with ConnectionServer([ReplayConnection(trace)]) as again:
        again.offer_own_pcsc()
        replayed = ask(again, SELECT, COUNTER)
    assert replayed.splitlines()[:3] == shown.splitlines()[:3]


def test_a_relay_without_rules_is_the_card_over_tcp() -> None:
    card, _ = make_blank_specimen()
    token = new_token()
    with card, card.connect() as direct:
        expected = [direct.transmit(bytes.fromhex(command)) for command in (SELECT, COUNTER)]
        direct.reset()
        relays = [RelayConnection(card.connect(interface)) for interface in Interface]
        with ConnectionServer(relays) as server:
            server.offer_remote(token)
            assert server.remote_port is not None
            with RemoteConnection("127.0.0.1", server.remote_port, token, Interface.CONTACT) as remote:
                assert [remote.transmit(bytes.fromhex(command)) for command in (SELECT, COUNTER)] == expected
