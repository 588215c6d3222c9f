"""An issuing centre's folder: where its keys, journal, batches, cards and reports are.

centre/
keys.json        encrypted key store
journal.sqlite   journal, stock and audit
batches/ID/      prepared records, card-face data, PIN mailers; all sealed
cards/           images of simulated cards
reports/ID/      report of a batch, a page a card
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from personalization.errors import PersonalizationError
from personalization.keys.file_store import FileKeyStoreLocation
from personalization.keys.passphrase import PassphraseSource

PASSPHRASE_VARIABLE: Final = "PERMITCARD_PASSPHRASE"  # noqa: S105 - a variable's name
"""Environment variable with the passphrase of the key store."""

PASSPHRASE_FILE_VARIABLE: Final = "PERMITCARD_PASSPHRASE_FILE"  # noqa: S105 - same
"""Environment variable with the path of a file that holds it."""

_OWNER_ONLY: Final = 0o600
_OWNER_ONLY_FOLDER: Final = 0o700


@dataclass(frozen=True, slots=True)
class Centre:
    """Paths of one issuing centre.

    Attributes:
        root: the centre's folder.
    """

    root: Path

    @property
    def keys(self) -> Path:
        """File of the key store."""
        return self.root / "keys.json"

    @property
    def journal(self) -> Path:
        """Journal database."""
        return self.root / "journal.sqlite"

    @property
    def cards(self) -> Path:
        """Images of simulated cards."""
        return self.root / "cards"

    @property
    def test_passphrase(self) -> Path:
        """Passphrase file of a try-out centre, made by ``permitcard keys init --try-out``."""
        return self.root / "TRY-OUT-passphrase.txt"

    def batch(self, identifier: str) -> Path:
        """Folder of one batch's sealed files."""
        return self.root / "batches" / identifier

    def report(self, identifier: str) -> Path:
        """Folder of one batch's report."""
        return self.root / "reports" / identifier

    def passphrase_source(self) -> PassphraseSource:
        """Where the passphrase comes from: the environment, a file it names, or the try-out's own file.

        Raises:
            PersonalizationError: "passphrase-nowhere", exit 2.
        """
        if os.environ.get(PASSPHRASE_VARIABLE):
            return PassphraseSource.environment(PASSPHRASE_VARIABLE)
        if path := os.environ.get(PASSPHRASE_FILE_VARIABLE):
            return PassphraseSource.file(Path(path))
        if self.test_passphrase.exists():
            return PassphraseSource.file(self.test_passphrase)
        raise PersonalizationError(
            "passphrase-nowhere", exit_code=2, variable=PASSPHRASE_VARIABLE, file_variable=PASSPHRASE_FILE_VARIABLE
        )

    def key_store(self) -> FileKeyStoreLocation:
        """Where the key store is and how it is opened, for this process and for stations.

        Raises:
            PersonalizationError: "centre-missing", exit 2.
        """
        if not self.keys.exists():
            raise PersonalizationError("centre-missing", exit_code=2, path=str(self.root))
        return FileKeyStoreLocation(self.keys, self.passphrase_source())

    def make_root(self) -> None:
        """Make the folder, closed to others: reports and journal tell whose card was made when."""
        self.root.mkdir(_OWNER_ONLY_FOLDER, parents=True, exist_ok=True)

    def make_test_passphrase(self) -> PassphraseSource:
        """Write a random passphrase beside the keys; for try-outs only, since it lies open."""
        self.make_root()
        value = secrets.token_urlsafe(24)
        descriptor = os.open(self.test_passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(value + "\n")
        return PassphraseSource.file(self.test_passphrase)
