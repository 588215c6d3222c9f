"""Errors of the card, one class for each status word that a handler may raise.

Handlers return data or raise one of these; only the dispatcher makes status bytes. Anything else that leaves a
handler is a bug and is answered 6F00. ``reason`` is for traces and `why`, never for the wire, and never holds secrets.

    Exception
    └── CardError (carries .sw)
        ├── WrongLength 6700            ├── WrongData 6A80
        ├── SecurityStatus 6982         ├── FunctionNotSupported 6A81
        └── ... one class a status word

Source: ISO/IEC 7816-4:2020, clause 5.6, tables 5 and 6.
"""

from __future__ import annotations

from typing import ClassVar

from card_os.iso7816.status import SW, StatusWord


class CardError(Exception):
    """A command that ends with a status word other than 9000.

    Args:
        reason: what was wrong, for traces; no secrets and no personal data.
        data: response data that goes before the status word (warnings such as 6282 carry data).
    """

    sw: StatusWord = SW.NO_PRECISE_DIAGNOSIS
    status: ClassVar[StatusWord] = SW.NO_PRECISE_DIAGNOSIS

    def __init__(self, reason: str = "", *, data: bytes = b"") -> None:
        super().__init__(reason)
        self.sw = self.status
        self.reason = reason
        self.data = data


class VerificationFailed(CardError):
    """63Cx: reference data did not match; ``tries_left`` 0..15."""

    def __init__(self, tries_left: int, reason: str = "verification failed") -> None:
        super().__init__(reason)
        self.sw = StatusWord.retries_left(tries_left)


class EndOfFile(CardError):
    """6282: fewer bytes than Ne before the end of the file; carries what there is."""

    status = SW.END_OF_FILE


class FileDeactivatedWarning(CardError):
    """6283: the selected file is deactivated; carries the response data."""

    status = SW.FILE_DEACTIVATED_WARNING


class FileTerminatedWarning(CardError):
    """6285: the selected file is terminated; carries the response data."""

    status = SW.FILE_TERMINATED_WARNING


class AuthenticationFailed(CardError):
    """6300: a cryptogram did not match and no counter is shown."""

    status = SW.AUTHENTICATION_FAILED


class MoreDataFollows(CardError):
    """6310: more data available with the next occurrence (GlobalPlatform GET STATUS)."""

    status = SW.MORE_DATA_FOLLOWS


class MemoryFailure(CardError):
    """6581: a memory cell could not be programmed."""

    status = SW.MEMORY_FAILURE


class WrongLength(CardError):
    """6700: Lc or Le is wrong."""

    status = SW.WRONG_LENGTH


class ChannelNotSupported(CardError):
    """6881: the logical channel is not open."""

    status = SW.CHANNEL_NOT_SUPPORTED


class SecureMessagingNotSupported(CardError):
    """6882: no secure messaging session for this class byte."""

    status = SW.SECURE_MESSAGING_NOT_SUPPORTED


class LastOfChainExpected(CardError):
    """6883: a command came in the middle of another command's chain."""

    status = SW.LAST_OF_CHAIN_EXPECTED


class ChainingNotSupported(CardError):
    """6884: this command cannot be chained."""

    status = SW.CHAINING_NOT_SUPPORTED


class IncompatibleFileStructure(CardError):
    """6981: the command does not fit the structure of the file."""

    status = SW.INCOMPATIBLE_FILE_STRUCTURE


class SecurityStatusNotSatisfied(CardError):
    """6982: the access rule is not satisfied."""

    status = SW.SECURITY_STATUS_NOT_SATISFIED


class MethodBlocked(CardError):
    """6983: the try counter of the reference data is used up."""

    status = SW.METHOD_BLOCKED


class ReferenceDataNotUsable(CardError):
    """6984: the reference data cannot be used (no challenge, deactivated, expired)."""

    status = SW.REFERENCE_DATA_NOT_USABLE


class ConditionsNotSatisfied(CardError):
    """6985: the state of the card or file does not allow the command."""

    status = SW.CONDITIONS_NOT_SATISFIED


class NoCurrentEf(CardError):
    """6986: no EF is selected."""

    status = SW.NO_CURRENT_EF


class SmObjectMissing(CardError):
    """6987: an expected secure messaging data object is missing."""

    status = SW.SM_OBJECT_MISSING


class SmObjectIncorrect(CardError):
    """6988: a secure messaging data object is incorrect."""

    status = SW.SM_OBJECT_INCORRECT


class WrongData(CardError):
    """6A80: incorrect parameters in the command data field."""

    status = SW.WRONG_DATA


class FunctionNotSupported(CardError):
    """6A81: function not supported."""

    status = SW.FUNCTION_NOT_SUPPORTED


class FileNotFound(CardError):
    """6A82: file or application not found."""

    status = SW.FILE_NOT_FOUND


class RecordNotFound(CardError):
    """6A83: record not found."""

    status = SW.RECORD_NOT_FOUND


class NotEnoughMemory(CardError):
    """6A84: not enough memory space in the file or on the card."""

    status = SW.NOT_ENOUGH_MEMORY


class NcInconsistentWithTlv(CardError):
    """6A85: Nc does not fit the TLV structure."""

    status = SW.NC_INCONSISTENT_WITH_TLV


class IncorrectP1P2(CardError):
    """6A86: incorrect P1-P2."""

    status = SW.INCORRECT_P1_P2


class NcInconsistentWithP1P2(CardError):
    """6A87: Nc does not fit P1-P2."""

    status = SW.NC_INCONSISTENT_WITH_P1_P2


class ReferenceDataNotFound(CardError):
    """6A88: referenced data or key not found."""

    status = SW.REFERENCE_DATA_NOT_FOUND


class FileExists(CardError):
    """6A89: a file with this identifier exists."""

    status = SW.FILE_EXISTS


class DfNameExists(CardError):
    """6A8A: a DF or application with this name exists."""

    status = SW.DF_NAME_EXISTS


class WrongParameters(CardError):
    """6B00: wrong P1-P2 (offset outside the file)."""

    status = SW.WRONG_PARAMETERS


class InsNotSupported(CardError):
    """6D00: instruction code not supported or invalid."""

    status = SW.INS_NOT_SUPPORTED


class ClaNotSupported(CardError):
    """6E00: class not supported."""

    status = SW.CLA_NOT_SUPPORTED


class CardTorn(BaseException):
    """Power was lost; not an ``Exception``, so that no handler can swallow it."""
