"""A process that prepares with keys in a token that goes away before a chunk and comes back; prints what it hears."""

from __future__ import annotations

import sys
from pathlib import Path

from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.preparing import Loaded, Staff, prepare
from personalization.errors import PersonalizationError
from personalization.preparation.bulk import workers
from personalization.preparation.bulk.workers import Bench, Stage


def silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main(centre: str, file: str, tokens: str, gone_at: str) -> None:
    """Prepare; before chunk 2 of the stage ``gone_at`` the token goes away."""
    work, place = Bench.work, Path(tokens)
    away = place.with_name("away")

    def watched(bench: Bench, stage: Stage, chunk: int) -> int:
        if stage.value == gone_at and chunk == 2:
            place.rename(away)
        return work(bench, stage, chunk)

    workers.Bench.work = watched  # type: ignore[method-assign, assignment]  # the moment is the point
    try:
        with Job.open(Centre(Path(centre))) as job:
            found = prepare(job, Path(file), Staff(), chunk_rows=4, progress=silent)
        say(f"{found.rows} rows" if isinstance(found, Loaded) else "refused")
    except PersonalizationError as error:
        say(f"{error.code}/{error.exit_code}")
    finally:
        if away.exists():
            away.rename(place)


if __name__ == "__main__":
    main(*sys.argv[1:])
