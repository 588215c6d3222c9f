"""GlobalPlatform programs of others manage the card, with test keys and diversified ones, at every level they use."""

from __future__ import annotations

import pytest

from tests.doubles.gp_programs import CARDS, Player, Program, ProgramCard, levels_of, programs
from tests.doubles.issuer_card import PortConnection

PROGRAMS = programs()


@pytest.mark.parametrize("card_name", CARDS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_has_the_answers_that_it_needs(program: Program, card_name: str) -> None:
    kind = ProgramCard(CARDS[card_name])
    for level in levels_of(program, kind):
        card = kind.new()
        connection = PortConnection(card.contact)
        connection.power_on()
        before = card.platform.store.free_in_all
        Player(connection, kind).play(program, level)
        assert card.faults == 0
        assert program.spends or card.platform.store.free_in_all == before


def test_every_program_names_its_source_and_is_played() -> None:
    cards = [ProgramCard(kind) for kind in CARDS.values()]
    for program in PROGRAMS:
        assert len(program.source) > 20, program.name
        assert any(list(levels_of(program, card)) for card in cards), program.name
