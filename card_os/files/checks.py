"""What the file commands check alike: rules, life cycle, Ne, identifiers."""

from __future__ import annotations

from typing import Final

from card_os.applet_api import Context
from card_os.files.directory import File
from card_os.files.rules import FileOperation
from card_os.iso7816.apdu import MAX_EXTENDED_NE, MAX_SHORT_NE, CommandApdu
from card_os.iso7816.errors import ConditionsNotSatisfied, SecurityStatusNotSatisfied, WrongLength

FID_LENGTH: Final = 2


def require(context: Context, command: CommandApdu, file: File, operation: FileOperation) -> None:
    """Ask a file's rules: the one that names the command by its header, else that of the operation.

    Raises:
        SecurityStatusNotSatisfied: 6982.
    """
    rules, proofs = file.rules, context.proofs
    rule = rules.command_rule(command)
    if rule is None:
        rule = rules.rule(operation)
    if not rule.allows(proofs):
        raise SecurityStatusNotSatisfied(rules.why(operation, rule, proofs))


def require_read(context: Context, command: CommandApdu, file: File) -> None:
    """Ask a file's rule of reading; see `require`."""
    if not file.read_rule.allows(context.proofs):
        require(context, command, file, FileOperation.READ)


def require_update(context: Context, command: CommandApdu, file: File) -> None:
    """Ask a file's rule of updating; see `require`."""
    if not file.update_rule.allows(context.proofs):
        require(context, command, file, FileOperation.UPDATE)


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
