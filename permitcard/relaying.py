"""Both interfaces of a card behind a relay, heard by a recorder when wanted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from permitcard.reaching import card_factory
from permitcard.trace_choices import Keep
from permitcard.tracing import hidden_by
from reader_bridge.connection import CardConnection
from reader_bridge.relay import RelayConnection
from reader_bridge.relay_rules import RelayRules
from reader_bridge.trace.recorder import TraceRecorder, require_new, save


@contextmanager
def relayed(address: str, rules: Path | None, trace: Path | None, keep: Keep) -> Generator[list[CardConnection]]:
    """Connections to all interfaces that an address reaches, contact first; the trace is written at the end.

    Args:
        address: sim:FILE, pcsc:NAME or remote:HOST:PORT.
        rules: file with rules; None lets everything pass.
        trace: new trace file, and one beside it with -contactless for the other interface; None for none.
        keep: what of data in plain the trace keeps.

    Raises:
        ReaderError: no card there, the rules make no sense, or the trace cannot be written.
    """
    loaded = RelayRules() if rules is None else RelayRules.load(rules)
    places = [] if trace is None else [trace, trace.with_stem(f"{trace.stem}-contactless")]
    for place in places:
        require_new(place)
    factory = card_factory()
    with ExitStack() as stack:
        found: list[CardConnection] = []
        for connection in factory.connect_both(address):  # leaving the first releases what both share
            if connection is not None:
                stack.push(connection.__exit__)
                found.append(connection)
        recorders = [TraceRecorder(hidden_by(keep)) for _ in places]
        heard = [recorder.watch(inner) for recorder, inner in zip(recorders, found, strict=False)] or found
        try:
            yield [RelayConnection(connection, loaded) for connection in heard]
        finally:
            for recorder, place in zip(recorders, places, strict=True):
                recorded = recorder.trace()
                if recorded.exchanges():
                    save(recorded, place)
