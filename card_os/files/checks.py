"""What the file commands check alike: rules, life cycle, Ne, identifiers."""

from __future__ import annotations

from typing import Final

from card_os.files.directory import File
from card_os.files.spec import AccessMode
from card_os.iso7816.apdu import MAX_EXTENDED_NE, MAX_SHORT_NE, CommandApdu
from card_os.iso7816.errors import ConditionsNotSatisfied, SecurityStatusNotSatisfied, WrongLength
from card_os.security.access import AccessRule, explain

FID_LENGTH: Final = 2


def refuse(rule: AccessRule, proofs: int) -> SecurityStatusNotSatisfied:
    """The error of a rule that is not satisfied, with the reason."""
    return SecurityStatusNotSatisfied(explain(rule, proofs))


def require(file: File, mode: AccessMode, proofs: int) -> None:
    """Ask a file's rule for a mode.

    Raises:
        SecurityStatusNotSatisfied: 6982.
    """
    rule = file.spec.rule(mode)
    if not rule.allows(proofs):
        raise refuse(rule, proofs)


def require_active(file: File) -> None:
    """Refuse a file that, itself or by a DF above it, is deactivated or terminated.

    Raises:
        ConditionsNotSatisfied: 6985.
    """
    if file.blocked:
        raise ConditionsNotSatisfied("the file, or a DF above it, is deactivated or terminated")


def exact(command: CommandApdu) -> bool:
    """True when Ne was a number and not the coded zero, which asks for what there is (5.2)."""
    return command.ne != (MAX_EXTENDED_NE if command.extended else MAX_SHORT_NE)


def file_identifier(data: bytes) -> int:
    """A file identifier in a data field.

    Raises:
        WrongLength: 6700, not two bytes.
    """
    if len(data) != FID_LENGTH:
        raise WrongLength("a file identifier has two bytes")
    return int.from_bytes(data, "big")
