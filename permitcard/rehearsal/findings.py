"""What a batch is rehearsed on, and what came of it, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from card_os.hardware.chip import DEFAULT_CHIP
from reader_bridge.reader_models import IDEAL

_MS_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Stage:
    """Making or inspecting one card, in virtual time.

    Attributes:
        card_ns: the card's own work.
        line_ns: bytes on the line, waiting times included.
        reader_ns: what the reader adds to each exchange.
        exchanges: commands.
    """

    card_ns: int = 0
    line_ns: int = 0
    reader_ns: int = 0
    exchanges: int = 0

    @property
    def total_ns(self) -> int:
        """All of it."""
        return self.card_ns + self.line_ns + self.reader_ns


@dataclass(frozen=True, slots=True)
class RehearsedCard:
    """What came of one row.

    Attributes:
        row: row in the delivered sheet.
        failed_at: "prepare", "blank", "make", "inspect"; empty for a good card.
        reason: code, empty for a good card.
        facts: what the code is about; nothing personal.
        make: time of making.
        inspect: time of inspection.
        cycles: programming cycles of the most used page.
        free: bytes of the largest object that still fits.
    """

    row: int
    failed_at: str = ""
    reason: str = ""
    facts: dict[str, object] = field(default_factory=dict[str, object])
    make: Stage = Stage()
    inspect: Stage = Stage()
    cycles: int = 0
    free: int = 0


class Setting(NamedTuple):
    """What a batch is rehearsed on.

    Attributes:
        chip: name of the chip geometry.
        reader: name of the reader model.
        protocol: "T=0" or "T=1" over contact.
        handling_ms: time that a station needs to put a card in and out.
        stations: stations of the line.
    """

    chip: str = DEFAULT_CHIP
    reader: str = IDEAL
    protocol: str = "T=1"
    handling_ms: int = 0
    stations: int = 2


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of a batch.

    Attributes:
        file: name of the delivered file.
        setting: what it was rehearsed on.
        delivered: rows in the file.
        refused: rows that intake refuses, by the first rule that they break.
        cards: one for each row that was rehearsed.
        endurance: cycles that a page of the chip is good for.
        room: bytes of the largest object that fits on a blank.
    """

    file: str
    setting: Setting
    delivered: int
    refused: dict[str, int]
    cards: Sequence[RehearsedCard]
    endurance: int
    room: int

    @property
    def good(self) -> list[RehearsedCard]:
        """Rows that became good cards."""
        return [card for card in self.cards if not card.failed_at]

    @property
    def failures(self) -> dict[str, int]:
        """Failed rows by stage and reason."""
        found = Counter(f"{card.failed_at}: {card.reason}" for card in self.cards if card.failed_at)
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def station_ns(self) -> int:
        """Time of one station over all good cards, handling included, once for making and once for inspection."""
        handling = 2 * self.setting.handling_ms * _MS_NS
        return sum(card.make.total_ns + card.inspect.total_ns + handling for card in self.good)


def rehearsal_document(found: Rehearsal) -> dict[str, object]:
    """For programs and for the page."""
    good = found.good
    count = len(good)
    setting = found.setting
    seconds = found.station_ns / 1e9
    hours = seconds / 3600
    return {
        "version": 1,
        "file": found.file,
        "chip": setting.chip,
        "reader": setting.reader,
        "protocol": setting.protocol,
        "stations": setting.stations,
        "handling_ms": setting.handling_ms,
        "delivered": found.delivered,
        "refused": sum(found.refused.values()),
        "refused_by_rule": found.refused,
        "rehearsed": len(found.cards),
        "good": count,
        "yield_percent": round(100 * count / len(found.cards), 2) if found.cards else 0.0,
        "failures": found.failures,
        "failed_rows": [
            {"row": card.row, "stage": card.failed_at, "reason": card.reason, "facts": card.facts}
            for card in found.cards
            if card.failed_at
        ],
        "make": _stage_document([card.make for card in good]),
        "inspect": _stage_document([card.inspect for card in good]),
        "seconds_a_card": round(seconds / count, 3) if count else 0.0,
        "cards_an_hour": round(setting.stations * count / hours, 1) if hours else 0.0,
        "hours_for_the_batch": round(hours / setting.stations * _scale(found), 3),
        "endurance": found.endurance,
        "highest_cycles": max((card.cycles for card in good), default=0),
        "room_bytes": found.room,
        "least_free_bytes": min((card.free for card in good), default=0),
        "cycles": sorted(card.cycles for card in good),
    }


def _scale(found: Rehearsal) -> float:
    """From the rows that were rehearsed to those that intake accepts."""
    accepted = found.delivered - sum(found.refused.values())
    return accepted / len(found.cards) if found.cards else 0.0


def _stage_document(stages: Sequence[Stage]) -> dict[str, float]:
    count = len(stages) or 1

    def mean_ms(total: int) -> float:
        return round(total / count / _MS_NS, 3)

    return {
        "card_ms": mean_ms(sum(stage.card_ns for stage in stages)),
        "line_ms": mean_ms(sum(stage.line_ns for stage in stages)),
        "reader_ms": mean_ms(sum(stage.reader_ns for stage in stages)),
        "exchanges": round(sum(stage.exchanges for stage in stages) / count, 1),
    }
