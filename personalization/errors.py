"""Errors of the issuing side: a code with parameters, which the front door turns into words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class PersonalizationError(Exception):
    """A mistake or a failure that an operator has to know of.

    Args:
        code: stable identifier such as "batch-file-unreadable"; a message of that name stands in the catalogues.
        exit_code: 1 found failures, 2 usage, 3 environment.
        parameters: facts for the message; never keys, PINs, account numbers or personal data.
    """

    def __init__(self, code: str, *, exit_code: int = 1, **parameters: object) -> None:
        super().__init__(code, parameters)
        self.code = code
        self.exit_code = exit_code
        self.parameters = parameters

    def __reduce__(self) -> tuple[Callable[..., PersonalizationError], tuple[object, ...]]:
        """Workers send their errors to the process that started them."""
        return _again, (type(self), self.code, self.exit_code, self.parameters)

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.code}: {facts}" if facts else self.code


def unread(error: OSError, path: Path, missing: PersonalizationError) -> PersonalizationError:
    """What to raise where a file cannot be read.

    Args:
        error: what the system said.
        path: the file.
        missing: what is said where there is none; it would send people to look for a file that they may not read.
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return missing
    cause = error.strerror or type(error).__name__
    return PersonalizationError("file-failure", exit_code=3, path=str(path), cause=cause)


def _again(
    kind: type[PersonalizationError], code: str, exit_code: int, parameters: dict[str, object]
) -> PersonalizationError:
    return kind(code, exit_code=exit_code, **parameters)
