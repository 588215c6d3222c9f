"""How files stand in the object store, and the decoded files of all applications.

A file is one object of kind FILE: a header with what the FCP said, then the body.

```
offset  0  1  format: 02, or 03 where the rules are security attributes of all forms
offset  1  1  file descriptor byte
offset  2  1  life-cycle status byte
offset  3  1  short file identifier, 00 none
offset  4  2  file identifier
offset  6  2  object identifier of the DF it is in, 0000 = the application's own DF
offset  8  2  size of the data
offset 10  1  record length (linear variable: greatest)
offset 11  1  record count
offset 12  1  records in use
offset 13  1  cyclic: place of the most recent record
offset 14  1  data coding byte
offset 15  1  length m of the DF name
offset 16  2  length n of the rules
offset 18  n  rules: the value of tag 86, in format 03 data objects 86, 8B, 8C, 8D, A1 and AB; then m bytes of DF name
```

All numbers are big-endian. Records of linear variable files stand in places of one byte more than the greatest length,
the first byte of which is the length. The object identifier is the FID when it is free, else the lowest free number:
FIDs are unique in a DF only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from card_os.files.life_cycle import BLOCKED
from card_os.files.rule_sources import RuleSources
from card_os.files.rules import FileOperation, FileRules, compile_rules, own_rules
from card_os.files.spec import (
    APPLICATION_DF,
    ROOT_FID,
    FileSpec,
    FileStructure,
    Tag,
    decode_rules,
    encode_rules,
    structure_of,
)
from card_os.iso7816 import tlv
from card_os.security.access import NEVER, AccessRule
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore, StoredObject

_FORMAT: Final = 2
_FORMAT_WITH_ATTRIBUTES: Final = 3
LIFE_CYCLE_AT: Final = 2
_DATA_CODING_AT: Final = 14
_NAME_LENGTH_AT: Final = 15
_RULES_LENGTH_AT: Final = 16
_RULES_AT: Final = 18
_REFERRING: Final = frozenset({int(Tag.REFERENCED_RULES), int(Tag.ENVIRONMENTS), int(Tag.RULES_BY_STATE)})
"""Attributes that may lead to the contents of other files."""
_NO_OPERATIONS: Final[Mapping[FileOperation, AccessRule]] = MappingProxyType({})


class File:
    """One file, decoded; valid until it is deleted or the card boots.

    Attributes:
        item: the stored object.
        spec: what the file is.
        parent: object identifier of its DF, `APPLICATION_DF` for the application's own.
        body: offset of the data in the object.
        stride: distance of two records in bytes.
        rules: its compiled rules.
        read_rule: rule of reading, taken out of the rules for speed; never where commands have rules of their own.
        update_rule: rule of updating, likewise.
        blocked: it, or a DF above it, is deactivated or terminated.
        blocked_above: a DF above it is.
    """

    __slots__ = (
        "blocked",
        "blocked_above",
        "body",
        "identifier",
        "item",
        "parent",
        "read_rule",
        "rules",
        "size",
        "spec",
        "stride",
        "structure",
        "update_rule",
    )

    def __init__(self, item: StoredObject, spec: FileSpec, parent: int, body: int, own: bytes) -> None:
        self.item = item
        self.identifier = item.identifier
        self.spec = spec
        self.parent = parent
        self.body = body
        self.structure = spec.structure
        self.size = spec.size
        self.blocked = spec.life_cycle in BLOCKED
        self.blocked_above = False
        self.stride = spec.record_length + (spec.structure is FileStructure.LINEAR_VARIABLE)
        self.take_rules(own_rules(own))

    def take_rules(self, rules: FileRules) -> None:
        """Use these rules."""
        self.rules = rules
        operations = _NO_OPERATIONS if rules.commands else rules.operations
        self.read_rule = operations.get(FileOperation.READ, NEVER)
        self.update_rule = operations.get(FileOperation.UPDATE, NEVER)

    def __repr__(self) -> str:
        return f"File({self.spec.fid:04X}, {self.structure.name}, {self.size} bytes)"


def encode_header(spec: FileSpec, parent: int) -> bytes:
    """The header of a new file."""
    rules, form = encode_rules(spec.rules), _FORMAT
    if spec.attributes:
        rules = (tlv.encode(Tag.SECURITY, rules) if rules else b"") + spec.attributes
        form = _FORMAT_WITH_ATTRIBUTES
    return b"".join(
        (
            bytes((form, spec.descriptor, spec.life_cycle, spec.sfi)),
            spec.fid.to_bytes(2, "big"),
            parent.to_bytes(2, "big"),
            spec.size.to_bytes(2, "big"),
            bytes((spec.record_length, spec.record_count, 0, 0, spec.data_coding, len(spec.df_name))),
            len(rules).to_bytes(2, "big"),
            rules,
            spec.df_name,
        )
    )


def decode_file(store: ObjectStore, item: StoredObject) -> File:
    """Read the header of a stored file; rules of the standard's forms are still to be compiled."""
    raw = store.read(item, 0, _RULES_AT)
    rules_end = _RULES_AT + int.from_bytes(raw[_RULES_LENGTH_AT:_RULES_AT], "big")
    name_length = raw[_NAME_LENGTH_AT]
    own = store.read(item, _RULES_AT, rules_end - _RULES_AT) if rules_end > _RULES_AT else b""
    attributes = b""
    if raw[0] == _FORMAT_WITH_ATTRIBUTES:
        objects = tlv.parse_all(own)
        own = b"".join(item.value for item in objects if item.tag == Tag.SECURITY)
        attributes = tlv.encode_all(item for item in objects if item.tag != Tag.SECURITY)
    structure, simple_tlv = structure_of(raw[1])
    spec = FileSpec(
        fid=int.from_bytes(raw[4:6], "big"),
        structure=structure,
        size=int.from_bytes(raw[8:10], "big"),
        sfi=raw[3],
        record_length=raw[10],
        record_count=raw[11],
        rules=decode_rules(own),
        life_cycle=raw[LIFE_CYCLE_AT],
        data_coding=raw[_DATA_CODING_AT],
        df_name=store.read(item, rules_end, name_length) if name_length else b"",
        attributes=attributes,
        simple_tlv=simple_tlv,
    )
    return File(item, spec, int.from_bytes(raw[6:8], "big"), rules_end + name_length, own)


