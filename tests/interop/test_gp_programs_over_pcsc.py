"""What GlobalPlatform programs of others send, through the real PC/SC service, to a served card on both interfaces."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reader_bridge.serving import CardServer
from reader_bridge.simulated import create_card
from tests.doubles.gp_programs import CARDS, ProgramCard, programs
from tests.interop.test_pcsc_stack import CONTACT, CONTACTLESS, PROGRAMS, ROOT

READERS = dict(zip(CARDS, (CONTACT, CONTACTLESS, CONTACTLESS, CONTACT), strict=True))


@pytest.mark.parametrize("name", CARDS)
def test_programs_manage_a_served_card(name: str) -> None:
    """Those that leave the card as it was, one after the other, then the first one that spends it."""
    kind = ProgramCard(CARDS[name])
    with create_card(None, kind.boot, manufacture=kind.manufacture) as card, CardServer(card) as server:
        server.offer_own_pcsc()
        done = subprocess.run(
            [sys.executable, str(PROGRAMS / "gp_programs_client.py"), name, READERS[name]],
            env={**server.client_variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    played = {line[3:] for line in done.stdout.splitlines()}
    wanted = {program.name for program in programs() if kind.protocol in program.protocols and not program.spends}
    assert wanted <= played
