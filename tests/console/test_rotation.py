"""Cards and blanks of before ``keys rotate``, from the command line: they are served while their master is there."""

from __future__ import annotations

from typing import Any

from card_os.iso7816.status import SW
from permitcard.products import open_simulated
from personalization.globalplatform.commands import ISSUER_DOMAIN_AID, select
from reader_bridge.connection import Interface
from tests.console.conftest import SmallCentre

OUT_OF_SERVICE = SW.CONDITIONS_NOT_SATISFIED.encode()
RESUME = ("batch", "resume", "--stations", "1")


def remake(centre: SmallCentre, row: int) -> Any:
    return centre("batch", "remake", "--row", str(row), "--reason", "printing").document


def answer(centre: SmallCentre, card_id: str) -> bytes:
    """What the issuer domain of a card says to SELECT."""
    from personalization.production.journal.corrections import cards_by_number
    from personalization.production.journal.database import open_journal

    with open_journal(centre.centre.journal_place()) as journal, journal.reading() as connection:
        (card,) = cards_by_number(connection, [card_id])
    path = centre.centre.root / card.location.removeprefix("sim:")
    with open_simulated(path) as chip, chip.connect(Interface.CONTACT) as contact:
        return contact.transmit(select(ISSUER_DOMAIN_AID).encode())


def test_cards_and_blanks_of_before_a_rotation_until_their_master_is_destroyed(small_centre: SmallCentre) -> None:
    centre = small_centre
    centre("stock", "receive", "8")
    made: Any = centre("batch", "run", centre.delivered, "--stations", "1").document
    assert made["good"] == 4
    former = {name: str(centre("keys", "rotate", name).document["before"]) for name in ("card", "factory")}
    shown: Any = centre("keys", "show").document
    assert shown["former"] == {name: [value] for name, value in former.items()}
    assert former["card"] in centre.prompt("keys", "show", "--centre", "centre").out

    old = remake(centre, 2)
    assert (old["terminated"], old["disposal"], old["master_destroyed"]) == (True, "terminated", None)
    assert answer(centre, old["card_id"]) == OUT_OF_SERVICE
    assert centre(*RESUME).document["good"] == 4, "on a blank that came under the former factory master"

    for name, value in former.items():
        centre("keys", "destroy", name, value)
    lost = remake(centre, 3)
    assert (lost["disposal"], lost["master_destroyed"]) == ("keys-refused", former["card"])
    assert answer(centre, lost["card_id"]) != OUT_OF_SERVICE
    alive = centre(*RESUME, code=2).error
    assert (alive["code"], lost["card_id"] in str(alive)) == ("old-card-alive", True)
    destroyed = centre("stock", "list").document["list"]
    centre("stock", "destroy", str(destroyed))
    alarm = centre(*RESUME, code=1).error
    assert alarm["code"] == "key-guard-alarm", "blanks of the destroyed factory master"
    before: Any = centre("stock", "cards", "--state", "in-stock", "--state", "barred").document
    assert sorted(one["state"] for one in before["cards"]) == ["barred", "barred", "in-stock"]
    assert centre("stock", "cards", "--lot", "another").document == {"cards": []}
    gone = [one["card_id"] for one in before["cards"]]
    discarded: Any = centre("stock", "discard", *gone, "--reason", "their factory master was destroyed").document
    assert len(discarded["discarded"]) == 3
    assert centre("stock", "account").document["adds_up"] is True
