"""Specimen permits at desks, with taps that can be cut."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import Final

from card_os.card import Card
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.hardware.randomness import SeededRandomness
from permitcard.products import boot, permit_profile
from permitcard.specimen import make_specimen, specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.inspection.signature_check import SignatureVerifier
from personalization.keys.keystore import KeyName
from personalization.permit.desk.desk import Desk, Office
from personalization.permit.desk.dossier import Dossiers, MemoryDossiers
from personalization.permit.desk.tap import DESK_ROLE, DateBound, Tap, open_tap
from personalization.permit.policy.library import policies
from personalization.permit.policy.model import EndorsementRule
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
        wrap: Callable[[CardConnection], CardConnection] = lambda connection: connection,
    ) -> Generator[Tap]:
        with self.simulated.connect(interface) as connection:
            sam = LaboratorySam(specimen_keys(), SeededRandomness(3).bytes)
            yield open_tap(
                wrap(connection),
                sam,
                permit_profile(),
                verifier(),
                today,
                bound,
                role=role,
                randomness=SeededRandomness(4).bytes,
            )


def desk(dossiers: Dossiers | None = None, area: str = AREA, **changes: object) -> Desk:
    return Desk(
        permit_profile(),
        dossiers if dossiers is not None else MemoryDossiers(),
        recognise,
        Office(area, "DESK 001", rule(**changes)),
    )
