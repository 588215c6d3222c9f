"""The files that access rules refer to: EF.ARR, and EFs with templates of security environments.

An identifier is looked for in the DF that the file is in, then in the DFs above it up to the application's own; that of
a DF's own environments in the DF itself first. A reference without an identifier means 2F06. What is not there, is not
in use or has no such record grants nothing. The store watches what was read here, so that a change of it compiles the
rules of the application again.

Source: ISO/IEC 7816-4:2020, clauses 7.4.3 (tags 8B and 8D), 9.3.4 (EF.ARR) and 10.3.3 (security environments). The
order of the search is that of ETSI TS 102 221; the standard leaves it open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from card_os.files.record_places import record_place, record_state
from card_os.files.spec import APPLICATION_DF, OBJECT_LENGTH, RECORD_STRUCTURES, ROOT_FID, FileStructure, Tag
from card_os.iso7816 import tlv
from card_os.security.attributes import RecordSource
from card_os.security.conditions import NO_ENVIRONMENTS, Environments, SecurityEnvironment, environment

if TYPE_CHECKING:
    from card_os.files.directory import File
    from card_os.storage.store import ObjectStore

IMPLICIT_EF_ARR: Final = 0x2F06


class RuleSources:
    """Looks up what the rules of one application refer to.

    Args:
        store: the card's objects.
        files: the application's files by object identifier.
        names: the same by (parent, FID).

    Attributes:
        slots: rows of the object table that were read, the rules of which are older than a change there.
    """

    __slots__ = ("_environments", "_files", "_names", "_store", "slots")

    def __init__(self, store: ObjectStore, files: Mapping[int, File], names: Mapping[tuple[int, int], File]) -> None:
        self._store = store
        self._files = files
        self._names = names
        self._environments: dict[int, Environments] = {}
        self.slots: set[int] = set()

    def records(self, file: File) -> RecordSource:
        """Records of EF.ARR as the rules of ``file`` name them."""

        def record(fid: int | None, number: int) -> bytes | None:
            source = self._find(IMPLICIT_EF_ARR if fid is None else fid, file.parent)
            if source is None or source.structure not in RECORD_STRUCTURES:
                return None
            return self._record(source, number)

        return record

    def _find(self, fid: int, df: int) -> File | None:
        """The file in use with an identifier in a DF or in one above it."""
        while True:
            found = self._names.get((df, fid))
            if found is not None:
                self.slots.add(found.item.slot)
                return None if found.blocked else found
            if not df:
                return None
            df = self._files[df].parent

    def _record(self, source: File, number: int) -> bytes | None:
        used, _ = record_state(self._store, source)
        if not 1 <= number <= used:
            return None
        place, length = record_place(self._store, source, number)
        return self._store.read(source.item, place, length)

    def environments(self, file: File) -> Environments:
        """Environments of the nearest DF that names an EF for them; of a DF, its own before those above.

        Where a template is malformed, or two have one number, there are none: conditions that need one are never.
        """
        df: File | None = file if file.structure is FileStructure.DF else self._above(file)
        while df is not None:
            named = tlv.find(df.spec.attributes, Tag.ENVIRONMENTS)
            if named is not None:
                return self._templates(df, int.from_bytes(named, "big"))
            df = self._above(df)
        return NO_ENVIRONMENTS

    def _above(self, file: File) -> File | None:
        root = self._names.get((APPLICATION_DF, ROOT_FID))
        if file is root:
            return None
        return self._files[file.parent] if file.parent else root

    def _templates(self, df: File, fid: int) -> Environments:
        known = self._environments.get(df.identifier)
        if known is not None:
            return known
        inside = APPLICATION_DF if df is self._names.get((APPLICATION_DF, ROOT_FID)) else df.identifier
        source = self._find(fid, inside)
        try:
            found = self._read_templates(source) if source is not None else NO_ENVIRONMENTS
        except ValueError:
            found = NO_ENVIRONMENTS
        self._environments[df.identifier] = found
        return found

    def _read_templates(self, source: File) -> Environments:
        found: dict[int, SecurityEnvironment] = {}
        for content in self._contents(source):
            for item in tlv.iterate(content, padding=True):
                number, meaning = environment(item.encode())
                if number in found:
                    raise ValueError(f"two security environments have the number {number}")
                found[number] = meaning
        return found

    def _contents(self, source: File) -> Iterator[bytes]:
        """What a file of templates holds, record by record."""
        store = self._store
        match source.structure:
            case FileStructure.TRANSPARENT:
                yield store.read(source.item, source.body, source.size)
            case FileStructure.TLV:
                used = int.from_bytes(store.read(source.item, source.body, OBJECT_LENGTH), "big") if source.size else 0
                yield store.read(source.item, source.body + OBJECT_LENGTH, used) if used else b""
            case FileStructure.DF:
                raise ValueError("a DF holds no templates")
            case _:
                used, _ = record_state(store, source)
                for number in range(1, used + 1):
                    place, length = record_place(store, source, number)
                    yield store.read(source.item, place, length)
