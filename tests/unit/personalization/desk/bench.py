"""Specimen permits at desks, with taps that can be cut."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import Final

from card_os.card import Card
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.hardware.randomness import SeededRandomness
from permitcard.blanks import make_blank
from permitcard.products import boot, permit_profile
from permitcard.recipes import permit_recipe, untimed
from permitcard.specimen import SPECIMEN_BATCH, make_specimen, specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.inspection.signature_check import SignatureVerifier
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KEY_LENGTHS, KeyName, KeyStore
from personalization.permit.desk.bank_section import BRANCH_ROLE
from personalization.permit.desk.desk import Desk, Office
from personalization.permit.desk.dossier import Dossiers, MemoryDossiers
from personalization.permit.desk.proof import DateBound, open_session
from personalization.permit.desk.tap import DESK_ROLE, Tap, open_tap
from personalization.permit.policy.library import policies
from personalization.permit.policy.model import EndorsementRule
from personalization.preparation.record import PreparedRecord
from personalization.production.maker import GlobalPlatformMaker
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import CardConnection, Interface
from reader_bridge.simulated import SimulatedCard

NUMBER: Final = "330381263000000001"
ISSUED: Final = dt.date(2026, 1, 1)
DUE: Final = dt.date(2027, 1, 1)
AREA: Final = "330381"
ELSEWHERE: Final = "330302"


def rule(**changes: object) -> EndorsementRule:
    found = policies().named("zhejiang-2016").endorsement
    assert found is not None
    return found.model_copy(update=changes)


@cache
def verifier() -> SignatureVerifier:
    return SignatureVerifier(specimen_keys().certificate(KeyName.AUTHORITY))


@cache
def specimen_image() -> bytes:
    """One personalized permit, to be copied."""
    card, _ = make_specimen()
    with card:
        return card.image.snapshot()


def other_keys(*names: KeyName) -> FileKeyStore:
    """The specimen's keys, but for some masters."""
    keys = specimen_keys()
    for name in names:
        keys = keys.with_key(name, hashlib.sha256(b"other " + name.value.encode()).digest()[: KEY_LENGTHS[name]])
    return keys


def card_made_with(keys: KeyStore, record: PreparedRecord) -> BenchCard:
    """A permit card of its own."""
    image, number = make_blank(None, keys, SPECIMEN_BATCH, 77, ISSUED)
    with SimulatedCard(image, boot, "sim") as card:
        with card.connect(Interface.CONTACT) as connection:
            GlobalPlatformMaker(permit_recipe(keys)).make(connection, record, number, untimed)
        return BenchCard(card.image.snapshot())


def recognise(number: str) -> bytes:
    return specimen_keys().recognise(number.encode())


class BenchCard:
    """A copy of the specimen whose power can be cut."""

    def __init__(self, image: bytes | None = None, seed: int = 5) -> None:
        self.power = PowerSupply()
        self._image = NvmImage.from_snapshot(image or specimen_image())
        self.simulated = SimulatedCard(self._image, self._boot(seed))

    def _boot(self, seed: int) -> Callable[[Nvm], Card]:
        def make(nvm: Nvm) -> Card:
            self.power = nvm.power
            return boot(nvm, SeededRandomness(seed))

        return make

    def arm(self, unit: int, moment: CutMoment) -> None:
        self.power.arm(unit, moment)

    @property
    def units(self) -> int:
        return self.power.count

    def snapshot(self) -> bytes:
        return self._image.snapshot()

    def fork(self) -> NvmImage:
        """The memory as it is now, to be compared."""
        return NvmImage.from_snapshot(self.snapshot())

    def again(self) -> BenchCard:
        """The same card after its power came back: booted anew on what is left."""
        return BenchCard(self.snapshot())

    @contextmanager
    def tap(
        self,
        today: dt.date,
        interface: Interface = Interface.CONTACT,
        *,
        bound: DateBound | None = None,
        role: str = DESK_ROLE,
        keys: KeyStore | None = None,
        authority: SignatureVerifier | None = None,
        wrap: Callable[[CardConnection], CardConnection] = lambda connection: connection,
    ) -> Generator[Tap]:
        with self.simulated.connect(interface) as connection:
            sam = LaboratorySam(keys or specimen_keys(), SeededRandomness(3).bytes)
            yield open_tap(
                wrap(connection),
                sam,
                permit_profile(),
                authority or verifier(),
                today,
                bound,
                role=role,
                randomness=SeededRandomness(4).bytes,
            )

    @contextmanager
    def branch(
        self,
        today: dt.date,
        interface: Interface = Interface.CONTACT,
        *,
        wrap: Callable[[CardConnection], CardConnection] = lambda connection: connection,
    ) -> Generator[tuple[Tap, TerminalSession]]:
        """A branch's terminal: it reads the permit first, then it is the bank."""
        with self.simulated.connect(interface) as inner:
            connection, sam = wrap(inner), LaboratorySam(specimen_keys())
            tap = open_tap(connection, sam, permit_profile(), verifier(), today, None, role="inspection")
            yield tap, open_session(connection, sam, permit_profile(), BRANCH_ROLE)


def desk(dossiers: Dossiers | None = None, area: str = AREA, **changes: object) -> Desk:
    return Desk(
        permit_profile(),
        dossiers if dossiers is not None else MemoryDossiers(),
        recognise,
        Office(area, "DESK 001", rule(**changes), policies().named("zhejiang-2016").changes),
    )
