"""How files stand in the object store, and the decoded files of all applications.

A file is one object of kind FILE: a header with what the FCP said, then the body.

```
offset  0  1  format, 02
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
offset 18  n  rules, as in tag 86, then m bytes of DF name
```

All numbers are big-endian. Records of linear variable files stand in places of one byte more than the greatest length,
the first byte of which is the length. The object identifier is the FID when it is free, else the lowest free number:
FIDs are unique in a DF only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.files.life_cycle import BLOCKED
from card_os.files.spec import (
    AccessMode,
    FileSpec,
    FileStructure,
    decode_rules,
    encode_rules,
)
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore, StoredObject

_FORMAT: Final = 2
LIFE_CYCLE_AT: Final = 2
RECORDS_AT: Final = 12
_DATA_CODING_AT: Final = 14
_NAME_LENGTH_AT: Final = 15
_RULES_LENGTH_AT: Final = 16
_RULES_AT: Final = 18
APPLICATION_DF: Final = 0
"""Stands for the application's own DF as a parent."""
ROOT_FID: Final = 0x3F00
"""Identifier of the file that stands for the application's own DF, where there is one."""


class File:
    """One file, decoded; valid until it is deleted or the card boots.

    Attributes:
        item: the stored object.
        spec: what the file is.
        parent: object identifier of its DF, `APPLICATION_DF` for the application's own.
        body: offset of the data in the object.
        stride: distance of two records in bytes.
        read_rule: rule of reading, taken out of the spec for speed.
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
        "size",
        "spec",
        "stride",
        "structure",
        "update_rule",
    )

    def __init__(self, item: StoredObject, spec: FileSpec, parent: int, body: int) -> None:
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
        self.read_rule = spec.rule(AccessMode.READ)
        self.update_rule = spec.rule(AccessMode.UPDATE)

    def __repr__(self) -> str:
        return f"File({self.spec.fid:04X}, {self.structure.name}, {self.size} bytes)"


def encode_header(spec: FileSpec, parent: int) -> bytes:
    """The header of a new file."""
    rules = encode_rules(spec.rules)
    return b"".join(
        (
            bytes((_FORMAT, spec.structure, spec.life_cycle, spec.sfi)),
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
    """Read the header of a stored file."""
    raw = store.read(item, 0, _RULES_AT)
    rules_end = _RULES_AT + int.from_bytes(raw[_RULES_LENGTH_AT:_RULES_AT], "big")
    name_length = raw[_NAME_LENGTH_AT]
    spec = FileSpec(
        fid=int.from_bytes(raw[4:6], "big"),
        structure=FileStructure(raw[1]),
        size=int.from_bytes(raw[8:10], "big"),
        sfi=raw[3],
        record_length=raw[10],
        record_count=raw[11],
        rules=decode_rules(store.read(item, _RULES_AT, rules_end - _RULES_AT)) if rules_end > _RULES_AT else {},
        life_cycle=raw[LIFE_CYCLE_AT],
        data_coding=raw[_DATA_CODING_AT],
        df_name=store.read(item, rules_end, name_length) if name_length else b"",
    )
    return File(item, spec, int.from_bytes(raw[6:8], "big"), rules_end + name_length)


class Directory:
    """The decoded files of one application."""

    __slots__ = ("files", "names", "shorts")

    def __init__(self, files: dict[int, File]) -> None:
        self.files = files
        self.names = {(file.parent, file.spec.fid): file for file in files.values()}
        self.shorts = {(file.parent, file.spec.sfi): file for file in files.values() if file.spec.sfi}
        if any(file.blocked for file in files.values()):
            for file in files.values():
                self._block(file)

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

    def add(self, file: File) -> None:
        """Take a file that was just created."""
        self.files[file.identifier] = file
        self.names[file.parent, file.spec.fid] = file
        self._block(file)
        if file.spec.sfi:
            self.shorts[file.parent, file.spec.sfi] = file


class FileTable:
    """Directories of all applications, decoded when first asked for.

    Args:
        store: the card's objects.

    Attributes:
        changed: files were created, deleted or changed in their header since the last `settle`.
        store: the card's objects.
    """

    __slots__ = ("_added", "_changed", "_directories", "changed", "store")

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.changed = False
        self._added: list[tuple[int, File]] = []
        self._changed: set[int] = set()
        self._directories: dict[int, Directory] = {}

    def directory(self, owner: int) -> Directory:
        """The files of one owner."""
        directory = self._directories.get(owner)
        if directory is None:
            store = self.store
            directory = Directory(
                {item.identifier: decode_file(store, item) for item in store.owned(owner, ObjectKind.FILE)}
            )
            self._directories[owner] = directory
        return directory

    def add(self, owner: int, file: File) -> None:
        """A file of an owner was created; the directory takes it as it is, for making a card creates many."""
        self.changed = True
        self._added.append((owner, file))
        self.directory(owner).add(file)

    def change(self, owner: int) -> None:
        """Files of an owner were deleted or changed in their header."""
        self.changed = True
        self._changed.add(owner)
        self._directories.pop(owner, None)

    def settle(self, *, failed: bool) -> None:
        """The end of a command that changed files: what may have been rolled back is decoded again when asked for.

        Args:
            failed: the command did not succeed.
        """
        for owner, file in self._added:
            if failed or not file.item.exists:
                self._changed.add(owner)
        for owner in self._changed:
            self._directories.pop(owner, None)
        self._added.clear()
        self._changed.clear()
        self.changed = False
