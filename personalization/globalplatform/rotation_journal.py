"""What is written down before a card's keys are changed, so that an interrupted change can be finished or undone.

One small JSON file a card, replaced as a whole. It names versions and check values; the keys themselves stay with
whoever holds them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder

_FORMAT: Final = "permitcard key rotation"


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """A change of key sets that was begun.

    Attributes:
        card: identity of the card, as the key guard knows it.
        domain: AID of the security domain.
        old_version: version of the set that goes.
        old_check: check values of its three keys.
        new_version: version of the set that comes.
        new_check: check values of its three keys.
        when: when it was begun, in ISO form.
    """

    card: str
    domain: bytes
    old_version: int
    old_check: bytes
    new_version: int
    new_check: bytes
    when: str


class RotationJournal:
    """Plans on a medium.

    Args:
        folder: where the files are; made when it is not there.
    """

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def plan(self, card: str, domain: bytes) -> RotationPlan | None:
        """The change that was begun on a card and not closed.

        Raises:
            PersonalizationError: "rotation-journal-unreadable", exit 3.
        """
        path = self._path(card, domain)
        try:
            told = cast("dict[str, str]", json.loads(path.read_text("utf-8")))
            if told["format"] != _FORMAT:
                return self._refuse(path)
            return RotationPlan(
                told["card"],
                bytes.fromhex(told["domain"]),
                int(told["old_version"], 16),
                bytes.fromhex(told["old_check"]),
                int(told["new_version"], 16),
                bytes.fromhex(told["new_check"]),
                told["when"],
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return self._refuse(path)

    def begin(self, plan: RotationPlan) -> None:
        """Write a plan; it is on the medium when this returns.

        Raises:
            PersonalizationError: "rotation-open": there is one for the card; "rotation-journal-unwritable", exit 3.
        """
        path = self._path(plan.card, plan.domain)
        document = {
            "format": _FORMAT,
            "card": plan.card,
            "domain": plan.domain.hex(),
            "old_version": f"{plan.old_version:02X}",
            "old_check": plan.old_check.hex(),
            "new_version": f"{plan.new_version:02X}",
            "new_check": plan.new_check.hex(),
            "when": plan.when,
        }
        try:
            make_folder(self._folder)
            write_atomically(path, json.dumps(document, indent=1).encode(), replace=False)
        except FileExistsError as error:
            if path.exists():
                raise PersonalizationError("rotation-open", card=plan.card, when=plan.when) from error
            raise self._unwritable(path, error) from error
        except OSError as error:
            raise self._unwritable(path, error) from error

    def close(self, plan: RotationPlan) -> None:
        """Drop a plan that was carried out or undone."""
        self._path(plan.card, plan.domain).unlink(missing_ok=True)

    def _path(self, card: str, domain: bytes) -> Path:
        name = hashlib.sha256(f"{card} {domain.hex()}".encode()).hexdigest()[:24]
        return self._folder / f"{name}.json"

    @staticmethod
    def _unwritable(path: Path, error: OSError) -> PersonalizationError:
        reason = error.strerror or type(error).__name__
        return PersonalizationError("rotation-journal-unwritable", exit_code=3, file=str(path), reason=reason)

    def _refuse(self, path: Path) -> RotationPlan:
        raise PersonalizationError("rotation-journal-unreadable", exit_code=3, file=str(path))
