"""An issuing centre's folder: where its keys, journal, batches, cards and reports are.

centre/
keys.json        encrypted key store, for rehearsals
batch-keys/      keys of batches, for a file store; no backup may take it
hsm.toml         or: which PKCS#11 token the keys are in
journal.sqlite   journal, stock and audit
journal.toml     or: which PostgreSQL database they are in, for centres of several machines
locks/           lock files of this machine's stations, with PostgreSQL
batches/ID/      prepared records, card-face data, PIN mailers; all sealed
hooks.toml       machines around the stations: feeder, printer, camera
sams.toml        readers with SAMs, for stations and desks
sams/            SAMs of a rehearsal, simulated
operators.toml   who may do what; a rehearsal of one person does without
group.toml       the group of system accounts that the centre is of; without it, it is its owner's alone
certificates/    what was erased, and which keys were changed, signed
transcripts/     of key ceremonies, signed
checkpoints/     signed ends of the audit trail; copy them to where the journal's writers cannot write
cards/           images of simulated cards
reports/ID/      report of a batch, a page a card
"""

from __future__ import annotations

import json
import os
import secrets
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from permitcard.centre_group import give, require_access, require_group, require_owner
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import OWNER_ALONE, read_settings
from personalization.keys.file_store import FileKeyStoreLocation
from personalization.keys.keystore import KeyStoreLocation
from personalization.keys.passphrase import PassphraseSource

if TYPE_CHECKING:
    from personalization.keys.hsm.token import TokenPlace
    from personalization.production.journal.place import JournalPlace

PASSPHRASE_VARIABLE: Final = "PERMITCARD_PASSPHRASE"  # noqa: S105 - a variable's name
"""Environment variable with the passphrase of the key store."""

PASSPHRASE_FILE_VARIABLE: Final = "PERMITCARD_PASSPHRASE_FILE"  # noqa: S105 - same
"""Environment variable with the path of a file that holds it."""

MODULE_VARIABLE: Final = "PERMITCARD_PKCS11_MODULE"
"""Environment variable with the path of the HSM's PKCS#11 library."""

TOKEN_VARIABLE: Final = "PERMITCARD_PKCS11_TOKEN"  # noqa: S105 - a variable's name
"""Environment variable with the label of the token."""

PIN_VARIABLE: Final = "PERMITCARD_PKCS11_PIN"
"""Environment variable with the PIN of the token's user; with ``_FILE`` behind it, the path of a file that holds it."""

OFFICER_PIN_VARIABLE: Final = "PERMITCARD_PKCS11_SO_PIN"
"""Environment variable with the PIN of the security officer, who is needed for ceremonies only; same with ``_FILE``."""

SAM_VARIABLE: Final = "PERMITCARD_SAM"
"""Environment variable with the addresses of the readers that hold this terminal's SAMs, with ``;`` between them."""

JOURNAL_PASSWORD_VARIABLE: Final = "PERMITCARD_JOURNAL_PASSWORD"  # noqa: S105 - a variable's name
"""Environment variable with the password of the journal's database; with ``_FILE`` behind it, the path of a file."""

