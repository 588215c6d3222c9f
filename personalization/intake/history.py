"""What was received before: files, permit numbers, and citizens who hold a permit."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

from personalization.intake.applicant import Batch


class History(Protocol):
    """Memory of earlier batches.

    A production journal keeps no numbers: it answers by their recognition values (HMAC under the recognition key).
    Both number questions are asked once a batch, for all its numbers together.
    """

    def batch_of_file(self, sha256: bytes) -> str | None:
        """Name of the batch that a file of this SHA-256 was accepted as; None when it is new."""
        ...

    def known_permit_numbers(self, numbers: Collection[str]) -> AbstractSet[str]:
        """Those of ``numbers`` that an accepted batch held before."""
        ...

    def permit_holders(self, citizen_numbers: Collection[str]) -> AbstractSet[str]:
        """Those of ``citizen_numbers`` whose citizen has an older permit that is not cancelled."""
        ...


class RememberedBatches:
    """A history in memory, for trials and for a first batch."""

    def __init__(self, batches: Iterable[Batch] = ()) -> None:
        self._files: dict[bytes, str] = {}
        self._permits: set[str] = set()
        self._citizens: set[str] = set()
        for batch in batches:
            self.remember(batch)

    def remember(self, batch: Batch) -> None:
        """Add an accepted batch."""
        self._files[batch.source_sha256] = batch.identifier
        self._permits.update(applicant.permit_number for applicant in batch.applicants)
        self._citizens.update(applicant.citizen_number for applicant in batch.applicants)

    def batch_of_file(self, sha256: bytes) -> str | None:
        """See `History`."""
        return self._files.get(sha256)

    def known_permit_numbers(self, numbers: Collection[str]) -> AbstractSet[str]:
        """See `History`."""
        return self._permits.intersection(numbers)

    def permit_holders(self, citizen_numbers: Collection[str]) -> AbstractSet[str]:
        """See `History`."""
        return self._citizens.intersection(citizen_numbers)
