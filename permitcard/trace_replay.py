"""Being the reader of a trace: its commands go to a card, and the first difference is named."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from permitcard.reaching import card_factory
from permitcard.trace_names import card_names
from reader_bridge.trace.comparison import Difference, compare_with_card
from reader_bridge.trace.decode import decode
from reader_bridge.trace.record import Trace

if TYPE_CHECKING:
    from permitcard.console import Console


def replay_against(trace: Trace, address: str, console: Console, *, strict: bool, keep_going: bool) -> int:
    """Send the commands of a trace to the card at an address; returns the exit code.

    Raises:
        ReaderError: no card there.
    """
    with card_factory().connect(address) as connection:
        comparison = compare_with_card(trace, connection, strict=strict, keep_going=keep_going)
    titles = {id(item.entry): item.title for item in decode(trace, card_names())}
    exchanges = trace.exchanges()
    for found in comparison.differences:
        _tell(console, found, titles.get(id(exchanges[found.number - 1]), ""))
    console.say(
        "trace.replayed", sent=comparison.sent, skipped=comparison.skipped, differences=len(comparison.differences)
    )
    console.result(
        {
            "card": address,
            "sent": comparison.sent,
            "skipped": comparison.skipped,
            "differences": [asdict(found) for found in comparison.differences],
        }
    )
    return 1 if comparison.differences else 0


def _tell(console: Console, found: Difference, title: str) -> None:
    console.say(
        "trace.differs",
        number=found.number,
        title=title,
        where=console.translate(f"trace.where.{found.where}"),
        offset=found.offset,
        command=found.command,
        expected=found.expected,
        found=found.found,
    )
