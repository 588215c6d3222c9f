"""What a desk does not take from a card without seeing it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from card_os.iso7816.status import SW, StatusWord
from permitcard.products import permit_profile
from personalization.errors import PersonalizationError
from personalization.permit.desk.card_state import Change
from personalization.permit.desk.proof import DateBound, tell_date
from personalization.permit.desk.tap import Tap
from personalization.terminal.channel import CardRefused
from tests.unit.personalization.desk.bench import ISSUED, NUMBER


@dataclass
class Forgetful:
    """A session whose card says 9000 to every change and keeps what it had."""

    content: dict[str, bytes]
    written: int = 0

    def change_files(self, changes: object) -> None:
        del changes
        self.written += 1

    def read(self, name: str) -> bytes:
        return self.content[name]

    def read_records(self, name: str) -> list[bytes]:
        return [self.content[name]]


@pytest.mark.parametrize("name", ["EF.STATUS", "EF.ENDORSEMENTS"])
def test_a_card_that_does_not_have_what_was_written_is_told_of(name: str) -> None:
    """9000 is what the card says; what it has is read back."""
    profile = permit_profile()
    row = profile.file_named(name)
    session = Forgetful({name: bytes(row.size or row.record_size or 0)})
    tap = Tap(cast("Any", session), profile, NUMBER, ISSUED, cast("Any", None), [])
    with pytest.raises(PersonalizationError, match="card-not-as-written") as caught:
        tap.write([Change(row.fid, 0, bytes(4)), Change(row.fid, 4, b"\x01")])
    assert (caught.value.parameters["file"], caught.value.exit_code, session.written) == (name, 1, 1)


@dataclass
class Bounded:
    """A session whose card answers the bounds that it is told one after the other."""

    answers: list[StatusWord]
    told: list[bytes] = field(default_factory=list)

    def tell_bound(self, day: dt.date, signature: bytes) -> None:
        del day
        self.told.append(signature)
        answer = self.answers.pop(0)
        if answer != SW.OK:
            raise CardRefused("PUT DATA", answer)

    def tell_date(self, day: dt.date) -> None:
        del day


BOUND = DateBound(ISSUED, (b"newest", b"former"))


def test_the_signature_of_the_clock_key_that_a_card_knows_is_found() -> None:
    session = Bounded([SW.SECURITY_STATUS_NOT_SATISFIED, SW.OK])
    tell_date(cast("Any", session), ISSUED, BOUND)
    assert session.told == [b"newest", b"former"]


def test_a_bound_that_no_key_signed_is_forged_and_any_other_refusal_is_told_as_it_is() -> None:
    forged = Bounded([SW.SECURITY_STATUS_NOT_SATISFIED] * 2)
    with pytest.raises(PersonalizationError, match="date-bound-forged"):
        tell_date(cast("Any", forged), ISSUED, BOUND)
    other = Bounded([SW.MEMORY_FAILURE, SW.OK])
    with pytest.raises(CardRefused) as caught:
        tell_date(cast("Any", other), ISSUED, BOUND)
    assert (caught.value.status, other.told) == (SW.MEMORY_FAILURE, [b"newest"])
