"""What intake costs: microseconds a row, for the example delivery with its portraits and without them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from personalization.intake.code_tables import code_tables
from personalization.intake.delivery import open_delivery
from personalization.intake.history import RememberedBatches
from personalization.intake.limits import FieldLimits
from personalization.intake.receipt import receive_batch
from personalization.intake.row_check import RowChecker

EXAMPLE = next((Path(__file__).parents[1] / "examples" / "ruian").glob("*.zip"))
ROUNDS = 7


def best_microseconds_a_row(work: Callable[[], object], rows: int) -> float:
    """The best of several rounds, CPU time."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best / rows * 1e6


def main() -> None:
    """Measure the parts beside their floor, the decoding of the portraits alone."""
    delivery = open_delivery(EXAMPLE)
    rows = delivery.table.applicants
    pictures = [
        delivery.pictures.read(name) for stem in delivery.pictures.stems for name in delivery.pictures.names(stem)
    ]
    checker = RowChecker(delivery.name.area_code, code_tables(), FieldLimits())
    parts: dict[str, Callable[[], object]] = {
        "floor: decode portrait": lambda: [Image.open(io.BytesIO(picture)).load() for picture in pictures],
        "open and read table": lambda: open_delivery(EXAMPLE),
        "check cells": lambda: [checker.check(row) for row in rows],
        "whole intake": lambda: receive_batch(EXAMPLE, RememberedBatches(), datetime.now(UTC)),
    }
    for name, work in parts.items():
        print(f"{name:24} {best_microseconds_a_row(work, len(rows)):8.1f} µs a row")


if __name__ == "__main__":
    main()
