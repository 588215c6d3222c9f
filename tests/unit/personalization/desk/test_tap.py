"""What a desk does not take from a card without seeing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from permitcard.products import permit_profile
from personalization.errors import PersonalizationError
from personalization.permit.desk.card_state import Change
from personalization.permit.desk.tap import Tap
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
