"""Reaching a token: library, label, login, and what goes wrong there in words.

Source: OASIS PKCS #11 Cryptographic Token Interface Base Specification 2.40, clauses 5.1 (return values) and 5.6
(session management).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

import pkcs11
from pkcs11 import Session, Token, exceptions

from personalization.errors import PersonalizationError

_ENVIRONMENT: Final = 3

CODES: Final[Mapping[type[exceptions.PKCS11Error], str]] = MappingProxyType(
    {
        exceptions.NoSuchToken: "hsm-token-missing",
        exceptions.MultipleTokensReturned: "hsm-token-ambiguous",
        exceptions.TokenNotRecognised: "hsm-token-missing",
        exceptions.PinIncorrect: "hsm-pin-wrong",
        exceptions.PinInvalid: "hsm-pin-wrong",
        exceptions.PinLenRange: "hsm-pin-wrong",
        exceptions.PinExpired: "hsm-pin-expired",
        exceptions.PinLocked: "hsm-pin-locked",
        exceptions.UserPinNotInitialized: "hsm-token-uninitialised",
        exceptions.DeviceMemory: "hsm-token-full",
        exceptions.TokenWriteProtected: "hsm-write-protected",
        exceptions.SessionCount: "hsm-too-many-sessions",
        exceptions.MechanismInvalid: "hsm-mechanism-missing",
    }
)
"""Return values of the token that an operator mends in different ways; all others are "hsm-unavailable"."""


class Login(Enum):
    """Who logs in to the token."""

    USER = "user"
    SECURITY_OFFICER = "security officer"


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where a token is; picklable, and no secret.

    Attributes:
        module: path of the vendor's PKCS#11 library.
        label: label of the token.
    """

    module: str
    label: str


@contextmanager
def reported(place: TokenPlace) -> Generator[None]:
    """Turn what the token's library says into a `PersonalizationError` with exit code 3.

    The library's own exceptions are not chained: their text is the vendor's, and may quote what was asked.
    """
    try:
        yield
    except exceptions.PKCS11Error as error:
        raise failure(place, error) from None


def failure(place: TokenPlace, error: exceptions.PKCS11Error) -> PersonalizationError:
    """The error for people that stands for one of the library."""
    code = CODES.get(type(error), "hsm-unavailable")
    return PersonalizationError(
        code, exit_code=_ENVIRONMENT, token=place.label, module=place.module, cause=type(error).__name__
    )


@contextmanager
def logged_in(place: TokenPlace, pin: bytes, login: Login = Login.USER, *, write: bool = False) -> Generator[Session]:
    """A session for as long as the block lasts; see `open_session`."""
    session = open_session(place, pin, login, write=write)
    try:
        with reported(place):
            yield session
    finally:
        close_session(session)


def open_session(place: TokenPlace, pin: bytes, login: Login = Login.USER, *, write: bool = False) -> Session:
    """Log in to the token.

    The login is of the whole process: sessions that are opened while it holds share it, and it ends when the session
    that logged in is closed, which therefore has to be the last one.

    Args:
        place: where the token is.
        pin: UTF-8.
        login: as whom.
        write: whether objects are made or destroyed; the security officer always may.

    Raises:
        PersonalizationError: exit 3: "hsm-module-unusable", or a code of the table above.
    """
    token = _find(place)
    with reported(place):
        if login is Login.SECURITY_OFFICER:
            return token.open(rw=True, so_pin=pin.decode())  # a security officer has no other sessions
        try:
            return token.open(rw=write, user_pin=pin.decode())
        except exceptions.UserAlreadyLoggedIn:
            return token.open(rw=write)


def close_session(session: Session) -> None:
    """End a session, also with a token that is gone."""
    try:
        session.close()
    except exceptions.PKCS11Error:
        return  # the token has forgotten it already


def _find(place: TokenPlace) -> Token:
    try:
        library = pkcs11.lib(place.module)
    except exceptions.PKCS11Error as error:
        if type(error) is not exceptions.PKCS11Error:
            raise failure(place, error) from None  # a library that was loaded, and cannot reach its tokens
        raise PersonalizationError(
            "hsm-module-unusable", exit_code=_ENVIRONMENT, module=place.module, cause=type(error).__name__
        ) from None
    with reported(place):
        return library.get_token(token_label=place.label)
