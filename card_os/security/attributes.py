"""Security attributes of a file: access rules in compact and expanded form and by EF.ARR.

```
8C   compact: repeated access mode byte ‖ one condition byte for each of its bits, from b7 down to b1
AB   expanded: repeated access mode object ‖ condition objects, of which one has to be satisfied
8B   reference: record (1) | EF.ARR (2) ‖ record (1) | EF.ARR (2) ‖ repeated environment (1) ‖ record (1)
A1   template of our own: [8A life-cycle status bytes] ‖ [91 interface: 01 contact, 02 contactless] ‖ 8C, AB, 8B …
```

Access mode objects of the expanded form: 80 with an access mode byte, 81 to 8F with command headers, the four low bits
of the tag telling which of CLA, INS, P1 and P2 stand in the value. A record of EF.ARR holds what AB holds.

Rules that stand outside A1 hold in every life-cycle state and on both interfaces; inside, in the states and on the
interface that it names. Several rules for one operation are alternatives. What no rule names is never.

Attributes are compiled once, when a file is decoded in its life-cycle state; a command then asks one `AccessRule`.

Deviates: where bit 8 of an access mode byte makes bits 7 to 4 proprietary, these four are read over and grant nothing.

Source: ISO/IEC 7816-4:2020, clauses 7.4.3 (control parameters) and 9.3 (access rules).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Final, NamedTuple

from card_os.iso7816 import tlv
from card_os.security.access import NEVER, AccessRule, Proof, explain
from card_os.security.conditions import (
    NO_ENVIRONMENTS,
    Environments,
    all_of,
    any_of,
    condition_byte,
    condition_object,
    encode_condition,
    encode_condition_byte,
)

DEFAULT_ENVIRONMENT: Final = 1
"""The security environment that is current unless MANAGE SECURITY ENVIRONMENT restored another one."""


class AttributeTag(IntEnum):
    """Tags of security attributes in control parameters, and those inside A1."""

    REFERENCE = 0x8B
    COMPACT = 0x8C
    PROPRIETARY = 0xA1
    EXPANDED = 0xAB
    LIFE_CYCLE = 0x8A
    INTERFACE = 0x91


class EfAccess(IntFlag):
    """Access mode byte of an elementary file."""

    READ = 0x01
    UPDATE = 0x02
    WRITE = 0x04
    DEACTIVATE = 0x08
    ACTIVATE = 0x10
    TERMINATE = 0x20
    DELETE = 0x40


class DfAccess(IntFlag):
    """Access mode byte of a dedicated file."""

    DELETE_CHILD = 0x01
    CREATE_EF = 0x02
    CREATE_DF = 0x04
    DEACTIVATE = 0x08
    ACTIVATE = 0x10
    TERMINATE = 0x20
    DELETE = 0x40


class LifeCycle(IntEnum):
    """Life-cycle states that rules can tell apart; the status byte has several values for some."""

    CREATION = 0x01
    INITIALISATION = 0x03
    DEACTIVATED = 0x04
    ACTIVATED = 0x05
    TERMINATED = 0x0C

    @classmethod
    def of(cls, status: int) -> LifeCycle:
        """The state of a life-cycle status byte.

        Raises:
            ValueError: a value that is proprietary or reserved.
        """
        if status & _TERMINATED_MASK == cls.TERMINATED:
            return cls.TERMINATED
        if status in _OPERATIONAL:
            return _OPERATIONAL[status]
        return cls(status)


_TERMINATED_MASK: Final = 0xFC
_OPERATIONAL: Final = MappingProxyType({0x06: LifeCycle.DEACTIVATED, 0x07: LifeCycle.ACTIVATED})
_INTERFACES: Final = MappingProxyType({1: AccessRule((int(Proof.CONTACT),)), 2: AccessRule((int(Proof.CONTACTLESS),))})
_MODE_BITS: Final = tuple(1 << bit for bit in range(6, -1, -1))
"""Bits 7 to 1 of the access mode byte, in the order of their condition bytes."""
_PROPRIETARY_MODES: Final = 0x80
_INTERINDUSTRY_BITS: Final = 0x07
_MODE_BYTE_TAG: Final = 0x80
_MAX_MODE_TAG: Final = 0x8F
_HEADER_FIELDS: Final = (0x08, 0x04, 0x02, 0x01)
_RULES: Final = frozenset({AttributeTag.COMPACT, AttributeTag.EXPANDED, AttributeTag.REFERENCE})
ATTRIBUTE_TAGS: Final = _RULES | {AttributeTag.PROPRIETARY}
"""The data objects of a control parameter template that `compile_attributes` wants."""
_RECORD_ONLY: Final = 1
_FILE_AND_RECORD: Final = 3

RecordSource = Callable[[int | None, int], bytes | None]
"""Gives a record of EF.ARR: file identifier (None = the one that is implicitly known) and record number; None = there
is no such file or record."""


class CommandRule(NamedTuple):
    """A rule for commands by their header.

    Attributes:
        header: CLA, INS, P1, P2; None stands for any value.
        rule: what it takes.
    """

    header: tuple[int | None, int | None, int | None, int | None]
    rule: AccessRule


class SecurityAttributes(NamedTuple):
    """Compiled rules of one file in one life-cycle state.

    Attributes:
        modes: rule by bit of the access mode byte (`EfAccess`, `DfAccess`).
        commands: rules for single commands.
    """

    modes: Mapping[int, AccessRule]
    commands: tuple[CommandRule, ...] = ()

    def rule(self, mode: int) -> AccessRule:
        """The rule of one operation; never when none is given."""
        return self.modes.get(mode, NEVER)

    def command_rule(self, cla: int, ins: int, p1: int, p2: int) -> AccessRule | None:
        """The rule that names a command; None when none does."""
        header = (cla, ins, p1, p2)
        named = [
            item.rule
            for item in self.commands
            if all(want is None or want == have for want, have in zip(item.header, header, strict=True))
        ]
        return any_of(named) if named else None

    def why(self, mode: int, proofs: int) -> str:
        """Why an operation is refused, in words for a trace."""
        rule = self.modes.get(mode)
        return "no access rule for it in this life-cycle state" if rule is None else explain(rule, proofs)


class _Entry(NamedTuple):
    """One access rule: the modes (bits) or the command headers, and what it takes."""

    modes: int
    commands: tuple[tuple[int | None, int | None, int | None, int | None], ...]
    rule: AccessRule


def no_records(_file: int | None, _record: int) -> bytes | None:
    """A `RecordSource` without any EF.ARR."""
    return None


def compile_attributes(
    objects: Iterable[tlv.Tlv],
    state: LifeCycle = LifeCycle.ACTIVATED,
    *,
    records: RecordSource = no_records,
    environments: Environments = NO_ENVIRONMENTS,
    environment: int = DEFAULT_ENVIRONMENT,
) -> SecurityAttributes:
    """Compile the security attributes among the control parameters of a file.

    Args:
        objects: the data objects of the template; only `ATTRIBUTE_TAGS` are looked at.
        state: the life-cycle state that the file is in.
        records: where EF.ARR is read; a record that is not there grants nothing.
        environments: what condition bytes with an environment mean.
        environment: number of the current environment, which chooses among the records of tag 8B.

    Raises:
        ValueError: an attribute is malformed.
    """
    modes: dict[int, AccessRule] = {}
    commands: list[CommandRule] = []
    for entry in _entries(objects, _Compiler(state, records, environments, environment)):
        for bit in _MODE_BITS:
            if entry.modes & bit:
                modes[bit] = any_of((modes.get(bit, NEVER), entry.rule))
        commands += (CommandRule(header, entry.rule) for header in entry.commands)
    return SecurityAttributes(MappingProxyType(modes), tuple(commands))


class _Compiler(NamedTuple):
    """What compiling needs to know; see `compile_attributes`."""

    state: LifeCycle
    records: RecordSource
    environments: Environments
    environment: int


def _entries(objects: Iterable[tlv.Tlv], compiler: _Compiler) -> Iterator[_Entry]:
    for item in objects:
        if item.tag == AttributeTag.PROPRIETARY:
            yield from _own_template(item, compiler)
        elif item.tag in _RULES:
            yield from _rules(item, compiler)


def _rules(item: tlv.Tlv, compiler: _Compiler) -> Iterator[_Entry]:
    if item.tag == AttributeTag.COMPACT:
        return _compact(item.value, compiler.environments)
    if item.tag == AttributeTag.EXPANDED:
        return _expanded(item.children(), compiler.environments)
    return _referenced(item.value, compiler)


def _own_template(item: tlv.Tlv, compiler: _Compiler) -> Iterator[_Entry]:
    """Rules that hold in some life-cycle states or on one interface only; all of them are checked in any case."""
    children = item.children()
    if not {child.tag for child in children} <= _RULES | {AttributeTag.LIFE_CYCLE, AttributeTag.INTERFACE}:
        raise ValueError("an unknown object in a template of security attributes")
    states = [LifeCycle.of(byte) for child in children if child.tag == AttributeTag.LIFE_CYCLE for byte in child.value]
    interfaces = [_interface(child.value) for child in children if child.tag == AttributeTag.INTERFACE]
    for child in children:
        if child.tag in _RULES:
            for entry in _rules(child, compiler):
                if not states or compiler.state in states:
                    rule = all_of((entry.rule, any_of(interfaces))) if interfaces else entry.rule
                    yield entry._replace(rule=rule)


def _interface(value: bytes) -> AccessRule:
    if len(value) != 1 or value[0] not in _INTERFACES:
        raise ValueError("an interface is 01 or 02")
    return _INTERFACES[value[0]]


def _compact(value: bytes, environments: Environments) -> Iterator[_Entry]:
    at = 0
    while at < len(value):
        modes = value[at]
        at += 1
        bits = [bit for bit in _MODE_BITS if modes & bit]
        if not bits:
            raise ValueError("an access mode byte without a mode")
        if at + len(bits) > len(value):
            raise ValueError("a compact access rule is cut short")
        granted = _INTERINDUSTRY_BITS if modes & _PROPRIETARY_MODES else _PROPRIETARY_MODES - 1
        for bit in bits:
            yield _Entry(bit & granted, (), condition_byte(value[at], environments))
            at += 1


def _expanded(objects: Iterable[tlv.Tlv], environments: Environments) -> Iterator[_Entry]:
    mode: tlv.Tlv | None = None
    conditions: list[AccessRule] = []
    for item in objects:
        if _MODE_BYTE_TAG <= item.tag <= _MAX_MODE_TAG:
            if mode is not None:
                yield _expanded_rule(mode, conditions)
            mode, conditions = item, []
        elif mode is None:
            raise ValueError("a security condition without an access mode")
        else:
            conditions.append(condition_object(item, environments))
    if mode is not None:
        yield _expanded_rule(mode, conditions)


def _expanded_rule(mode: tlv.Tlv, conditions: list[AccessRule]) -> _Entry:
    if not conditions:
        raise ValueError("an access mode without a security condition")
    rule = any_of(conditions)
    if mode.tag != _MODE_BYTE_TAG:
        return _Entry(0, tuple(_headers(mode)), rule)
    if len(mode.value) != 1 or not mode.value[0] & (_PROPRIETARY_MODES - 1):
        raise ValueError("an access mode has one byte and at least one mode")
    modes = mode.value[0]
    granted = _INTERINDUSTRY_BITS if modes & _PROPRIETARY_MODES else _PROPRIETARY_MODES - 1
    return _Entry(modes & granted, (), rule)


def _headers(mode: tlv.Tlv) -> Iterator[tuple[int | None, int | None, int | None, int | None]]:
    """The command headers of objects 81 to 8F; a value with several headers names each of them."""
    present = [bool(mode.tag & field) for field in _HEADER_FIELDS]
    width = sum(present)
    if not mode.value or len(mode.value) % width:
        raise ValueError("command headers of another length than their tag says")
    for at in range(0, len(mode.value), width):
        fields = iter(mode.value[at : at + width])
        cla, ins, p1, p2 = (next(fields) if there else None for there in present)
        yield cla, ins, p1, p2


def _referenced(value: bytes, compiler: _Compiler) -> Iterator[_Entry]:
    for file, record in _references(value, compiler.environment):
        content = compiler.records(file, record)
        if content is not None:
            yield from _expanded(tlv.parse_all(content, padding=True), compiler.environments)


def _references(value: bytes, environment: int) -> list[tuple[int | None, int]]:
    """File and record of each reference that holds in the current environment."""
    if len(value) == _RECORD_ONLY:
        return [(None, value[0])]
    file = int.from_bytes(value[:2], "big")
    if len(value) == _FILE_AND_RECORD:
        return [(file, value[2])]
    if len(value) < _FILE_AND_RECORD or len(value) % 2:
        raise ValueError("a reference to EF.ARR has another length")
    return [(file, value[at + 1]) for at in range(2, len(value), 2) if value[at] == environment]


def encode_compact(modes: Mapping[int, AccessRule]) -> bytes:
    """The value of object 8C.

    Raises:
        ValueError: no modes, or a rule that needs an environment or the expanded format.
    """
    bits = [bit for bit in _MODE_BITS if bit in modes]
    if not bits:
        raise ValueError("no access rules")
    return bytes((sum(bits), *(encode_condition_byte(modes[bit]) for bit in bits)))


def encode_expanded(modes: Mapping[int, AccessRule]) -> bytes:
    """The value of object AB, or a record of EF.ARR; modes of one rule share an access mode object.

    Raises:
        ValueError: a proof that no security condition names.
    """
    together: dict[AccessRule, int] = {}
    for bit in _MODE_BITS:
        if bit in modes:
            together[modes[bit]] = together.get(modes[bit], 0) | bit
    return b"".join(
        tlv.encode(_MODE_BYTE_TAG, bytes((bits,))) + encode_condition(rule) for rule, bits in together.items()
    )
