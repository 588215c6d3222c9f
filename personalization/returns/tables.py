"""The tables that a centre gives back, column by column, and who gets which.

No published document says how these files look, so their form is ours, in the words of the delivery's own headings.
Each recipient gets what it needs and no more: the bank no permit number, a police station no citizen number and no
bank account.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from personalization.intake.applicant import Applicant
from personalization.returns.facts import ReplacedCard, Result, ReturnFacts

CHINA: Final = dt.timezone(dt.timedelta(hours=8))
"""Dates in these files are those of China, which has one time the whole year."""

UNREGISTERED: Final = "未登记派出所"
"""Where the second sheet named no police station."""

_MICROSECONDS: Final = 1_000_000


class Recipient(StrEnum):
    """Who gets a file."""

    PLATFORM = "platform"
    BANK = "bank"
    STATIONS = "stations"


class Table(NamedTuple):
    """One table.

    Attributes:
        name: beginning of its files' names.
        headings: of its columns.
        rows: text, one for each column.
        sheets: names of sheets and their rows, where an office gets more than one sheet; empty for one sheet of all.
    """

    name: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    sheets: Sequence[tuple[str, Sequence[Sequence[str]]]] = ()


ApplicantOf = Callable[[str, int], Applicant | None]
"""The applicant of a batch and row; None when that batch was erased."""


@dataclass(frozen=True, slots=True)
class ReturnTables:
    """Makes the tables of one batch.

    Attributes:
        facts: what the journal says.
        applicant: reads a row's applicant.
    """

    facts: ReturnFacts
    applicant: ApplicantOf

    def of(self, recipient: Recipient) -> list[Table]:
        """The tables that a recipient gets."""
        match recipient:
            case Recipient.PLATFORM:
                return [self.results(), self.replaced()]
            case Recipient.BANK:
                return [self.bank()]
            case Recipient.STATIONS:
                return [self.stations()]

    def results(self) -> Table:
        """Each row of the delivery: permit number, chip, result, dates."""
        rows = [
            (
                str(row.row),
                self._permit(self.facts.identifier, row.row) if row.result is not Result.REFUSED else "",
                row.card_number.upper(),
                row.result.value,
                row.reason,
                _day(row.made_at),
                _day(row.inspected_at),
            )
            for row in self.facts.rows
        ]
        headings = ("行号", "居住证号", "芯片序列号", "结果", "原因", "制卡日期", "检验日期")
        return Table("results", headings, rows)

    def replaced(self) -> Table:
        """Cards that are not valid any more, because a card of this batch stands in their place."""
        headings = ("原居住证号", "原芯片序列号", "原批次", "原行号", "原因", "新居住证号", "新芯片序列号", "日期")
        return Table("replaced", headings, [self._replaced(card) for card in self.facts.replaced])

    def bank(self) -> Table:
        """Cards that carry a bank account."""
        rows: list[Sequence[str]] = []
        for row in self.facts.rows:
            holder = self.applicant(self.facts.identifier, row.row) if row.card_number else None
            if holder is not None and holder.bank_account:
                rows.append(
                    (
                        holder.bank_account,
                        holder.name,
                        holder.citizen_number,
                        row.card_number.upper(),
                        row.result.value,
                        _day(row.made_at),
                    )
                )
        return Table("bank", ("银行卡号", "姓名", "身份证号", "芯片序列号", "结果", "制卡日期"), rows)

    def stations(self) -> Table:
        """Cards by the police station that hands them out, numbered in the order in which they are packed."""
        by_station: defaultdict[str, list[Applicant]] = defaultdict(list)
        for row in self.facts.rows:
            holder = self.applicant(self.facts.identifier, row.row) if row.result is Result.MADE else None
            if holder is not None:
                station = holder.residence.registering_station if holder.residence is not None else UNREGISTERED
                by_station[station].append(holder)
        sheets = [(station, list(_handed_out(station, by_station[station]))) for station in sorted(by_station)]
        headings = ("派出所", "序号", "姓名", "居住证号", "签收人", "签收日期")
        return Table("stations", headings, [row for _, rows in sheets for row in rows], sheets)

    def _replaced(self, card: ReplacedCard) -> Sequence[str]:
        return (
            self._permit(card.batch, card.row),
            card.card_number.upper(),
            card.batch,
            str(card.row),
            card.why.value,
            self._permit(self.facts.identifier, card.new_row),
            card.new_card_number.upper(),
            _day(card.at),
        )

    def _permit(self, batch: str, row: int) -> str:
        holder = self.applicant(batch, row)
        return "" if holder is None else holder.permit_number


def _handed_out(station: str, holders: Iterable[Applicant]) -> Iterable[Sequence[str]]:
    for number, holder in enumerate(holders, 1):
        yield station, str(number), holder.name, holder.permit_number, "", ""


def _day(at_us: int) -> str:
    """YYYYMMDD in China, empty for 0."""
    return f"{dt.datetime.fromtimestamp(at_us / _MICROSECONDS, CHINA):%Y%m%d}" if at_us else ""
