"""What a row costs on its way from a table to sealed chunks, part by part, beside the work that nobody can leave out.

The floor of a row is to decode its portrait, to draw one key pair, to sign once, to hash the portrait, and to encrypt
what is written. ``python -m benchmarks.bulk_preparation ROWS 1,2,1,2`` prepares as many rows by one worker, then by
two, and so on, and prints what each turn took, memory and all, and its rate beside the first turn's.

A worker imports the program that started it before it begins. So this one has nothing in it, as that of the command
line has nothing in it.
"""

from __future__ import annotations

import sys


def run() -> list[tuple[str, float, float]]:
    """Rows for `benchmarks.run`."""
    from benchmarks.prepared_rows import parts

    return parts()


def main(arguments: list[str]) -> None:
    """Prepare as many rows as the first argument says, in the turns of the second; without any, print the parts."""
    from benchmarks.prepared_rows import parts, take_turns

    if arguments:
        turns = arguments[1] if len(arguments) > 1 else "0"
        take_turns(int(arguments[0]), [int(workers) for workers in turns.split(",")])
        return
    for label, ours, least_possible in parts():
        print(f"  {label:<56} {ours:>8.1f} µs {least_possible:>8.1f} µs {ours / least_possible:>6.1f} ×")


if __name__ == "__main__":
    main(sys.argv[1:])
