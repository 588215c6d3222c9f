"""What preparation of a row and inspection of a card cost: ours beside the work that nobody can leave out."""

from __future__ import annotations

import hashlib
import io
import random
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from PIL import Image

from benchmarks.turns import ROUNDS_OF_ONE, best
from personalization.intake.applicant import Applicant
from personalization.intake.sample.faces import draw_portrait
from personalization.keys.keystore import KeyName
from personalization.preparation.data_groups import DataGroups
from personalization.preparation.document_signature import DocumentSigner
from personalization.preparation.portrait import make_portrait
from personalization.preparation.prepare import prepare_batch
from reader_bridge.connection import Interface
from tests.doubles.issuing_centre import PERMIT_PROFILE, IssuingCentre, applicant, batch, draw

ROWS = 200
CARDS = 20

Row = tuple[str, float, float]


def decode(picture: bytes) -> None:
    """The floor of a portrait: unpack it."""
    Image.open(io.BytesIO(picture), formats=("JPEG",)).load()


class PublicKeyWork:
    """The elliptic-curve operations that a row and a card cannot do without."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public = self._key.public_key()
        self._algorithm = ec.ECDSA(Prehashed(SHA256()))
        self._digest = hashlib.sha256(b"floor").digest()
        self._signature = self._key.sign(self._digest, self._algorithm)

    def of_a_row(self) -> None:
        """One key pair and one signature."""
        ec.generate_private_key(ec.SECP256R1())
        self._key.sign(self._digest, self._algorithm)

    def of_a_card(self) -> None:
        """Two signatures of the chip, verified, and the document signer's."""
        for _ in range(2):
            self._key.sign(self._digest, self._algorithm)
        for _ in range(3):
            self._public.verify(self._signature, self._digest, self._algorithm)


def whole_rows(centre: IssuingCentre, residents: list[Applicant], directory: Path) -> float:
    """µs a row of a whole batch, with its four files."""

    def prepare() -> None:
        prepared = prepare_batch(batch(*residents), centre.keystore, PERMIT_PROFILE, directory)
        prepared.prepared.unlink()

    return best(prepare, 1) / len(residents)


def run() -> list[Row]:
    """Rows for `benchmarks.run`."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        centre = IssuingCentre(directory)
        try:
            return [*_preparation(centre, directory), *_cards(centre)]
        finally:
            centre.close()


def _preparation(centre: IssuingCentre, directory: Path) -> list[Row]:
    ready, delivered = draw(2), draw_portrait(random.Random(2))
    work = PublicKeyWork()
    ready_floor = best(lambda: decode(ready), 200)
    floor = best(lambda: decode(delivered), 200)
    keys = best(work.of_a_row, 200)
    residents = [applicant(row, portrait=ready) for row in range(2, 2 + ROWS)]
    others = [resident._replace(portrait=delivered) for resident in residents]
    groups, signer = DataGroups(PERMIT_PROFILE), DocumentSigner(PERMIT_PROFILE, centre.keystore)
    contents = {0x0101: bytes(300), 0x0102: bytes(256), 0x0103: ready, 0x0105: bytes(65)}
    prepared = centre.preparer.prepare(residents[0])
    sealed = prepared.record.encode()
    sealing = best(lambda: centre.keystore.seal(KeyName.TRANSPORT, sealed, b"row"), 200)
    return [
        ("a row, portrait as production wants it", whole_rows(centre, residents, directory), ready_floor + keys),
        ("a row, portrait of 142 × 198 made anew", whole_rows(centre, others, directory), floor + keys),
        ("  portrait that passes", best(lambda: make_portrait(ready, row=2), 200), ready_floor),
        ("  portrait made anew", best(lambda: make_portrait(delivered, row=2), 200), floor),
        ("  text of the files", best(lambda: groups.build(residents[0]), 200), keys),
        ("  signature of the document signer", best(lambda: signer.sign(contents), 200), keys),
        ("  all of a row but its files", best(lambda: centre.preparer.prepare(residents[0]), 200), ready_floor + keys),
        ("  record encoded and sealed", best(prepared.record.encode, 200) + sealing, sealing),
    ]


def _cards(centre: IssuingCentre) -> list[Row]:
    record = centre.prepare(applicant()).record
    floor = best(PublicKeyWork().of_a_card, 50)
    inspector = centre.inspector()
    card = centre.make(record)
    blanks = iter([centre.blank() for _ in range(ROUNDS_OF_ONE * CARDS)])

    def inspect() -> None:
        result = inspector.inspect(card.connect(), card.connect(Interface.CONTACTLESS), 2)
        if not result.passed:
            raise SystemExit(f"the card failed: {result.failures}")

    making = best(lambda: centre.make(record, next(blanks)), CARDS)
    inspecting = best(inspect, CARDS)
    print(f"  {1e6 / (making + inspecting):.0f} cards a second, made and inspected on both interfaces, without journal")
    return [
        ("a card made: SCP03, keys, application, data", making, floor),
        ("a card inspected on both interfaces", inspecting, floor),
    ]


if __name__ == "__main__":
    for label, ours, least in run():
        print(f"  {label:<56} {ours:>8.1f} µs {least:>8.1f} µs {ours / least:>6.1f} ×")
