"""A small issuing centre on simulated cards: key store, blanks, prepared rows, a maker, a SAM and an inspector."""

from __future__ import annotations

import datetime as dt
import functools
import io
import random
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageDraw

import applet.permit
import applet.sam
from applet.permit.applet import PermitApplet
from applet.sam.applet import SamApplet
from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.manufacture import manufacture
from personalization.globalplatform.commands import DataGrouping
from personalization.globalplatform.scp03 import StaticKeys
from personalization.inspection.inspector import PermitInspector
from personalization.intake.applicant import Applicant, Batch, Residence
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import CardKeys, issuer_domain_generations, issuer_domain_keys
from personalization.preparation.faces import CardFace
from personalization.preparation.prepare import PreparedCard, Preparer
from personalization.preparation.record import PreparedRecord
from personalization.production.maker import GlobalPlatformMaker, Recipe
from personalization.profile import CardProfile
from personalization.terminal.sam import SamSession
from reader_bridge.simulated import SimulatedCard

PERMIT_PROFILE = CardProfile.load(files(applet.permit) / "profile.toml")
SAM_PROFILE = CardProfile.load(files(applet.sam) / "profile.toml")
TODAY = dt.date(2026, 3, 2)
PASSPHRASE = b"a passphrase for tests"


def draw(seed: int, size: tuple[int, int] = (71, 99), kind: str = "JPEG", quality: int = 88) -> bytes:
    """A drawn head with grain; another seed is another person."""
    chance = random.Random(seed)
    picture = Image.frombytes("RGB", (24, 33), chance.randbytes(24 * 33 * 3)).resize(size, Image.Resampling.BICUBIC)
    picture = Image.blend(picture, Image.new("RGB", size, (90, 140, 220)), 0.8)
    pen = ImageDraw.Draw(picture)
    width, height = size
    left, top = width * chance.uniform(0.18, 0.3), height * chance.uniform(0.12, 0.25)
    skin = (chance.randint(150, 250), chance.randint(120, 200), chance.randint(90, 170))
    pen.ellipse((left, top, width - left, height * chance.uniform(0.7, 0.85)), fill=skin)
    pen.rectangle((left, top, width - left, height * chance.uniform(0.3, 0.42)), fill=(chance.randint(0, 90),) * 3)
    stream = io.BytesIO()
    picture.save(stream, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return stream.getvalue()


def applicant(row: int = 2, **changes: object) -> Applicant:
    """A resident of Rui'an with everything a row can have; ``changes`` replaces fields."""
    resident = Applicant(
        row_number=row,
        permit_number=f"330381203{row:09d}",
        name="欧阳𠮷娜",
        birth_date=dt.date(1990, 7, 21),
        sex="2",
        ethnic_group="15",
        citizen_number="33038119900721124X",
        registered_address="贵州省黔东南苗族侗族自治州黎平县岩洞镇竹坪村第三村民小组二十七号之一附属楼三单元四零二室",
        issue_date=dt.date(2026, 3, 1),
        issuing_authority="瑞安市公安局",
        service_hotline="0577-65812345",
        bank_account="6217993300012345678",
        endorsement_due=dt.date(2027, 3, 1),
        area_code="330381",
        production_date=dt.date(2026, 3, 2),
        citizen_card_number="Z12345678",
        citizen_card_account="6231330000123456",
        portrait=draw(row),
        residence=Residence(
            "浙江省瑞安市锦湖街道沿江西路一百二十八号", "RA2026030112345", dt.date(2025, 8, 1), "锦湖派出所"
        ),
    )
    return resident._replace(**changes)  # type: ignore[arg-type]  # fields by name, as the caller chose them


def child(row: int = 3) -> Applicant:
    """A child's permit: no account, no residence, no citizen card."""
    number = f"330381205{row:09d}"
    empty = {"bank_account": None, "residence": None, "citizen_card_number": None, "citizen_card_account": None}
    return applicant(row, permit_number=number, name="丁", registered_address="浙江省", **empty)


def batch(*applicants: Applicant, identifier: str = "RCO20260302101112345") -> Batch:
    return Batch(identifier, "330381", len(applicants), bytes(32), applicants)


def card_image(keystore: FileKeyStore, serial: int) -> NvmImage:
    """A blank of the vendor, with factory keys of its own."""
    image = NvmImage.create(None)
    data = ProductionData(ic_fabricator=0x4A5A, ic_type=1, ic_batch=7, ic_serial_number=serial)
    keys = issuer_domain_keys(keystore, KeyName.FACTORY, data.card_number)
    manufacture(image.nvm(), data, KeySet(keys.version, keys.enc, keys.mac, keys.dek))
    return image


def boot(nvm: Nvm) -> Card:
    return Card(nvm, (PermitApplet, SamApplet), randomness=SeededRandomness(b"card"))


class Sources:
    """Applicants and faces by row, in memory."""

    def __init__(self) -> None:
        self.applicants: dict[int, Applicant] = {}
        self.faces: dict[int, CardFace] = {}

    def applicant(self, row_number: int) -> Applicant:
        return self.applicants[row_number]

    def face(self, row_number: int) -> CardFace:
        return self.faces[row_number]


Change = Callable[[PreparedRecord], PreparedRecord]


class IssuingCentre:
    """Everything of the centre but the journal.

    Args:
        directory: where the key store goes.
    """

    def __init__(self, directory: Path) -> None:
        self.keystore = FileKeyStore.create(
            directory / "keys.json", PASSPHRASE, now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), scrypt_n=16
        )
        self.preparer = Preparer(PERMIT_PROFILE, self.keystore)
        self.sources = Sources()
        self._serial = 0
        self._sam_card = self._make_sam()
        self.sam = self._open_sam()  # one session: the next one would end it

    def recipe(self, profile: CardProfile, groupings: Callable[[object, bytes], Sequence[DataGrouping]]) -> Recipe:
        def keys(name: KeyName) -> Callable[[bytes], Iterable[StaticKeys]]:
            return functools.partial(issuer_domain_generations, self.keystore, name)

        names = profile.application
        return Recipe(
            names.package,
            names.module,
            names.instance,
            names.privileges,
            profile.install_parameters,
            groupings,
            keys(KeyName.FACTORY),
            keys(KeyName.CARD),
        )

    def blank(self) -> SimulatedCard:
        self._serial += 1
        return SimulatedCard(card_image(self.keystore, self._serial), boot)

    def _make_sam(self) -> SimulatedCard:
        keys = CardKeys(SAM_PROFILE, self.keystore)
        card = self.blank()
        maker = GlobalPlatformMaker(self.recipe(SAM_PROFILE, lambda _, number: keys.sam_groupings(number)))
        with card.connect() as connection:
            maker.make(connection, None, None, lambda _: None)
        return card

    def _open_sam(self) -> SamSession:
        connection = self._sam_card.connect()
        connection.power_on()
        return SamSession.open(connection, lambda number: self.keystore.derive(KeyName.TERMINAL, "ROLE", number, 32))

    def prepare(self, resident: Applicant) -> PreparedCard:
        prepared = self.preparer.prepare(resident)
        self.sources.applicants[resident.row_number] = resident
        self.sources.faces[resident.row_number] = prepared.face
        return prepared

    def make(self, record: PreparedRecord, card: SimulatedCard | None = None) -> SimulatedCard:
        keys = CardKeys(PERMIT_PROFILE, self.keystore)

        def groupings(wanted: object, number: bytes) -> Sequence[DataGrouping]:
            assert isinstance(wanted, PreparedRecord)
            return keys.permit_groupings(wanted, number)

        card = card or self.blank()
        with card.connect() as connection:
            GlobalPlatformMaker(self.recipe(PERMIT_PROFILE, groupings)).make(connection, record, None, lambda _: None)
        return card

    def permit(self, resident: Applicant, change: Change = lambda record: record) -> SimulatedCard:
        """A finished permit; ``change`` does something to its record first."""
        return self.make(change(self.prepare(resident).record))

    def inspector(self, today: dt.date = TODAY) -> PermitInspector:
        return PermitInspector(
            self.sam,
            PERMIT_PROFILE,
            self.keystore.certificate(KeyName.AUTHORITY),
            self.sources,
            faces=self.sources,
            today=lambda: today,
        )

    def close(self) -> None:
        self._sam_card.close()


def firmware(card: SimulatedCard) -> Card:
    """The card behind its connections, for what no connection shows."""
    assert isinstance(card.card, Card)
    return card.card
