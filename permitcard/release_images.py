"""Card images of a release: made once when it comes out, booted and read by every later one.

    test_vectors/nvm_images/0.1.0/blank.card.xz, specimen.card.xz, sam.card.xz, contents.json

``python -m permitcard.release_images FOLDER`` makes those of this version. All keys and PINs in them are published.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from card_os.hardware.image import NvmImage
from permitcard.products import boot, permit_profile
from permitcard.sams import new_sam, open_sam
from permitcard.specimen import HOLDER_PIN, make_blank_specimen, make_specimen, specimen_keys
from permitcard.testing.access import read_card_number
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession
from reader_bridge.simulated import SimulatedCard

CONTENTS: Final = "contents.json"
SUFFIX: Final = ".card.xz"
_USAGE: Final = 2
_SERIAL: Final = 1

Readable = dict[str, object]
"""What must be readable of a card."""


def made_images() -> dict[str, bytes]:
    """One card of each kind as this version makes it."""
    cards = {
        "blank": make_blank_specimen()[0],
        "specimen": make_specimen()[0],
        "sam": new_sam(specimen_keys(), _SERIAL),
    }
    images: dict[str, bytes] = {}
    for name, card in cards.items():
        with card:
            images[name] = card.image.snapshot()
    return images


def read_image(name: str, raw: bytes) -> Readable:
    """Boot an image and read what its kind has to have, with the published keys and PINs.

    Args:
        name: "blank", "specimen" or "sam".
        raw: the image, not compressed.

    Raises:
        ImageError: this version does not know the image.
        ReaderError: the card does not boot.
        PersonalizationError: a key, a PIN or a file is not what it was.
    """
    with SimulatedCard(NvmImage.from_snapshot(raw), boot) as card:
        with card.connect() as connection:
            number = read_card_number(connection)
        key_name = KeyName.FACTORY if name == "blank" else KeyName.CARD
        with card.connect() as connection:
            session = SecureSession.open(connection, issuer_domain_keys(specimen_keys(), key_name, number))
        return {"card_number": number.hex().upper(), "key_version": session.key_version, **_READERS[name](card)}


def _read_blank(card: SimulatedCard) -> Readable:
    del card
    return {}


def _read_specimen(card: SimulatedCard) -> Readable:
    profile = permit_profile()
    with card.connect() as connection:
        holder = HolderSession.open(connection, profile)
        tries = holder.tries_left()
        holder.verify(HOLDER_PIN)
        residence = _digest(holder.read("EF.RESIDENCE"))
    with card.connect() as connection:
        terminal = TerminalSession.open(connection, LaboratorySam(specimen_keys()), profile, "inspection")
        files = {
            row.name: [_digest(record) for record in terminal.read_records(row.name)]
            if row.record_size
            else _digest(terminal.read(row.name))
            for row in profile.files
            if row.name not in _NOT_FOR_INSPECTION
        }
        identification = terminal.profile_on_card().decode("ascii")
    return {"profile": identification, "holder_tries": tries, "holder_reads_residence": residence, "files": files}


def _read_sam(card: SimulatedCard) -> Readable:
    with open_sam(card, specimen_keys()) as sam:
        authentications, wrong_cards = sam.uses_left()
    return {"authentications_left": authentications, "wrong_cards_left": wrong_cards}


_NOT_FOR_INSPECTION: Final = frozenset({"EF.BANK"})
_READERS: Final[Mapping[str, Callable[[SimulatedCard], Readable]]] = {
    "blank": _read_blank,
    "specimen": _read_specimen,
    "sam": _read_sam,
}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_images(folder: Path) -> None:
    """Make the images and the list of what must be readable of them; a folder that is there is never overwritten.

    Raises:
        FileExistsError: the release has its images already.
    """
    folder.mkdir(parents=True)
    contents: dict[str, Readable] = {}
    for name, raw in made_images().items():
        (folder / f"{name}{SUFFIX}").write_bytes(lzma.compress(raw))
        contents[name] = {"sha256": _digest(raw), "readable": read_image(name, raw)}
    (folder / CONTENTS).write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != _USAGE:
        sys.exit("usage: python -m permitcard.release_images FOLDER")
    write_images(Path(sys.argv[1]))
