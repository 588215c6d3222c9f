"""What is remembered of authentications that failed, card by card and from one run to the next.

A small JSON file under a lock, replaced as a whole. A count is written before what it counts is sent, so that a killed
process leaves it behind. No key is in it: a recorded answer is what a card says to anybody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self, cast

from filelock import Timeout

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import file_lock, make_folder

_FORMAT: Final = "permitcard key guard"
_VERSION: Final = 1
_LOCK_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An INITIALIZE UPDATE that led to no session: key sets can be tried on it without the card.

    Attributes:
        host_challenge: what it brought.
        answer: response data of the card.
        aid: the security domain.
        implementation: `i` that the card's recognition data told, None when it did not.
        when: time in ISO form, for messages.
    """

    host_challenge: bytes
    answer: bytes
    aid: bytes
    implementation: int | None
    when: str

    def document(self) -> dict[str, object]:
        """For the file."""
        return {
            "host_challenge": self.host_challenge.hex(),
            "answer": self.answer.hex(),
            "aid": self.aid.hex(),
            "implementation": self.implementation,
            "when": self.when,
        }

    @classmethod
    def of(cls, told: Mapping[str, object]) -> Self:
        """From the file.

        Raises:
            KeyError, ValueError: malformed.
        """
        implementation = told["implementation"]
        return cls(
            bytes.fromhex(str(told["host_challenge"])),
            bytes.fromhex(str(told["answer"])),
            bytes.fromhex(str(told["aid"])),
            implementation if isinstance(implementation, int) else None,
            str(told["when"]),
        )


@dataclass(frozen=True, slots=True)
class CardRecord:
    """What happened to one card since it last opened a session.

    Attributes:
        unfinished: INITIALIZE UPDATE commands that led to no session, by the key version that was asked for.
        refused: EXTERNAL AUTHENTICATE commands that the card refused.
        last: what happened last, as a code for messages.
        when: and when, in ISO form.
        answers: the card's last answer by the key version that was asked for.
    """

    unfinished: Mapping[int, int] = field(default_factory=dict[int, int])
    refused: int = 0
    last: str = ""
    when: str = ""
    answers: Mapping[int, RecordedAnswer] = field(default_factory=dict[int, RecordedAnswer])

    @property
    def unfinished_in_all(self) -> int:
        """INITIALIZE UPDATE commands that led to no session."""
        return sum(self.unfinished.values())

    def begun(self, version: int, when: str) -> CardRecord:
        """INITIALIZE UPDATE is about to be sent."""
        counts = {**self.unfinished, version: self.unfinished.get(version, 0) + 1}
        return replace(self, unfinished=counts, last="begun", when=when)

    def answered(self, version: int, answer: RecordedAnswer) -> CardRecord:
        """The card answered it."""
        return replace(self, last="answered", when=answer.when, answers={**self.answers, version: answer})

    def refusing(self, when: str) -> CardRecord:
        """EXTERNAL AUTHENTICATE was refused."""
        return replace(self, refused=self.refused + 1, last="refused", when=when)

    def document(self) -> dict[str, object]:
        """For the file."""
        return {
            "unfinished": {f"{version:02X}": count for version, count in sorted(self.unfinished.items())},
            "refused": self.refused,
            "last": self.last,
            "when": self.when,
            "answers": {f"{version:02X}": answer.document() for version, answer in sorted(self.answers.items())},
        }

    @classmethod
    def of(cls, told: Mapping[str, object]) -> Self:
        """From the file.

        Raises:
            KeyError, ValueError, TypeError: malformed.
        """
        unfinished, refused, answers = told["unfinished"], told["refused"], told["answers"]
        if not isinstance(unfinished, dict) or not isinstance(refused, int) or not isinstance(answers, dict):
            raise TypeError("a record is malformed")
        counts = cast("dict[str, int]", unfinished)
        known = cast("dict[str, dict[str, object]]", answers)
        return cls(
            {int(version, 16): int(count) for version, count in counts.items()},
            refused,
            str(told["last"]),
            str(told["when"]),
            {int(version, 16): RecordedAnswer.of(answer) for version, answer in known.items()},
        )


class GuardLedger:
    """The records of all cards.

    Args:
        path: the file; its folder is made when it is not there.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def record(self, card: str) -> CardRecord:
        """What is remembered of a card.

        Raises:
            PersonalizationError: "key-guard-unreadable", "key-guard-busy", exit 3.
        """
        with self._locked():
            return self._read().get(card, CardRecord())

    def update(self, card: str, change: Callable[[CardRecord], CardRecord]) -> CardRecord:
        """Change the record of a card; it is on the medium when this returns.

        Raises:
            PersonalizationError: as `record`; "key-guard-unwritable", exit 3.
        """
        with self._locked():
            records = self._read()
            records[card] = changed = change(records.get(card, CardRecord()))
            self._write(records)
            return changed

    def forget(self, card: str) -> bool:
        """Drop the record of a card; False when there was none.

        Raises:
            PersonalizationError: as `update`.
        """
        with self._locked():
            records = self._read()
            if records.pop(card, None) is None:
                return False
            self._write(records)
            return True

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            make_folder(self._path.parent)
            with file_lock(Path(f"{self._path}.lock"), timeout=_LOCK_SECONDS):
                yield
        except Timeout as error:
            raise PersonalizationError("key-guard-busy", exit_code=3, file=str(self._path)) from error
        except OSError as error:
            raise PersonalizationError(
                "key-guard-unwritable",
                exit_code=3,
                file=str(self._path),
                reason=error.strerror or type(error).__name__,
            ) from error

    def _read(self) -> dict[str, CardRecord]:
        try:
            document = cast("object", json.loads(self._path.read_text("utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._unreadable(type(error).__name__) from error
        table = cast("dict[str, object]", document) if isinstance(document, dict) else {}
        if (table.get("format"), table.get("version")) != (_FORMAT, _VERSION):
            raise self._unreadable("another format")
        try:
            cards = cast("dict[str, dict[str, object]]", table["cards"])
            return {card: CardRecord.of(told) for card, told in cards.items()}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            # Nobody knows what failed before, so nothing may be tried: a guard that forgets is none.
            raise self._unreadable(type(error).__name__) from error

    def _write(self, records: Mapping[str, CardRecord]) -> None:
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "cards": {card: record.document() for card, record in records.items()},
        }
        write_atomically(self._path, json.dumps(document, indent=1).encode())

    def _unreadable(self, reason: str) -> PersonalizationError:
        return PersonalizationError("key-guard-unreadable", exit_code=3, file=str(self._path), reason=reason)
