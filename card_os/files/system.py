"""The files of an application: finding, creating, reading, writing.

A file is one object of kind FILE: a header with what the FCP said, then the body.

```
offset  0  1  format, 01
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
offset 14  2  length n of the rules
offset 16  n  rules, as in tag 86
```

All numbers are big-endian. Records of linear variable files stand in places of one byte more than the greatest length,
the first byte of which is the length. The object identifier is the FID when it is free, else the lowest free number:
FIDs are unique in a DF only.

The methods here do not look at access rules: an application may always read and write its own files. `commands` asks
the rules before it calls them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.files.spec import (
    RECORD_STRUCTURES,
    AccessMode,
    FileLifeCycle,
    FileSpec,
    FileStructure,
    decode_rules,
    encode_rules,
)
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    CardError,
    FileExists,
    FileNotFound,
    IncompatibleFileStructure,
    NcInconsistentWithTlv,
    NotEnoughMemory,
    RecordNotFound,
    WrongLength,
    WrongParameters,
)
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Session
    from card_os.storage.store import ObjectStore, StoredObject

_FORMAT: Final = 1
_LIFE_CYCLE_AT: Final = 2
_RECORDS_AT: Final = 12
_RULES_AT: Final = 16
_MAX_IDENTIFIER: Final = 0xFFFF
APPLICATION_DF: Final = 0
"""Stands for the application's own DF as a parent."""


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
        deactivated: the life cycle says so, likewise.
    """

    __slots__ = (
        "body",
        "deactivated",
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
        self.deactivated = spec.life_cycle == FileLifeCycle.DEACTIVATED
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
            bytes((spec.record_length, spec.record_count, 0, 0)),
            len(rules).to_bytes(2, "big"),
            rules,
        )
    )


def decode_file(store: ObjectStore, item: StoredObject) -> File:
    """Read the header of a stored file."""
    raw = store.read(item, 0, _RULES_AT)
    rules_end = _RULES_AT + int.from_bytes(raw[14:16], "big")
    spec = FileSpec(
        fid=int.from_bytes(raw[4:6], "big"),
        structure=FileStructure(raw[1]),
        size=int.from_bytes(raw[8:10], "big"),
        sfi=raw[3],
        record_length=raw[10],
        record_count=raw[11],
        rules=decode_rules(store.read(item, _RULES_AT, rules_end - _RULES_AT)) if rules_end > _RULES_AT else {},
        life_cycle=raw[_LIFE_CYCLE_AT],
    )
    return File(item, spec, int.from_bytes(raw[6:8], "big"), rules_end)


class Directory:
    """The decoded files of one application."""

    __slots__ = ("files", "names", "shorts")

    def __init__(self, files: dict[int, File]) -> None:
        self.files = files
        self.names = {(file.parent, file.spec.fid): file for file in files.values()}
        self.shorts = {(file.parent, file.spec.sfi): file for file in files.values() if file.spec.sfi}

    def add(self, file: File) -> None:
        """Take a file that was just created."""
        self.files[file.identifier] = file
        self.names[file.parent, file.spec.fid] = file
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


class FileSystem:
    """One application's files as one channel sees them.

    Args:
        table: the card's decoded files.
        owner: owner number of the application.
        session: holds the current DF, EF and record of the channel.
    """

    __slots__ = ("_owner", "_session", "_store", "_table")

    def __init__(self, table: FileTable, owner: int, session: Session) -> None:
        self._table = table
        self._store = table.store
        self._owner = owner
        self._session = session

    @property
    def current(self) -> File | None:
        """The current EF."""
        identifier = self._session.current_ef
        if identifier is None:
            return None
        return self._table.directory(self._owner).files.get(identifier)

    @property
    def current_df(self) -> File | None:
        """The current DF; None is the application's own."""
        identifier = self._session.current_df
        if identifier is None:
            return None
        return self._table.directory(self._owner).files.get(identifier)

    def all(self) -> list[File]:
        """Every file of the application."""
        return list(self._table.directory(self._owner).files.values())

    def find(self, fid: int, parent: int = APPLICATION_DF) -> File | None:
        """The file with an identifier in one DF, or None."""
        return self._table.directory(self._owner).names.get((parent, fid))

    def get(self, fid: int, parent: int = APPLICATION_DF) -> File:
        """The file with an identifier in one DF.

        Raises:
            FileNotFound: 6A82.
        """
        file = self._table.directory(self._owner).names.get((parent, fid))
        if file is None:
            raise FileNotFound(f"no file {fid:04X}")
        return file

    def by_sfi(self, sfi: int) -> File:
        """The EF of the current DF with a short identifier.

        Raises:
            FileNotFound: 6A82.
        """
        file = self._table.directory(self._owner).shorts.get((self._session.current_df or APPLICATION_DF, sfi))
        if file is None:
            raise FileNotFound(f"no file with short identifier {sfi}")
        return file

    def select(self, file: File | None) -> None:
        """Make a file the current one; None selects the application's own DF."""
        session = self._session
        session.current_record = 0
        if file is None:
            session.current_df = session.current_ef = None
        elif file.structure is FileStructure.DF:
            session.current_df, session.current_ef = file.identifier, None
        else:
            session.current_df, session.current_ef = file.parent or None, file.identifier

    def create(self, spec: FileSpec, parent: int = APPLICATION_DF) -> File:
        """Create a file with a body of 00.

        Raises:
            FileExists: 6A89, the DF has a file with this identifier or short identifier.
            NotEnoughMemory: 6A84.
        """
        directory = self._table.directory(self._owner)
        if (parent, spec.fid) in directory.names:
            raise FileExists(f"file {spec.fid:04X} exists")
        if spec.sfi and (parent, spec.sfi) in directory.shorts:
            raise FileExists(f"short identifier {spec.sfi} is taken")
        header = encode_header(spec, parent)
        body = spec.size + (spec.record_count if spec.structure is FileStructure.LINEAR_VARIABLE else 0)
        identifier = self._free_identifier(spec.fid)
        item = self._store.create(self._owner, ObjectKind.FILE, identifier, len(header) + body, header)
        file = File(item, spec, parent, len(header))
        self._table.add(self._owner, file)
        return file

    def create_all(self, templates: bytes) -> list[File]:
        """Create a file for every FCP template (tag 62) of a concatenation, in one transaction.

        Raises:
            NcInconsistentWithTlv: 6A85, no well-formed templates.
            WrongData: 6A80, a value is not possible.
            FileExists: 6A89.
            NotEnoughMemory: 6A84.
        """
        try:
            objects = tlv.parse_all(templates)
        except tlv.TlvError as error:
            raise NcInconsistentWithTlv(str(error)) from error
        try:
            with self._store.transaction():
                return [self.create(FileSpec.parse(item.encode())) for item in objects]
        except CardError:
            self._table.change(self._owner)
            raise

    def _free_identifier(self, fid: int) -> int:
        used = self._table.directory(self._owner).files
        if fid not in used:
            return fid
        for identifier in range(1, _MAX_IDENTIFIER):
            if identifier not in used:
                return identifier
        raise NotEnoughMemory("no file number is left")

    def delete(self, file: File) -> None:
        """Delete a file, a DF with all that is in it."""
        inside = [child for child in self.all() if child.parent == file.identifier]
        with self._store.transaction():
            if file.structure is FileStructure.DF:
                for child in inside:
                    self.delete(child)
            self._store.delete(file.item)
        self._table.change(self._owner)
        session = self._session
        if session.current_ef == file.identifier:
            session.current_ef = None
        if session.current_df == file.identifier:
            session.current_df = None

    def set_life_cycle(self, file: File, state: int) -> None:
        """Write the life-cycle status byte of a file."""
        with self._store.transaction():
            self._store.write(file.item, _LIFE_CYCLE_AT, bytes((state,)))
        self._table.change(self._owner)

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file's data; ``length`` None is to the end.

        Raises:
            WrongParameters: 6B00, outside the file.
        """
        count = file.size - offset if length is None else length
        if offset < 0 or count < 0 or offset + count > file.size:
            raise WrongParameters("outside the file")
        return self._store.read(file.item, file.body + offset, count)

    def write(self, file: File, offset: int, data: bytes) -> None:
        """Write into a transparent file, or whole records by their place into a file of fixed records.

        In a record file ``offset`` is record number less one, times the record length; the records come into use.

        Raises:
            WrongParameters: 6B00, outside the file.
            IncompatibleFileStructure: 6981, a DF or a file of linear variable structure.
            WrongLength: 6700, not whole records.
        """
        if offset < 0 or offset + len(data) > file.size:
            raise WrongParameters("outside the file")
        if file.structure is FileStructure.TRANSPARENT:
            with self._store.transaction():
                self._store.write(file.item, file.body + offset, data)
            return
        if file.structure not in RECORD_STRUCTURES or file.structure is FileStructure.LINEAR_VARIABLE:
            raise IncompatibleFileStructure("the file has no places of fixed length")
        length = file.spec.record_length
        if offset % length or len(data) % length:
            raise WrongLength("not whole records")
        used, newest = self.record_state(file)
        last = (offset + len(data)) // length
        if offset // length > used:
            raise RecordNotFound("records before these are not in use")
        with self._store.transaction():
            self._store.write(file.item, file.body + offset, data)
            if last > used:
                # In a cyclic file the place of the highest number is the most recent one as long as it is not full.
                newest = last - 1 if file.structure is FileStructure.CYCLIC else newest
                self._store.write(file.item, _RECORDS_AT, bytes((last, newest)))

    def record_state(self, file: File) -> tuple[int, int]:
        """Records in use, and of a cyclic file the place of the most recent one."""
        raw = self._store.read(file.item, _RECORDS_AT, 2)
        return raw[0], raw[1]

    def _place(self, file: File, number: int) -> int:
        """Offset in the object of record ``number``; number 1 of a cyclic file is the most recent one."""
        used, newest = self.record_state(file)
        if not 1 <= number <= used:
            raise RecordNotFound(f"no record {number}")
        place = number - 1
        if file.structure is FileStructure.CYCLIC:
            place = (newest - place) % file.spec.record_count
        return file.body + place * file.stride

    def read_record(self, file: File, number: int) -> bytes:
        """One record, 1..254.

        Raises:
            RecordNotFound: 6A83.
        """
        place, length = self._place(file, number), file.spec.record_length
        if file.structure is FileStructure.LINEAR_VARIABLE:
            place, length = place + 1, self._store.read(file.item, place, 1)[0]
        return self._store.read(file.item, place, length)

    def update_record(self, file: File, number: int, data: bytes) -> None:
        """Replace one record.

        Raises:
            RecordNotFound: 6A83.
            WrongLength: 6700, not the length of the records, or longer than the greatest.
        """
        content = self._record_content(file, data)
        place = self._place(file, number)
        with self._store.transaction():
            self._store.write(file.item, place, content)

    def append_record(self, file: File, data: bytes) -> None:
        """Add a record at the end; in a cyclic file it becomes record 1 and takes the place of the oldest.

        Raises:
            NotEnoughMemory: 6A84, the linear file is full.
            WrongLength: 6700.
        """
        content = self._record_content(file, data)
        used, newest = self.record_state(file)
        count = file.spec.record_count
        if file.structure is FileStructure.CYCLIC:
            place = (newest + 1) % count if used else 0
            newest = place
            used = min(used + 1, count)
        elif used < count:
            place = used
            used += 1
        else:
            raise NotEnoughMemory("every record of the file is in use")
        with self._store.transaction():
            self._store.write(file.item, file.body + place * file.stride, content)
            self._store.write(file.item, _RECORDS_AT, bytes((used, newest)))

    @staticmethod
    def _record_content(file: File, data: bytes) -> bytes:
        length = file.spec.record_length
        if file.structure is FileStructure.LINEAR_VARIABLE:
            if not 1 <= len(data) <= length:
                raise WrongLength("longer than the greatest record, or empty")
            return bytes((len(data),)) + data
        if file.structure not in RECORD_STRUCTURES:
            raise IncompatibleFileStructure("the file has no records")
        if len(data) != length:
            raise WrongLength("not the length of the records")
        return data
