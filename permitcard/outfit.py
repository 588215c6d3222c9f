"""What a station of the issuing centre works with, opened in the station's own process."""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from permitcard.blank_list import PLACE_MARK
from permitcard.products import open_simulated, permit_profile
from permitcard.reaching import card_factory
from permitcard.recipes import permit_recipe
from permitcard.sams import STATION_ROLES, a_sam
from personalization.inspection.inspector import PermitInspector
from personalization.keys.authorities import authorities_of
from personalization.keys.keystore import KeyStoreLocation
from personalization.preparation.faces import FaceFile
from personalization.preparation.prepared_file import PreparedFile
from personalization.preparation.printing import print_document
from personalization.preparation.record import PreparedRecord
from personalization.preparation.source_file import SourceFile
from personalization.production.card_kind import GuardedCard
from personalization.production.hooked import with_hooks
from personalization.production.hooks import Hooks
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.place import JournalPlace
from personalization.production.journal.prints import PrintLedger
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.results import Results
from personalization.production.work import Equipment, Interfaces
from reader_bridge.addresses import AddressKind, CardAddress
from reader_bridge.connection import Interface


@dataclass(frozen=True, slots=True)
class StationOutfit:
    """Opens a station's equipment; travels to the station's process as paths only.

    Attributes:
        batch: identifier of the batch; the sealed files have to be of it.
        root: the centre's folder; addresses of simulated cards are relative to it.
        keys: where the key store is and how it is opened.
        prepared: the batch's prepared records.
        source: the batch's accepted applicants.
        faces: what is printed on the batch's cards.
        journal: where begun prints are remembered.
        hooks: machines around the station.
        sams: addresses of readers with SAMs, of which each station takes one; empty for a rehearsal's own card files.
    """

    batch: str
    root: Path
    keys: KeyStoreLocation
    prepared: Path
    source: Path
    faces: Path
    journal: JournalPlace
    hooks: Hooks = field(default_factory=Hooks)
    sams: tuple[str, ...] = ()

    @contextmanager
    def __call__(self) -> Generator[Equipment]:
        """Open key store, SAM and sealed files; all are closed at the end."""
        with ExitStack() as held:
            keys = self.keys.open()
            held.callback(keys.close)
            journal = held.enter_context(open_journal(self.journal, migrate=False))
            sam = held.enter_context(a_sam(self.root / "sams", self.sams, journal, keys, STATION_ROLES))
            sealed = keys.of_batch(self.batch)
            records = held.enter_context(PreparedFile(self.prepared, sealed, batch=self.batch))
            source = held.enter_context(SourceFile(self.source, sealed, batch=self.batch))
            faces = held.enter_context(FaceFile(self.faces, sealed, batch=self.batch))
            equipment = Equipment(
                GlobalPlatformMaker(permit_recipe(keys)),
                PermitInspector(sam, permit_profile(), authorities_of(keys), source, faces=faces),
                records,
                functools.partial(self.connect, production=keys.production),
                Results(sealed),
            )
            yield self._hooked(equipment, faces, journal)

    def _hooked(self, equipment: Equipment, faces: FaceFile, journal: Journal) -> Equipment:
        """The same with the centre's hooks, where it has any."""
        if not self.hooks:
            return equipment

        def face(record: object) -> dict[str, object]:
            if not isinstance(record, PreparedRecord):
                raise TypeError(f"a face belongs to a PreparedRecord, not to {type(record).__name__}")
            return print_document(faces.face(record.row_number))

        return with_hooks(equipment, self.hooks, batch=self.batch, face=face, prints=PrintLedger(journal))

    @contextmanager
    def connect(self, location: str, *, production: bool) -> Generator[Interfaces]:
        """Open the card at an address of the stock, without power.

        Args:
            location: the address; what stands behind `PLACE_MARK` is the feeder's.
            production: whether the keys are for real cards; a card of the other kind gets no command.

        Raises:
            ReaderError: "image-in-use" when another process has it, or no card is there.
        """
        address = CardAddress.parse(location.partition(PLACE_MARK)[0])
        with ExitStack() as held:
            if address.kind is AddressKind.SIMULATED:
                card = open_simulated(self.root / address.place)
                held.callback(card.close)
                both = Interfaces(card.connect(Interface.CONTACT), card.connect(Interface.CONTACTLESS))
            else:
                both = Interfaces(*card_factory(exclusive=True).connect_both(address))
            contactless = both.contactless
            yield Interfaces(
                GuardedCard(both.contact, production=production),
                None if contactless is None else GuardedCard(contactless, production=production),
            )
