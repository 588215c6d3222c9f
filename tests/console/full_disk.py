"""A centre on a disk that is full again and again: prints as JSON what each command was told, and how it ended."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from permitcard.centre import Centre
from permitcard.commands.application import run
from personalization.keys.file_store import FileKeyStore

PREPARING = {"few": (0, 60, 150), "many": (0, 4, 8, 16, 24, 32, 48, 64, 80, 100, 120, 150, 180, 220, 260, 300)}
MAKING = {"few": (8,), "many": (0, 4, 8, 12, 16, 24, 32, 48, 64)}
"""KiB of room that a command finds."""


def ask(*arguments: str) -> tuple[int, Any]:
    """Run a command in this process; its exit code, and its document or error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = int(run([*arguments, "--centre", "centre", "--json"]))
    return code, json.loads(err.getvalue())["error"] if code else json.loads(out.getvalue())


def fill(room: int) -> None:
    """Leave ``room`` KiB on the disk."""
    Path("ballast").unlink(missing_ok=True)
    state = os.statvfs(".")
    with Path("ballast").open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, state.f_bavail * state.f_frsize - room * 1024)


def attempts(rooms: tuple[int, ...], *command: str) -> list[dict[str, object]]:
    """The command with ever more room, and at last with all of it; as each was told."""
    told: list[dict[str, object]] = []
    for room in rooms:
        fill(room)
        code, document = ask(*command)
        told.append({"exit": code, "code": document["code"] if code else None})
        if not code:
            return told
    Path("ballast").unlink()
    code, document = ask(*command)
    return [*told, {"exit": code, "code": document["code"] if code else None}]


def main(disk: str, delivered: str, moments: str) -> None:
    """Prepare and make one batch."""
    os.chdir(disk)
    centre = Centre(Path("centre"))
    FileKeyStore.create(centre.keys, centre.make_test_passphrase().read(), scrypt_n=1024)
    ask("stock", "receive", "6")
    prepared = attempts(PREPARING[moments], "batch", "prepare", delivered)
    made = attempts(MAKING[moments], "batch", "resume", "--stations", "1")
    _, status = ask("batch", "status")
    _, account = ask("stock", "account")
    story = {"prepared": prepared, "made": made, "good": status["good"], "adds_up": account["adds_up"]}
    sys.stdout.write(json.dumps(story))


if __name__ == "__main__":
    main(*sys.argv[1:])
