"""Power cut at every programming unit while a SAM is made from what a vendor delivers: made again, it is a good one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from card_os.card import Card
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.storage.store import ObjectKind, ObjectStore
from permitcard.products import boot, permit_profile, sam_profile
from permitcard.sams import deliver_chip
from permitcard.specimen import specimen_keys
from personalization.errors import PersonalizationError
from personalization.sams.maker import SamMaker
from personalization.sams.office import open_session
from personalization.sams.proof import prove_sam
from reader_bridge.connection import Interface
from reader_bridge.simulated import SimulatedCard
from reader_bridge.tear_recording import TearRecording
from reader_bridge.tear_report import Problem, TearReport, ViolationKind
from reader_bridge.tear_sweep import TearSweep

LOAD_KEY = 0x9F
IDENTIFICATION = 0xDF21


def make(nvm: Nvm) -> Card:
    return boot(nvm, SeededRandomness(1))


def finished(image: NvmImage) -> Sequence[Problem]:
    """What does not work of a chip that is made after it has booted."""
    store = ObjectStore(image.fork().nvm())
    found = {(item.kind, item.identifier) for item in store.objects()}
    if (ObjectKind.KEY, LOAD_KEY) not in found and (ObjectKind.DATA, IDENTIFICATION) not in found:
        return [Problem(ViolationKind.BETWEEN, "the load key is gone before the SAM is made")]
    keys = specimen_keys()
    with SimulatedCard(image, make) as card, card.connect(Interface.CONTACT) as connection:
        SamMaker(sam_profile(), keys).make(connection)
        prove_sam(open_session(connection, sam_profile(), keys), keys, permit_profile(), ("inspection", "issuer"))
    return []


def sweep(folder: Path, *, twice: bool = False) -> TearReport:
    deliver_chip(folder / "chip.card", specimen_keys())
    with NvmImage.open(folder / "chip.card") as delivered:
        recording = TearRecording(delivered, make)
    with recording.connect() as connection:
        SamMaker(sam_profile(), specimen_keys()).make(connection)
    return TearSweep(recording, finished, lambda _: (), twice=twice).run()


def test_a_sam_that_is_torn_anywhere_is_made_again(tmp_path: Path) -> None:
    report = sweep(tmp_path)
    assert report.violations == []
    assert report.writing >= 6, "PUT KEY, STORE DATA and SET STATUS, and the counters of the sessions"
    assert report.cuts == 4 * report.units > 1_500


@pytest.mark.long
def test_a_sam_that_is_torn_twice_is_made_again(tmp_path: Path) -> None:
    report = sweep(tmp_path, twice=True)
    assert report.violations == []


def test_a_maker_that_begins_anew_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep sees a load key that is deleted: the one mistake that nobody here can mend."""
    fill = SamMaker._fill

    def anew(self: SamMaker, session: object, look: object) -> None:
        session.delete(sam_profile().application.instance)  # type: ignore[attr-defined]  # a session
        fill(self, session, look)  # type: ignore[arg-type]

    monkeypatch.setattr(SamMaker, "_fill", anew)
    deliver_chip(tmp_path / "chip.card", specimen_keys())
    with NvmImage.open(tmp_path / "chip.card") as delivered, SimulatedCard(delivered.fork(), make) as card:
        with card.connect(Interface.CONTACT) as connection, pytest.raises(PersonalizationError, match="card-refused"):
            SamMaker(sam_profile(), specimen_keys()).make(connection)
        assert [problem.kind for problem in finished(card.image.fork())] == [ViolationKind.BETWEEN]
