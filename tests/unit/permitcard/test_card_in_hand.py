"""Reading a card for a person: the PIN of a card goes to that card and to no other."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from permitcard.card_in_hand import read_card
from permitcard.products import open_simulated, permit_profile
from permitcard.specimen import HOLDER_PIN, make_specimen, specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.errors import PersonalizationError
from personalization.terminal.holder import HolderSession
from reader_bridge.addresses import ConnectionFactory
from reader_bridge.connection import CardConnection, ConnectionDescription

INITIALIZE_UPDATE = 0x50
VERIFY = 0x20


class FalseCard:
    """Claims another number, and has the rest done by a genuine card."""

    def __init__(self, genuine: CardConnection, claimed: bytes) -> None:
        self.genuine = genuine
        self.claimed = claimed
        self.heard: list[bytes] = []

    @property
    def description(self) -> ConnectionDescription:
        return self.genuine.description

    def power_on(self) -> bytes:
        return self.genuine.power_on()

    def reset(self) -> bytes:
        return self.genuine.reset()

    def transmit(self, command: bytes) -> bytes:
        self.heard.append(command)
        answer = self.genuine.transmit(command)
        return self.claimed + answer[len(self.claimed) :] if command[1] == INITIALIZE_UPDATE else answer

    def power_off(self) -> None:
        self.genuine.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


def test_a_card_that_claims_another_number_is_not_told_its_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    card, target = make_specimen(None, 2)
    other, claimed = make_specimen(None, 1)
    other.close()
    with card:
        false = FalseCard(card.connect(), claimed.card_number)

        def connect(_factory: ConnectionFactory, _address: str) -> CardConnection:
            return false

        monkeypatch.setattr(ConnectionFactory, "connect", connect)
        with pytest.raises(PersonalizationError, match="card-not-genuine"):
            read_card("pcsc:false", None, "en")
    assert claimed.card_number != target.card_number
    assert VERIFY not in {command[1] for command in false.heard}


@pytest.mark.parametrize("length", [0, 31, 32, 39])
def test_a_concealed_number_without_its_whole_mac_is_refused(length: int) -> None:
    with pytest.raises(PersonalizationError, match="card-of-another-generation"):
        LaboratorySam(specimen_keys()).reveal(bytes(length))


def test_looking_at_a_card_whose_pin_was_changed_never_blocks_it(tmp_path: Path) -> None:
    path = tmp_path / "one.card"
    card, _ = make_specimen(path)
    with card, card.connect() as connection:
        HolderSession.open(connection, permit_profile()).change(HOLDER_PIN, "975310")
    codes = []
    for _ in range(4):
        with pytest.raises(PersonalizationError) as caught:
            read_card(f"sim:{path}", None, "en")
        codes.append(caught.value.code)
    assert codes == ["pin-changed-since", "pin-changed-since", "pin-last-try", "pin-last-try"]
    with open_simulated(path) as again, again.connect() as connection:
        HolderSession.open(connection, permit_profile()).verify("975310")


def test_a_genuine_card_is_read_as_its_holder_and_as_a_terminal(tmp_path: Path) -> None:
    card, _ = make_specimen(tmp_path / "one.card")
    card.close()
    found = read_card(f"sim:{tmp_path / 'one.card'}", None, "en")
    assert [view.seen_by for view in found.views] == ["holder", "inspection"]
    assert len(found.card_id) == 20
