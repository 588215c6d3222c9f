"""Cards of several generations at one terminal, with a SAM of each: real SAM cards and real permits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from card_os.iso7816.status import SW, StatusWord
from permitcard.products import permit_profile, sam_profile
from permitcard.sams import new_sam
from permitcard.specimen import specimen_applicant, specimen_keys
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import ROLE_MASTERS, SAM_KEYS, KeyName
from personalization.permit.desk.tap import DESK_ROLE
from personalization.preparation.prepare import Preparer
from personalization.sams.generations import SamsOfGenerations
from personalization.sams.masters import SamMasters
from personalization.sams.office import open_session
from personalization.terminal.channel import CardRefused
from personalization.terminal.sam import CardAuthenticator, PreparedAuthentication, SamSession
from personalization.terminal.secure_messaging import SessionKeys
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.unit.personalization.desk.bench import BenchCard, card_made_with, other_keys

VISITS = 12  # more than the ten tries of a role key


class Generation(NamedTuple):
    sam: SamSession
    card: BenchCard


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def generation(held: ExitStack, keys: FileKeyStore, serial: int) -> Generation:
    card = held.enter_context(new_sam(keys, serial))
    connection = held.enter_context(card.connect(Interface.CONTACT))
    permit = card_made_with(keys, Preparer(permit_profile(), keys).prepare(specimen_applicant()).record)
    return Generation(open_session(connection, sam_profile(), keys), permit)


def visit(card: BenchCard, sam: CardAuthenticator) -> None:
    with card.simulated.connect(Interface.CONTACT) as connection:
        TerminalSession.open(connection, sam, permit_profile(), DESK_ROLE)


def test_each_card_is_met_with_the_sam_of_its_generation(held: ExitStack) -> None:
    """No card loses a try, and no SAM counts a wrong card, however often they meet."""
    former = generation(held, specimen_keys(), 1)
    today = generation(held, other_keys(KeyName.SERVICE_DESK, KeyName.CONCEALMENT), 2)
    terminal = SamsOfGenerations([today.sam, former.sam])
    before = [one.sam.uses_left()[1] for one in (former, today)]
    for _ in range(VISITS):
        visit(former.card, terminal)
        visit(today.card, terminal)
    assert [one.sam.uses_left()[1] for one in (former, today)] == before


def test_a_card_of_no_generation_is_refused_and_loses_nothing(held: ExitStack) -> None:
    former = generation(held, specimen_keys(), 1)
    today = generation(held, other_keys(KeyName.SERVICE_DESK, KeyName.CONCEALMENT), 2)
    for _ in range(VISITS):
        with pytest.raises(CardRefused, match="6300"):
            visit(former.card, today.sam)
        with pytest.raises(CardRefused, match="6300"):
            visit(today.card, SamsOfGenerations([former.sam]))
    visit(former.card, former.sam)
    visit(today.card, today.sam)


def test_without_another_concealment_every_visit_would_cost_a_card_a_try(held: ExitStack) -> None:
    """Why a role master is never replaced alone."""
    former = generation(held, specimen_keys(), 1)
    today = generation(held, other_keys(KeyName.SERVICE_DESK), 2)
    for left in range(9, -1, -1):
        with pytest.raises(CardRefused, match=f"63C{left:X}"):
            visit(former.card, today.sam)
    with pytest.raises(CardRefused, match="6983"):
        visit(former.card, former.sam)


class Scripted:
    """A SAM that opens one number."""

    def __init__(self, name: bytes, asked: list[bytes], otherwise: StatusWord = SW.AUTHENTICATION_FAILED) -> None:
        self.name = name
        self.asked = asked
        self.otherwise = otherwise

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        self.asked.append(self.name)
        if concealed != self.name:
            raise CardRefused("PREPARE AUTHENTICATION", self.otherwise)
        return PreparedAuthentication(self.name, bytes((reference,)) + challenge)

    def complete(self, response: bytes) -> SessionKeys:
        return SessionKeys(self.name, response)


def test_the_sam_that_opened_the_last_card_is_asked_first() -> None:
    asked: list[bytes] = []
    sams = SamsOfGenerations([Scripted(name, asked) for name in (b"a", b"b", b"c")])
    for number, expected in ((b"c", b"abc"), (b"c", b"c"), (b"a", b"ca"), (b"b", b"acb"), (b"a", b"ba")):
        asked.clear()
        assert sams.prepare(number, 1, b"-").card_number == number
        assert b"".join(asked) == expected
        assert sams.complete(b"r") == SessionKeys(number, b"r")


def test_any_other_refusal_is_told_and_nobody_else_is_asked() -> None:
    asked: list[bytes] = []
    sams = SamsOfGenerations(
        [Scripted(b"a", asked, SW.CONDITIONS_NOT_SATISFIED), Scripted(b"b", asked)],
    )
    with pytest.raises(CardRefused, match="6985"):
        sams.prepare(b"b", 1, b"-")
    assert asked == [b"a"]


def test_what_a_sam_was_made_with_is_in_use_replaced_or_lost() -> None:
    keys = specimen_keys()
    masters = SamMasters(keys, {name.value: keys.check_value(name).hex() for name in SAM_KEYS})
    assert (masters.replaced(), masters.lost()) == ([], [])
    later = keys.with_key(KeyName.ISSUER, bytes(16))
    masters = SamMasters(later, masters.values)
    assert (masters.replaced(), masters.lost()) == (["issuer"], [])
    assert masters.derive(KeyName.ISSUER, "ROLE", b"", 32) == keys.derive(KeyName.ISSUER, "ROLE", b"", 32)
    gone = later.without_former(KeyName.ISSUER, keys.check_value(KeyName.ISSUER))
    assert gone is not None
    assert SamMasters(gone, masters.values).lost() == ["issuer"]


def test_the_role_masters_are_those_of_the_permit_s_roles() -> None:
    masters = {row.master for row in permit_profile().keys if row.usage.value == "role"}
    assert masters == {name.value for name in ROLE_MASTERS}
