"""The files of an application: finding, creating, reading, writing.

Their form in the store is told in `directory`.

The methods here do not look at access rules: an application may always read and write its own files. `commands` asks
the rules before it calls them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.files.directory import LIFE_CYCLE_AT, File, FileTable, encode_header
from card_os.files.record_places import RECORDS_AT, record_place, record_state
from card_os.files.spec import (
    APPLICATION_DF,
    OBJECT_LENGTH,
    OBJECT_STRUCTURES,
    RECORD_STRUCTURES,
    ROOT_FID,
    FileSpec,
    FileStructure,
    encode_rules,
)
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    CardError,
    ConditionsNotSatisfied,
    DfNameExists,
    FileExists,
    FileNotFound,
    IncompatibleFileStructure,
    NcInconsistentWithTlv,
    NotEnoughMemory,
    RecordNotFound,
    SecurityStatusNotSatisfied,
    WrongLength,
    WrongParameters,
)
from card_os.security.access import explain
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Session
    from card_os.iso7816.apdu import CommandApdu

_DF: Final = FileStructure.DF
_MAX_IDENTIFIER: Final = 0xFFFF
_INS_SELECT: Final = 0xA4
_BUFFERED: Final = 1024
"""Bytes that one command may write within the transaction's buffer, beside its other writes."""


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

    @property
    def root(self) -> File | None:
        """The file that stands for the application's own DF, or None."""
        return self._table.directory(self._owner).names.get((APPLICATION_DF, ROOT_FID))

    def by_name(self, name: bytes) -> list[File]:
        """The DFs whose name begins with ``name``: the exact name first, the others in the order of identifiers."""
        named = [file for file in self.all() if file.spec.df_name and file.spec.df_name.startswith(name)]
        named.sort(key=lambda file: (file.spec.df_name != name, file.identifier))
        return named

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

    def by_identifier(self, identifier: int) -> File | None:
        """The file with an object identifier, or None."""
        return self._table.directory(self._owner).files.get(identifier)

    def require_command(self, command: CommandApdu, proofs: int) -> None:
        """Ask the current DF's rule for a command by its header; a command that it does not name is free.

        Where the DF's rules do not hold, nobody knows what they would name: all but leaving by SELECT is refused.

        Raises:
            SecurityStatusNotSatisfied: 6982.
        """
        df = self.current_df or self.root
        if df is None:
            return
        if df.rules.broken and command.ins != _INS_SELECT:
            raise SecurityStatusNotSatisfied(f"the access rules of the current DF do not hold: {df.rules.broken}")
        rule = df.rules.command_rule(command)
        if rule is not None and not rule.allows(proofs):
            raise SecurityStatusNotSatisfied(f"the current DF's rule for this command: {explain(rule, proofs)}")

    def by_sfi(self, sfi: int) -> File:
        """The EF of the current DF with a short identifier.

        Raises:
            FileNotFound: 6A82.
        """
        file = self._table.directory(self._owner).shorts.get((self._session.current_df or APPLICATION_DF, sfi))
        if file is None:
            raise FileNotFound(f"no file with short identifier {sfi}")
        return file

    def has_sfi(self, sfi: int, parent: int = APPLICATION_DF) -> bool:
        """True when an EF of a DF has a short identifier."""
        return (parent, sfi) in self._table.directory(self._owner).shorts

    def select(self, file: File | None) -> None:
        """Make a file the current one; None selects the application's own DF."""
        session = self._session
        session.current_record = 0
        if file is None or file.spec.fid == ROOT_FID:
            session.current_df = session.current_ef = None
        elif file.structure is _DF:
            session.current_df, session.current_ef = file.identifier, None
        else:
            session.current_df, session.current_ef = file.parent or None, file.identifier

    def create(self, spec: FileSpec, parent: int = APPLICATION_DF) -> File:
        """Create a file with a body of 00.

        Raises:
            FileExists: 6A89, the DF has a file with this identifier or short identifier.
            DfNameExists: 6A8A, a DF of the application has this name.
            NotEnoughMemory: 6A84.
        """
        directory = self._table.directory(self._owner)
        if (parent, spec.fid) in directory.names:
            raise FileExists(f"file {spec.fid:04X} exists")
        if spec.sfi and (parent, spec.sfi) in directory.shorts:
            raise FileExists(f"short identifier {spec.sfi} is taken")
        if spec.df_name and any(file.spec.df_name == spec.df_name for file in directory.files.values()):
            raise DfNameExists("another DF has this name")
        header = encode_header(spec, parent)
        body = spec.size + (spec.record_count if spec.structure is FileStructure.LINEAR_VARIABLE else 0)
        if spec.size and spec.structure in OBJECT_STRUCTURES:
            body += OBJECT_LENGTH
        identifier = self._free_identifier(spec.fid)
        item = self._store.create(self._owner, ObjectKind.FILE, identifier, len(header) + body, header)
        file = File(item, spec, parent, len(header), encode_rules(spec.rules))
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
        """Delete a file, a DF with all that is in it.

        Raises:
            ConditionsNotSatisfied: 6985, it stands for the application's own DF.
        """
        if file is self.root:
            raise ConditionsNotSatisfied("the application's own DF goes with the application")
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
        self._store.change(file.item, LIFE_CYCLE_AT, bytes((state,)))
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
            self._store.change(file.item, file.body + offset, data)
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
                self._store.write(file.item, RECORDS_AT, bytes((last, newest)))

    def rewrite(self, file: File, offset: int, data: bytes) -> None:
        """Write any amount of a file's body at once; what does not fit the commit buffer becomes a new object.

        Raises:
            NotEnoughMemory: 6A84, no room for a second body.
        """
        store, item = self._store, file.item
        with store.transaction():
            if len(data) <= _BUFFERED:
                store.write(item, file.body + offset, data)
                return
            content = bytearray(store.read(item))
            content[file.body + offset : file.body + offset + len(data)] = data
            store.delete(item)
            store.create(self._owner, ObjectKind.FILE, item.identifier, len(content), bytes(content))
        self._table.change(self._owner)

    def record_state(self, file: File) -> tuple[int, int]:
        """Records in use, and of a cyclic file the place of the most recent one."""
        return record_state(self._store, file)

    def record_place(self, file: File, number: int) -> tuple[int, int]:
        """Offset of a record's content in the object, and its length; number 1 of a cyclic file is the most recent.

        Raises:
            RecordNotFound: 6A83.
        """
        return record_place(self._store, file, number)

    def read_record(self, file: File, number: int) -> bytes:
        """One record, 1..254.

        Raises:
            RecordNotFound: 6A83.
        """
        place, length = self.record_place(file, number)
        return self._store.read(file.item, place, length)

    def update_record(self, file: File, number: int, data: bytes) -> None:
        """Replace one record.

        Raises:
            RecordNotFound: 6A83.
            WrongLength: 6700, not the length of the records, or longer than the greatest.
        """
        content = self._record_content(file, data)
        place, _ = self.record_place(file, number)
        if file.structure is FileStructure.LINEAR_VARIABLE:
            place -= 1
        self._store.change(file.item, place, content)

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
            self._store.write(file.item, RECORDS_AT, bytes((used, newest)))

    def check_record(self, file: File, content: bytes) -> None:
        """See that a record of a file with SIMPLE-TLV records is one data object.

        Raises:
            NcInconsistentWithTlv: 6A85, it is not.
        """
        if file.spec.simple_tlv and not tlv.is_simple(content):
            raise NcInconsistentWithTlv("a record of this file is one SIMPLE-TLV data object")

    def _record_content(self, file: File, data: bytes) -> bytes:
        self.check_record(file, data)
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
