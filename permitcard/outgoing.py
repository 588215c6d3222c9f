"""One file that leaves the centre, in clear or for one recipient, and the entry of the audit trail that tells of it.

The trail tells of a file before it has its name on the disk: nothing leaves that it does not know of, and nothing
counts as written that a full disk has kept.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from personalization.atomic_file import open_atomically
from personalization.errors import PersonalizationError
from personalization.production.journal.batches import find_batch
from personalization.production.journal.events import Entry, What, record
from personalization.returns.envelope import ENDING

if TYPE_CHECKING:
    from permitcard.job import Job
    from personalization.returns.envelope import RecipientCertificate

_USAGE: Final = 2
_BLOCK: Final = 1 << 18


class Outgoing(NamedTuple):
    """Where a file goes.

    Attributes:
        path: of the file; with a recipient, ``.p7m`` comes behind it.
        recipient: who alone can open it; None leaves it in clear.
    """

    path: Path
    recipient: RecipientCertificate | None = None

    @property
    def target(self) -> Path:
        """The name that the file will have."""
        return self.path if self.recipient is None else self.path.with_name(self.path.name + ENDING)

    def require_kind(self, endings: frozenset[str]) -> str:
        """The ending of the name, in lower case, when it is one of these and the name is free.

        Raises:
            PersonalizationError: exit 2: "outgoing-kind", "outgoing-exists".
        """
        ending = self.path.suffix.lower()
        if ending not in endings:
            kinds = " ".join(sorted(endings))
            raise PersonalizationError("outgoing-kind", exit_code=_USAGE, file=str(self.path), kinds=kinds)
        if self.target.exists():
            raise PersonalizationError("outgoing-exists", exit_code=_USAGE, file=str(self.target))
        return ending

    def write(
        self, job: Job, identifier: str, what: What, facts: Mapping[str, object], fill: Callable[[BinaryIO], None]
    ) -> Path:
        """Write the file and its entry, both or none; returns where it is.

        Args:
            job: the centre at work.
            identifier: batch that the entry is of.
            what: the entry.
            facts: of the entry; the file's SHA-256 and the recipient's come to them.
            fill: writes the content in clear.

        Raises:
            PersonalizationError: "outgoing-exists", exit 2.
        """
        batch = find_batch(job.journal, identifier)
        try:
            with open_atomically(self.target, replace=False) as stream:
                self._fill(stream, fill)
                stream.flush()
                os.fsync(stream.fileno())  # a full disk shows before the trail says that there is a file
                stream.seek(0)
                entry = Entry(what, batch.id, facts={**facts, **self._facts(stream)})
                with job.journal.transaction() as connection:
                    record(connection, job.operator.name, [entry])
        except FileExistsError:
            raise PersonalizationError("outgoing-exists", exit_code=_USAGE, file=str(self.target)) from None
        job.checkpoint_if_possible()
        return self.target

    def _fill(self, stream: BinaryIO, fill: Callable[[BinaryIO], None]) -> None:
        if self.recipient is None:
            fill(stream)
        else:
            clear = io.BytesIO()
            fill(clear)
            stream.write(self.recipient.seal(clear.getvalue()))

    def _facts(self, stream: BinaryIO) -> dict[str, object]:
        digest = hashlib.sha256()
        for block in iter(lambda: stream.read(_BLOCK), b""):
            digest.update(block)
        return {
            "sha256": digest.hexdigest(),
            "recipient": None if self.recipient is None else self.recipient.fingerprint,
        }
