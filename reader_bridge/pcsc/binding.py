"""The library's binding, and what its results mean to us."""

from __future__ import annotations

from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Final

from reader_bridge.connection import ReaderError

if TYPE_CHECKING:
    from collections.abc import Generator

CODES: Final = {
    "SCARD_E_NO_SERVICE": "no-service",
    "SCARD_E_SERVICE_STOPPED": "no-service",
    "SCARD_E_NO_READERS_AVAILABLE": "no-reader",
    "SCARD_E_UNKNOWN_READER": "no-reader",
    "SCARD_E_READER_UNAVAILABLE": "reader-removed",
    "SCARD_E_INVALID_HANDLE": "reader-removed",
    "SCARD_E_NO_SMARTCARD": "no-card",
    "SCARD_W_REMOVED_CARD": "card-removed",
    "SCARD_W_RESET_CARD": "card-reset",
    "SCARD_W_UNPOWERED_CARD": "mute",
    "SCARD_W_UNRESPONSIVE_CARD": "mute",
    "SCARD_W_UNSUPPORTED_CARD": "mute",
    "SCARD_E_SHARING_VIOLATION": "reader-in-use",
    "SCARD_E_PROTO_MISMATCH": "protocol-mismatch",
    "SCARD_E_TIMEOUT": "time-out",
    "SCARD_E_NOT_TRANSACTED": "transmission-failed",
    "SCARD_F_COMM_ERROR": "transmission-failed",
    "SCARD_E_INSUFFICIENT_BUFFER": "response-too-long",
    "SCARD_W_SECURITY_VIOLATION": "pcsc-not-allowed",
    "SCARD_E_NO_ACCESS": "pcsc-not-allowed",
    "SCARD_E_UNSUPPORTED_FEATURE": "not-supported",
}
"""Results of the library by name, and our codes."""
OTHERWISE: Final = "pcsc-failed"


def load() -> ModuleType:
    """The binding; a machine without it can still use simulated cards.

    Raises:
        ReaderError: "no-pcsc".
    """
    try:
        from smartcard import scard
    except ImportError as error:
        raise ReaderError("no-pcsc", reason=str(error)) from error
    binding: ModuleType = scard
    return binding


def establish(scard: ModuleType) -> int:
    """A context of the service, to be released.

    Raises:
        ReaderError: "no-service".
    """
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    check(scard, code)
    return int(context)


@contextmanager
def service(scard: ModuleType) -> Generator[int]:
    """A context of the service, for as long as the block runs.

    Raises:
        ReaderError: "no-service".
    """
    context = establish(scard)
    try:
        yield context
    finally:
        scard.SCardReleaseContext(context)


def code_of(scard: ModuleType, number: int) -> str | None:
    """Our code for a PC/SC result, None for success."""
    if number == scard.SCARD_S_SUCCESS:
        return None
    for name, code in CODES.items():
        if vars(scard).get(name) == number:
            return code
    return OTHERWISE


def check(scard: ModuleType, number: int, reader: str = "") -> None:
    """Raise what a result means.

    Raises:
        ReaderError: it is not success.
    """
    code = code_of(scard, number)
    if code is not None:
        raise ReaderError(code, reader=reader, reason=str(scard.SCardGetErrorMessage(number)).strip(" ."), known="-")


def reader_names(scard: ModuleType, context: int, reader: str = "") -> list[str]:
    """The names of all readers; none is no error.

    Raises:
        ReaderError: the service does not answer.
    """
    code, names = scard.SCardListReaders(context, [])
    if code_of(scard, code) == "no-reader":
        return []
    check(scard, code, reader)
    return [str(name) for name in names]


def look(scard: ModuleType, context: int, name: str) -> tuple[int, bytes]:
    """The state of a reader (bits SCARD_STATE_*) and the ATR of the card in it; 0 and nothing where nobody tells."""
    try:
        code, states = scard.SCardGetStatusChange(context, 0, [(name, scard.SCARD_STATE_UNAWARE)])
    except UnicodeEncodeError:
        return _look_inside(scard, context, name)
    return (states[0][1], bytes(states[0][2])) if code == scard.SCARD_S_SUCCESS else (0, b"")


def is_watchable(name: str) -> bool:
    """True when the binding takes the name where it waits for changes: it has to be ASCII there, and there alone."""
    return name.isascii()


def _look_inside(scard: ModuleType, context: int, name: str) -> tuple[int, bytes]:
    """The same by a connection to the reader without its card, which gives the card no power."""
    code, handle, _ = scard.SCardConnect(context, name, scard.SCARD_SHARE_DIRECT, 0)
    if code != scard.SCARD_S_SUCCESS:
        return 0, b""
    try:
        code, _, _, _, atr = scard.SCardStatus(handle)
    finally:
        scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
    if code != scard.SCARD_S_SUCCESS or not atr:
        return int(scard.SCARD_STATE_EMPTY), b""
    return int(scard.SCARD_STATE_PRESENT), bytes(atr)


def find_name(names: list[str], wanted: str) -> str:
    """The reader of a name, or of a part that only one has.

    Raises:
        ReaderError: "no-reader" or "reader-ambiguous".
    """
    if wanted in names:
        return wanted
    matching = [name for name in names if wanted and wanted in name]
    if len(matching) != 1:
        problem = "reader-ambiguous" if matching else "no-reader"
        raise ReaderError(problem, reader=wanted, known="; ".join(names))
    return matching[0]
