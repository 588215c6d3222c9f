"""What an operator decides about cards: re-make, samples, discarding, destroying before a witness."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from permitcard.blank_list import read_blank_list
from personalization.formula_guard import without_formula
from personalization.keys.keystore import KeyName
from personalization.preparation.sealed_file import Purpose
from personalization.preparation.sealed_records import open_records
from personalization.production.acts import Act, Role
from personalization.production.disposal import (
    destroy_cards,
    destruction_document,
    discard_blanks,
    require_list,
    restore_blanks,
    take_samples,
)
from personalization.production.operators import require_two
from personalization.production.reject_reason import RejectReason
from personalization.production.remake import Rejected, reject_card, require_row, subject_of
from personalization.production.states import Disposal
from personalization.production.stock import receive_list

if TYPE_CHECKING:
    from permitcard.job import Job
    from permitcard.translation import Translator
    from personalization.production.journal.corrections import StockCard

_CARD_COLUMNS: Sequence[str] = ("card_number", "lot", "reason", "disposal")


class Destruction(NamedTuple):
    """Cards that were destroyed.

    Attributes:
        cards: how many.
        witness: who approved, None in a rehearsal of one person.
        certificate: the signed document; a page and a table of the cards lie beside it.
    """

    cards: int
    witness: str | None
    certificate: Path


def receive_delivered(job: Job, file: Path, lot: str) -> int:
    """Take blanks into stock that a chip vendor delivered with a list; returns how many.

    Raises:
        PersonalizationError: exit 2: "role-missing", "blank-known", and as `read_blank_list`; nothing is taken then.
    """
    job.operator.require(Role.RECEIVE)
    blanks = read_blank_list(file, production=job.keys.production)
    return receive_list(job.journal, blanks, lot=lot, who=job.operator.name)


def remake(job: Job, identifier: str, row: int, reason: RejectReason) -> Rejected:
    """Reject a row's good card and have the row made again at the next resume; takes two.

    Raises:
        PersonalizationError: exit 2: "role-missing", "approval-missing", and as `reject_card`; nothing is rejected when
            the row's sealed records cannot be read.
    """
    job.operator.require(Role.RUN)
    subject = subject_of(identifier, row)
    require_row(job.journal, subject)
    approval = require_two(job.journal, job.roster, job.operator, Act.REMAKE, subject)
    try:
        tools = job.outfit(identifier)()
        look = partial(_read_records, job, identifier, row)
        return reject_card(job.journal, identifier, row, reason, job.operator.name, approval, tools, look)
    finally:
        job.checkpoint_if_possible()


def _read_records(job: Job, identifier: str, row: int) -> None:
    """Read what a row is made and inspected from: a card that cannot be made again is better than none."""
    keys = job.keys.of_batch(identifier)
    for purpose in (Purpose.PREPARED, Purpose.SOURCE, Purpose.FACES):
        with closing(open_records(job.sealed(identifier, purpose), purpose, keys, batch=identifier)) as records:
            records.record_of_row(row)


def destroyed_master(job: Job, rejected: Rejected) -> str | None:
    """Check value of the ``card`` master of a rejected card that cannot be opened because that master was destroyed."""
    made_with = rejected.masters.get(KeyName.CARD.value)
    if rejected.disposal is not Disposal.KEYS_REFUSED or made_with is None:
        return None
    held = {value.hex() for value in job.keys.check_values(KeyName.CARD)}
    return None if made_with in held else made_with.upper()


def sample(job: Job, count: int, purpose: str, lot: str | None) -> list[StockCard]:
    """Take blanks as samples."""
    job.operator.require(Role.RECEIVE)
    return take_samples(job.journal, count, purpose, job.operator.name, lot)


def discard(job: Job, card_numbers: Sequence[str], reason: str) -> list[StockCard]:
    """Give up blanks that are damaged."""
    job.operator.require(Role.RECEIVE)
    return discard_blanks(job.journal, card_numbers, reason, job.operator.name)


def restore(job: Job, card_numbers: Sequence[str]) -> list[StockCard]:
    """Take barred blanks back into the stock."""
    job.operator.require(Role.RELEASE)
    return restore_blanks(job.journal, card_numbers, job.operator.name)


def destroy(job: Job, identifier: str, translate: Translator) -> Destruction:
    """Destroy the cards of a list before a witness, and certify it.

    Raises:
        PersonalizationError: exit 2: "role-missing", "approval-missing", "nothing-to-destroy",
            "destruction-list-other".
    """
    job.operator.require(Role.RECEIVE)
    wanted = require_list(job.journal, identifier)
    approval = require_two(job.journal, job.roster, job.operator, Act.DESTROY, identifier)
    destroy_cards(job.journal, wanted, job.centre.root, job.operator.name, approval)
    certificate = certify_destruction(job, identifier, translate)
    job.checkpoint_if_possible()
    return Destruction(len(wanted.cards), None if approval is None else approval.by, certificate)


def certify_destruction(job: Job, identifier: str, translate: Translator) -> Path:
    """Write the certificate of a destruction, also again: JSON that is signed, a page, a table of the cards.

    Raises:
        PersonalizationError: "destruction-unknown", exit 2.
    """
    from permitcard.paperwork import write_paper

    document = destruction_document(job.journal, identifier, rehearsal=not job.keys.production)
    return write_paper(job, f"{identifier}-destroyed", document, translate, _table(document))


def _table(document: Mapping[str, object]) -> bytes:
    cards: list[dict[str, str]] = json.loads(json.dumps(document["cards"]))
    stream = io.StringIO(newline="")
    table = csv.DictWriter(stream, _CARD_COLUMNS)
    table.writeheader()
    table.writerows({name: without_formula(text) for name, text in card.items()} for card in cards)
    return stream.getvalue().encode("utf-8-sig")
