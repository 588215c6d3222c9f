"""Prepares a delivery and is killed (kill -9) in the middle of a chunk of one stage."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.preparing import Staff, prepare
from personalization.preparation.bulk import checking, making

ROWS_BEFORE = 30


def silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


def deadly(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Does ``work`` some times, and kills its process then."""
    rows = itertools.count(1)

    def once(record: Any) -> Any:
        if next(rows) == ROWS_BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(record)

    return once


def main(centre: str, file: str, stage: str) -> None:
    """Prepare; die in ``stage``."""
    if stage == "check":
        vars(checking)["encode_applicant"] = deadly(vars(checking)["encode_applicant"])
    else:
        vars(making)["decode_applicant"] = deadly(vars(making)["decode_applicant"])
    with Job.open(Centre(Path(centre))) as job:
        prepare(job, Path(file), Staff(), progress=silent)


if __name__ == "__main__":
    main(*sys.argv[1:])
