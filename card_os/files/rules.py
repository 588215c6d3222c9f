"""The access rules of a file: its security attributes, compiled for the operations of the file commands.

A file may carry rules of our own (tag 86) and those of ISO/IEC 7816-4 (8C, AB, 8B, A1) side by side; several rules for
one operation are alternatives. They are compiled when the file is decoded, in the life-cycle state that it is in. What
no rule names is never. Attributes that do not hold, such as a malformed record of EF.ARR, make every rule of the file
never until they are mended: a part of them could grant what the whole does not.

| operation | 86 | EF, 8C and AB | DF, 8C and AB |
|---|---|---|---|
| READ | 01 | 01 | - |
| UPDATE | 02 | 02 | - |
| APPEND | 04 | 04 write | - |
| CREATE_EF | 04 | - | 02 |
| CREATE_DF | 04 | - | 04 |
| DELETE_CHILD | - | - | 01 |
| DELETE | 08 | 40 | 40 |
| ACTIVATE | 10 | 10 | 10 |
| DEACTIVATE | 20 | 08 | 08 |
| TERMINATE | 40 | 20 | 20 |

A rule that names a command by its header decides that command alone; the operations are for those that none names.

Source: ISO/IEC 7816-4:2020, clauses 7.4.3 and 9.3. Which rule goes before is our own: the standard leaves it open.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from card_os.files.spec import AccessMode, FileSpec, FileStructure, decode_rules
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.security.access import NEVER, AccessRule, explain
from card_os.security.attributes import (
    CommandRule,
    DfAccess,
    EfAccess,
    LifeCycle,
    RecordSource,
    SecurityAttributes,
    compile_attributes,
)
from card_os.security.conditions import Environments, any_of

_PROPRIETARY_CLASS: Final = 0x80
_REMEMBERED_RULES: Final = 256


class FileOperation(Enum):
    """What a rule of a file is asked for."""

    READ = "reading"
    UPDATE = "updating"
    APPEND = "writing and appending"
    CREATE_EF = "creating an EF in it"
    CREATE_DF = "creating a DF in it"
    DELETE_CHILD = "deleting a file in it"
    DELETE = "deleting"
    ACTIVATE = "activating"
    DEACTIVATE = "deactivating"
    TERMINATE = "terminating"


_Op = FileOperation
_OWN: Final[Mapping[AccessMode, tuple[FileOperation, ...]]] = MappingProxyType(
    {
        AccessMode.READ: (_Op.READ,),
        AccessMode.UPDATE: (_Op.UPDATE,),
        AccessMode.APPEND: (_Op.APPEND, _Op.CREATE_EF, _Op.CREATE_DF),
        AccessMode.DELETE: (_Op.DELETE,),
        AccessMode.ACTIVATE: (_Op.ACTIVATE,),
        AccessMode.DEACTIVATE: (_Op.DEACTIVATE,),
        AccessMode.TERMINATE: (_Op.TERMINATE,),
    }
)
_EF: Final[Mapping[int, FileOperation]] = MappingProxyType(
    {
        EfAccess.READ: _Op.READ,
        EfAccess.UPDATE: _Op.UPDATE,
        EfAccess.WRITE: _Op.APPEND,
        EfAccess.DEACTIVATE: _Op.DEACTIVATE,
        EfAccess.ACTIVATE: _Op.ACTIVATE,
        EfAccess.TERMINATE: _Op.TERMINATE,
        EfAccess.DELETE: _Op.DELETE,
    }
)
_DF: Final[Mapping[int, FileOperation]] = MappingProxyType(
    {
        DfAccess.DELETE_CHILD: _Op.DELETE_CHILD,
        DfAccess.CREATE_EF: _Op.CREATE_EF,
        DfAccess.CREATE_DF: _Op.CREATE_DF,
        DfAccess.DEACTIVATE: _Op.DEACTIVATE,
        DfAccess.ACTIVATE: _Op.ACTIVATE,
        DfAccess.TERMINATE: _Op.TERMINATE,
        DfAccess.DELETE: _Op.DELETE,
    }
)


_NOTHING: Final[Mapping[FileOperation, AccessRule]] = MappingProxyType({})


class FileRules(NamedTuple):
    """Compiled rules of one file in its present life-cycle state.

    Attributes:
        operations: rule by operation.
        commands: rules for commands by their header.
        broken: why the attributes do not hold, empty when they do.
    """

    operations: Mapping[FileOperation, AccessRule]
    commands: tuple[CommandRule, ...] = ()
    broken: str = ""

    def rule(self, operation: FileOperation) -> AccessRule:
        """The rule of an operation; never when none is given."""
        return self.operations.get(operation, NEVER)

    def command_rule(self, command: CommandApdu) -> AccessRule | None:
        """The rule that names a command, whatever its channel; None when none does."""
        if not self.commands:
            return None
        cla = command.cla & _PROPRIETARY_CLASS
        return SecurityAttributes({}, self.commands).command_rule(cla, command.ins, command.p1, command.p2)

    def why(self, operation: FileOperation, rule: AccessRule, proofs: int) -> str:
        """Why ``rule``, found for an operation, refuses."""
        if self.broken:
            return f"the access rules do not hold: {self.broken}"
        if rule is NEVER and operation not in self.operations:
            return f"no access rule for {operation.value} in this life-cycle state"
        return explain(rule, proofs)


@lru_cache(maxsize=_REMEMBERED_RULES)
def own_rules(raw: bytes) -> FileRules:
    """The rules of a value of tag 86; remembered, for a card has few different ones."""
    rules = decode_rules(raw)
    return FileRules(MappingProxyType({operation: rules[mode] for mode in rules for operation in _OWN[mode]}))


def compile_rules(spec: FileSpec, records: RecordSource, environments: Environments) -> FileRules:
    """Compile the rules of a file with attributes of the standard's forms.

    Args:
        spec: the file, in its life-cycle state.
        records: where EF.ARR is read.
        environments: what condition bytes with an environment mean.
    """
    operations = {operation: rule for mode, rule in spec.rules.items() for operation in _OWN[mode]}
    names = _DF if spec.structure is FileStructure.DF else _EF
    try:
        attributes = compile_attributes(
            tlv.parse_all(spec.attributes), LifeCycle.of(spec.life_cycle), records=records, environments=environments
        )
        for mode, rule in attributes.modes.items():
            operation = names.get(mode)
            if operation is not None:
                operations[operation] = any_of((operations.get(operation, NEVER), rule))
    except ValueError as error:
        return FileRules(_NOTHING, (), str(error))
    return FileRules(MappingProxyType(operations), attributes.commands)