class Directory:
    """The decoded files of one application.

    Attributes:
        files: by object identifier.
        names: by (parent, FID).
        shorts: by (parent, short identifier).
        sources: rows of the object table that rules were read from.
        refers: rules of a file lead to other files.
        has_command_rules: rules of a file name commands, or do not hold, so that they might.
    """

    __slots__ = ("_store", "files", "has_command_rules", "names", "refers", "shorts", "sources")

    def __init__(self, store: ObjectStore, files: dict[int, File]) -> None:
        self._store = store
        self.files = files
        self.names = {(file.parent, file.spec.fid): file for file in files.values()}
        self.shorts = {(file.parent, file.spec.sfi): file for file in files.values() if file.spec.sfi}
        self.sources: set[int] = set()
        self.refers = self.has_command_rules = False
        if any(file.blocked for file in files.values()):
            for file in files.values():
                self._block(file)
        self._compile([file for file in files.values() if file.spec.attributes])

    def _block(self, file: File) -> None:
        """Look at the DFs above a file, up to the application's own."""
        root, above = self.names.get((APPLICATION_DF, ROOT_FID)), file
        while above is not root:
            parent = self.files[above.parent] if above.parent else root
            if parent is None:
                return
            if parent.spec.life_cycle in BLOCKED:
                file.blocked = file.blocked_above = True
                return
            above = parent

    def _compile(self, files: list[File]) -> None:
        """Compile rules of the standard's forms, with what they refer to."""
        if not files:
            return
        sources = RuleSources(self._store, self.files, self.names)
        for file in files:
            file.take_rules(compile_rules(file.spec, sources.records(file), sources.environments(file)))
            tags = {item.tag for item in tlv.iterate(file.spec.attributes)}
            self.refers = self.refers or not tags.isdisjoint(_REFERRING)
            self.has_command_rules = self.has_command_rules or bool(file.rules.commands or file.rules.broken)
        self.sources |= sources.slots

    def add(self, file: File) -> None:
        """Take a file that was just created."""
        self.files[file.identifier] = file
        self.names[file.parent, file.spec.fid] = file
        self._block(file)
        if file.spec.sfi:
            self.shorts[file.parent, file.spec.sfi] = file
        if file.spec.attributes:
            self._compile([file])


class FileTable:
    """Directories of all applications, decoded when first asked for.

    Args:
        store: the card's objects.

    Attributes:
        changed: files were created, deleted or changed in their header since the last `settle`.
        store: the card's objects.
        without_command_rules: owners of whose files it is known that none has rules that name commands.
    """

    __slots__ = ("_added", "_changed", "_directories", "changed", "store", "without_command_rules")

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.changed = False
        self.without_command_rules: set[int] = set()
        self._added: list[tuple[int, File]] = []
        self._changed: set[int] = set()
        self._directories: dict[int, Directory] = {}

    def directory(self, owner: int) -> Directory:
        """The files of one owner."""
        directory = self._directories.get(owner)
        if directory is None:
            store = self.store
            directory = Directory(
                store, {item.identifier: decode_file(store, item) for item in store.owned(owner, ObjectKind.FILE)}
            )
            self._directories[owner] = directory
            self._note(owner, directory)
        return directory

    def _note(self, owner: int, directory: Directory) -> None:
        """Let the store watch what rules were read from, and know whether commands have rules."""
        self.store.watched.update(directory.sources)
        if not directory.has_command_rules:
            self.without_command_rules.add(owner)

    def add(self, owner: int, file: File) -> None:
        """A file of an owner was created; the directory takes it as it is, for making a card creates many."""
        self.changed = True
        self._added.append((owner, file))
        directory = self.directory(owner)
        directory.add(file)
        self.without_command_rules.discard(owner)
        if directory.refers:  # the new file may be what rules have been waiting for
            del self._directories[owner]
        else:
            self._note(owner, directory)

    def change(self, owner: int) -> None:
        """Files of an owner were deleted or changed in their header, or what their rules were read from."""
        self.changed = True
        self._changed.add(owner)
        self._forget(owner)

    def _forget(self, owner: int) -> None:
        self.without_command_rules.discard(owner)
        self._directories.pop(owner, None)

    def settle(self, *, failed: bool) -> None:
        """The end of a command that changed files: what may have been rolled back is decoded again when asked for.

        Args:
            failed: the command did not succeed.
        """
        for owner, file in self._added:
            if failed or not file.item.exists:
                self._changed.add(owner)
        for owner in self._changed | self.store.touched:
            self._forget(owner)
        self._added.clear()
        self._changed.clear()
        self.store.touched.clear()
        self.changed = False
