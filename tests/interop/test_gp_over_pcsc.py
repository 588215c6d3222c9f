"""``permitcard gp`` through the real PC/SC stack: a served card behind pcscd is managed as one in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from reader_bridge.readers import list_readers
from reader_bridge.serving import CardServer
from tests.console.gp_line import GpLine
from tests.interop.conftest import KEY
from tests.interop.test_pcsc_stack import CONTACT, CONTACTLESS, wait_for

FORGED = "00112233445566778899AABBCCDDEEFF"


@pytest.fixture
def gp(
    served_card: CardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> GpLine:
    assert wait_for(lambda: len(found := list_readers()) == 2 and all(reader.answer for reader in found))
    monkeypatch.setenv("PERMITCARD_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PERMITCARD_GP_KEY", raising=False)
    return GpLine(capsys)


@pytest.mark.parametrize("reader", [CONTACT, CONTACTLESS])
def test_the_registry_of_a_served_card(gp: GpLine, reader: str) -> None:
    card = ("--card", f"pcsc:{reader}")
    assert gp("gp", "info", *card, "--json").document["globalplatform"] == "2.3.1"
    listed = gp("gp", "list", *card, "--key", KEY.hex(), "--json")
    assert listed.code == 0, listed.err
    assert listed.document["issuer_domains"][0]["aid"] == "A000000151000000"
    assert listed.document["applications"]


def test_wrong_keys_cost_a_served_card_nothing(gp: GpLine) -> None:
    card = ("--card", f"pcsc:{CONTACT}")
    for _ in range(12):
        assert gp("gp", "list", *card, "--key", FORGED, "--json").error.startswith(
            ("no-key-set-fits", "authentication-")
        )
    assert gp("gp", "forgive", *card).code == 0
    assert gp("gp", "list", *card, "--key", KEY.hex()).code == 0
