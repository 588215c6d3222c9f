"""A production line of simulated cards with real cryptography, from a synthetic delivery to inspected permits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from applet.permit.applet import PermitApplet
from applet.sam.applet import SamApplet
from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.security_domain import SecurityDomain
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.manufacture import manufacture
from personalization.globalplatform.commands import DataGrouping
from personalization.inspection.inspector import PermitInspector
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import CardKeys, issuer_domain_generations, issuer_domain_keys
from personalization.preparation.prepared_file import PreparedFile
from personalization.preparation.record import PreparedRecord
from personalization.preparation.source_file import SourceFile
from personalization.production.journal import Journal
from personalization.production.journal.batches import BatchEntry, BatchFacts, RowEntry, register_batch
from personalization.production.maker import GlobalPlatformMaker, Recipe
from personalization.production.results import Results
from personalization.production.stock import NewBlank, receive_blanks
from personalization.production.work import Equipment, Interfaces
from personalization.profile import CardProfile
from personalization.terminal.sam import SamSession
from reader_bridge.connection import Interface
from reader_bridge.simulated import SimulatedCard, open_card

PASSPHRASE = b"only for tests"
FACTORY_VERSION = 0xFF


def boot(nvm: Nvm) -> Card:
    return Card(nvm, (PermitApplet, SamApplet), security_domain=SecurityDomain)


def profile(name: str) -> CardProfile:
    return CardProfile.load(files(f"applet.{name}").joinpath("profile.toml"))


def recipe(keys: FileKeyStore, name: str) -> Recipe:
    of_card = profile(name)
    card_keys = CardKeys(of_card, keys)

    def groupings(record: object, card_number: bytes) -> list[DataGrouping]:
        if isinstance(record, PreparedRecord):
            return card_keys.permit_groupings(record, card_number)
        return card_keys.sam_groupings(card_number)

    return Recipe(
        of_card.application.package,
        of_card.application.module,
        of_card.application.instance,
        of_card.application.privileges,
        of_card.install_parameters,
        groupings,
        lambda number: issuer_domain_generations(keys, KeyName.FACTORY, number),
        lambda number: issuer_domain_generations(keys, KeyName.CARD, number),
    )


def new_blank(path: Path, keys: FileKeyStore, batch: int, serial: int) -> bytes:
    """A blank card file; returns its card number."""
    data = ProductionData(ic_fabricator=0x4A5A, ic_type=1, ic_serial_number=serial, ic_batch=batch)
    factory = issuer_domain_keys(keys, KeyName.FACTORY, data.card_number)
    image = NvmImage.create(path)
    manufacture(image.nvm(), data, KeySet(FACTORY_VERSION, factory.enc, factory.mac, factory.dek))
    image.close()
    return data.card_number


def take_sam(folder: Path, keys: FileKeyStore) -> SimulatedCard:
    """A SAM of this process: a new one each time, which is never in somebody else's hands."""
    serial = len(list(folder.glob("*.sam"))) + 1
    while (path := folder / f"{serial}.sam").exists():
        serial += 1
    try:
        number = new_blank(path, keys, 0xFF00, serial)
    except Exception:  # noqa: BLE001 - another station took that name
        return take_sam(folder, keys)
    card = open_card(path, boot)
    with card.connect(Interface.CONTACT) as connection:
        GlobalPlatformMaker(recipe(keys, "sam")).make(connection, None, number, lambda _step: None)
    return card


@dataclass(frozen=True)
class Outfit:
    """Picklable maker of the equipment: keys, SAM and sealed files are opened in the station's process.

    ``forged`` replaces the key store that cards are made with by another one.
    """

    root: Path
    batch: str
    forged: bool = False

    @contextmanager
    def __call__(self) -> Generator[Equipment]:
        keys = FileKeyStore.open(self.root / "keys", PASSPHRASE)
        maker_keys = FileKeyStore.open(self.root / "other-keys", PASSPHRASE) if self.forged else keys
        terminal = profile("sam").key("terminal")
        with ExitStack() as held:
            sam = held.enter_context(take_sam(self.root, keys))
            connection = held.enter_context(sam.connect(Interface.CONTACT))
            session = SamSession.open(
                connection,
                lambda number: keys.derive(
                    KeyName.TERMINAL, terminal.label or "", terminal.derivation_context(number), terminal.length
                ),
            )
            source = held.enter_context(SourceFile(self.root / f"{self.batch}.source", keys, batch=self.batch))
            yield Equipment(
                GlobalPlatformMaker(recipe(maker_keys, "permit")),
                PermitInspector(session, profile("permit"), keys.certificate(KeyName.AUTHORITY), source),
                held.enter_context(PreparedFile(self.root / f"{self.batch}.prepared", keys, batch=self.batch)),
                self.connect,
                Results(keys),
            )

    @contextmanager
    def connect(self, location: str) -> Generator[Interfaces]:
        with open_card(self.root / location.removeprefix("sim:"), boot) as card:
            yield Interfaces(card.connect(Interface.CONTACT), card.connect(Interface.CONTACTLESS))


def load(journal: Journal, root: Path, rows: int, blanks: int) -> tuple[BatchFacts, Outfit]:
    """A synthetic delivery, checked, prepared and in the journal, with its blanks in stock."""
    # Here and not above: a station's process does without spreadsheets.
    from personalization.intake.history import RememberedBatches
    from personalization.intake.receipt import receive_batch
    from personalization.intake.sample import write_sample
    from personalization.preparation.prepare import prepare_batch

    keys = FileKeyStore.create(root / "keys", PASSPHRASE, scrypt_n=1 << 10)
    FileKeyStore.create(root / "other-keys", PASSPHRASE, scrypt_n=1 << 10)
    delivery = write_sample(root / "delivery", rows)
    receipt = receive_batch(delivery, RememberedBatches(), dt.datetime.now(dt.UTC))
    batch = receipt.batch()
    prepare_batch(batch, keys, profile("permit"), root)
    entries = [
        RowEntry(
            applicant.row_number,
            index,
            keys.recognise(applicant.permit_number.encode()),
            keys.recognise(applicant.citizen_number.encode()),
        )
        for index, applicant in enumerate(batch.applicants)
    ]
    entry = BatchEntry(batch.identifier, receipt.source_sha256, batch.area_code, rows, "prepared", "source", entries)
    facts = register_batch(journal, entry, "operator")
    receive(journal, root, keys, blanks)
    return facts, Outfit(root, batch.identifier)


def receive(journal: Journal, root: Path, keys: FileKeyStore, blanks: int, batch: int = 1) -> None:
    def make() -> Iterator[NewBlank]:
        for serial in range(1, blanks + 1):
            name = f"{batch:04X}-{serial:04}.card"
            yield NewBlank(new_blank(root / name, keys, batch, serial), f"sim:{name}")

    receive_blanks(journal, make(), lot=f"lot-{batch}", who="operator")
