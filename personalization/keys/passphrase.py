"""Where the passphrase of a key store comes from: a description that holds no secret and travels between processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

from personalization.errors import PersonalizationError, unread


class PassphraseOrigin(Enum):
    """Kinds of places a passphrase can be taken from without a person."""

    ENVIRONMENT = "environment"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class PassphraseSource:
    """A place, not a passphrase.

    Attributes:
        origin: environment variable or file.
        place: name of the variable, or path of the file; of a file the first line counts.
    """

    origin: PassphraseOrigin
    place: str

    @classmethod
    def environment(cls, variable: str) -> Self:
        """The value of an environment variable, as UTF-8."""
        return cls(PassphraseOrigin.ENVIRONMENT, variable)

    @classmethod
    def file(cls, path: Path) -> Self:
        """The first line of a file, without its line end."""
        return cls(PassphraseOrigin.FILE, str(path))

    def read(self) -> bytes:
        """The passphrase.

        Raises:
            PersonalizationError: "passphrase-missing", exit 3; nothing there, or an empty one.
        """
        passphrase = self._from_environment() if self.origin is PassphraseOrigin.ENVIRONMENT else self._from_file()
        if not passphrase:
            raise self._missing()
        return passphrase

    def _from_environment(self) -> bytes:
        return os.environ.get(self.place, "").encode()

    def _from_file(self) -> bytes:
        try:
            with Path(self.place).open("rb") as stream:
                return stream.readline().rstrip(b"\r\n")
        except OSError as error:
            raise unread(error, Path(self.place), self._missing()) from error

    def _missing(self) -> PersonalizationError:
        return PersonalizationError("passphrase-missing", exit_code=3, origin=self.origin.value, place=self.place)