_BETWEEN: Final = ";"  # names of readers have blanks, and paths colons


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
    def hsm(self) -> Path:
        """File that names the PKCS#11 token."""
        return self.root / "hsm.toml"

    @property
    def journal(self) -> Path:
        """Journal database."""
        return self.root / "journal.sqlite"

    @property
    def journal_file(self) -> Path:
        """File that names the journal's database on a server."""
        return self.root / "journal.toml"

    def journal_place(self) -> JournalPlace:
        """Where the journal is: the database that `journal_file` names, else the file in the centre.

        Raises:
            PersonalizationError: as `require_access`; "journal-file-malformed", "settings-not-owners", exit 3;
                "journal-url-malformed", "journal-url-password".
        """
        from personalization.production.journal.place import SqliteFile

        require_access(self.root)
        if not self.journal_file.exists():
            return SqliteFile(self.journal)
        try:
            url = str(tomllib.loads(read_settings(self.journal_file))["journal"]["url"])
        except (ValueError, KeyError, TypeError):
            raise PersonalizationError("journal-file-malformed", exit_code=3, file=str(self.journal_file)) from None
        return self.journal_on_server(url)

    def journal_on_server(self, url: str) -> JournalPlace:
        """A journal in a database of a server; its password comes from the environment, a file, or libpq.

        Raises:
            PersonalizationError: exit 2: "journal-url-malformed", "journal-url-password".
        """
        from personalization.production.journal.place import PostgresServer, parse_url

        parse_url(url)
        password = None
        if os.environ.get(JOURNAL_PASSWORD_VARIABLE):
            password = PassphraseSource.environment(JOURNAL_PASSWORD_VARIABLE)
        elif path := os.environ.get(JOURNAL_PASSWORD_VARIABLE + "_FILE"):
            password = PassphraseSource.file(Path(path))
        return PostgresServer(url, self.root / "locks", password)

    def name_journal(self, url: str) -> None:
        """Write which database the journal is in; a password is never in that file."""
        content = f"[journal]\nurl = {json.dumps(url)}\n"
        write_atomically(self.journal_file, content.encode(), replace=False, settings=True)

    @property
    def operators(self) -> Path:
        """Roster of operators."""
        return self.root / "operators.toml"

    @property
    def hooks(self) -> Path:
        """Hooks of the machines around stations."""
        return self.root / "hooks.toml"

    @property
    def sam_file(self) -> Path:
        """File that names the readers with SAMs."""
        return self.root / "sams.toml"

    def sams(self) -> tuple[str, ...]:
        """Addresses of readers with SAMs: from the environment, else from the centre's file; empty without either.

        Raises:
            PersonalizationError: "sam-file-malformed", exit 3.
        """
        if named := os.environ.get(SAM_VARIABLE):
            return tuple(address.strip() for address in named.split(_BETWEEN) if address.strip())
        if not self.sam_file.exists():
            return ()
        try:
            readers = tomllib.loads(read_settings(self.sam_file))["sams"]["readers"]
        except (ValueError, KeyError, TypeError):
            readers = None
        if not isinstance(readers, list) or not all(isinstance(address, str) for address in readers):
            raise PersonalizationError("sam-file-malformed", exit_code=3, file=str(self.sam_file))
        return tuple(self._within(address) for address in readers)

    def _within(self, address: str) -> str:
        """The address, with the path of a card file taken from the centre's folder."""
        kind, separator, path = address.partition("sim:")
        return f"{kind}{separator}{self.root / path}" if separator and not kind else address

    @property
    def certificates(self) -> Path:
        """Signed certificates of what was erased."""
        return self.root / "certificates"

    @property
    def transcripts(self) -> Path:
        """Signed transcripts of key ceremonies."""
        return self.root / "transcripts"

    @property
    def checkpoints(self) -> Path:
        """Signed checkpoints of the audit trail."""
        return self.root / "checkpoints"

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

    @property
    def passphrase_is_given(self) -> bool:
        """The environment holds a passphrase, or names a file; it goes before the try-out's own file."""
        return bool(os.environ.get(PASSPHRASE_VARIABLE) or os.environ.get(PASSPHRASE_FILE_VARIABLE))

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

    def key_store(self) -> KeyStoreLocation:
        """Where the key store is and how it is opened, for this process and for stations.

        Raises:
            PersonalizationError: as `require_access`; "centre-missing", exit 2; "centre-keys-gone",
                "hsm-file-malformed", "settings-not-owners", "hsm-library-missing", exit 3.
        """
        require_access(self.root)
        if self.hsm.exists():
            with _library_needed():
                from personalization.keys.hsm.store import HsmKeyStoreLocation

            return HsmKeyStoreLocation(self.token(), self.pin_source(PIN_VARIABLE))
        if not self.keys.exists():
            self.require_never_used()
            raise PersonalizationError("centre-missing", exit_code=2, path=str(self.root))
        return FileKeyStoreLocation(self.keys, self.passphrase_source())

    def require_never_used(self) -> None:
        """Refuse a folder without keys in which something was made: new keys would not know it again.

        Raises:
            PersonalizationError: "centre-keys-gone", exit 3.
        """
        if self.journal.exists() or any(self.checkpoints.glob("*.json")):
            raise PersonalizationError(
                "centre-keys-gone", exit_code=3, path=str(self.root), file=self.keys.name, token_file=self.hsm.name
            )

    def token(self) -> TokenPlace:
        """The PKCS#11 token: from the environment, else from the centre's file.

        Raises:
            PersonalizationError: "hsm-nowhere", exit 2; "hsm-file-malformed", "hsm-library-missing", exit 3.
        """
        with _library_needed():
            from personalization.keys.hsm.token import TokenPlace

        named = self._token_file() if self.hsm.exists() else {}
        module = os.environ.get(MODULE_VARIABLE) or named.get("module")
        label = os.environ.get(TOKEN_VARIABLE) or named.get("token")
        if not module or not label:
            raise PersonalizationError(
                "hsm-nowhere", exit_code=2, module_variable=MODULE_VARIABLE, token_variable=TOKEN_VARIABLE
            )
        return TokenPlace(module, label)

    def _token_file(self) -> dict[str, str]:
        try:
            document = tomllib.loads(read_settings(self.hsm))["pkcs11"]
            return {name: str(document[name]) for name in ("module", "token")}
        except (ValueError, KeyError, TypeError):
            raise PersonalizationError("hsm-file-malformed", exit_code=3, file=str(self.hsm)) from None

    def name_token(self, place: TokenPlace) -> None:
        """Write which token the keys are in; a PIN is never in that file."""
        content = f"[pkcs11]\nmodule = {json.dumps(place.module)}\ntoken = {json.dumps(place.label)}\n"
        write_atomically(self.hsm, content.encode(), replace=False, settings=True)

    def pin_source(self, variable: str) -> PassphraseSource:
        """Where a PIN comes from: the environment, or a file that it names.

        Args:
            variable: `PIN_VARIABLE` or `OFFICER_PIN_VARIABLE`.

        Raises:
            PersonalizationError: "hsm-pin-nowhere", exit 2.
        """
        if os.environ.get(variable):
            return PassphraseSource.environment(variable)
        if path := os.environ.get(variable + "_FILE"):
            return PassphraseSource.file(Path(path))
        raise PersonalizationError("hsm-pin-nowhere", exit_code=2, variable=variable, file_variable=variable + "_FILE")

    def make_root(self, group: str | None = None) -> None:
        """Make the folder, closed to others: reports and journal tell whose card was made when.

        Args:
            group: of system accounts, which the centre is given to; None leaves it whose it is.

        Raises:
            PersonalizationError: as `centre_group.give`; "centre-not-owner", exit 2.
        """
        if group is not None:
            require_group(group)
        self.root.mkdir(OWNER_ALONE.folder, parents=True, exist_ok=True)
        if group is not None:
            give(self.root, group)
        require_owner(self.root)

    def make_test_passphrase(self) -> PassphraseSource:
        """Write a random passphrase beside the keys; for try-outs only, since it lies open."""
        self.make_root()
        value = secrets.token_urlsafe(24)
        write_atomically(self.test_passphrase, f"{value}\n".encode("ascii"), replace=False)
        return PassphraseSource.file(self.test_passphrase)


@contextmanager
def _library_needed() -> Generator[None]:
    """Say which library is missing; only centres with an HSM need it."""
    try:
        yield
    except ImportError:
        raise PersonalizationError("hsm-library-missing", exit_code=3) from None
