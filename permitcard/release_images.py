"""Card images of a release: made once when it comes out, booted and read by every later one.

    test_vectors/nvm_images/0.1.0/blank.card.xz, specimen.card.xz, sam-mapped-flash-144k.card.xz, …, contents.json

There is one of every kind of card on every chip; the default chip is not named. ``python -m permitcard.release_images
FOLDER`` makes those of this version. All keys and PINs in them are published.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from applet.file_system import aid
from applet.file_system.sample import HOLDER_PIN as HOLDER_REFERENCE
from applet.file_system.sample import SAMPLE, sample_commands
from card_os.files.spec import FileSpec, FileStructure
from card_os.hardware.chip import DEFAULT_CHIP, load_chips
from card_os.hardware.image import NvmImage
from card_os.iso7816.apdu import MAX_EXTENDED_NE, CommandApdu
from card_os.iso7816.status import StatusWord
from permitcard.products import boot, permit_profile
from permitcard.recipes import SPECIMEN_PIN, file_system_recipe, untimed
from permitcard.sams import new_sam, open_sam
from permitcard.specimen import HOLDER_PIN, make_blank_specimen, make_specimen, specimen_keys
from permitcard.testing.access import read_card_number
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from personalization.production.maker import GlobalPlatformMaker
from personalization.terminal.holder import HolderSession, pin_block
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import ReaderError
from reader_bridge.simulated import SimulatedCard

CONTENTS: Final = "contents.json"
SUFFIX: Final = ".card.xz"
_USAGE: Final = 2
_SERIAL: Final = 1

Readable = dict[str, object]
"""What must be readable of a card."""


def made_images() -> dict[str, bytes]:
    """One card of each kind as this version makes it."""
    images: dict[str, bytes] = {}
    for chip in load_chips():
        for kind, make in _MAKERS.items():
            with make(chip) as card:
                images[image_name(kind, chip)] = card.image.snapshot()
    return images


def image_name(kind: str, chip: str) -> str:
    """The name of an image, such as specimen or specimen-mapped-flash-144k."""
    return kind if chip == DEFAULT_CHIP else f"{kind}-{chip}"


def kind_of(name: str) -> str:
    """The kind of card that an image is."""
    return next(kind for kind in KINDS if name == kind or name.startswith(f"{kind}-"))


def _new_file_system(chip: str) -> SimulatedCard:
    """The sample of the file system application on a secured card with the card's own keys."""
    card, number = make_blank_specimen(chip=chip)
    with card.connect() as connection:
        maker = GlobalPlatformMaker(file_system_recipe(specimen_keys()))
        maker.make(connection, None, number, untimed)
    with card.connect() as connection:
        for command in (_select_file_system(), *sample_commands()):
            status = StatusWord.parse(connection.transmit(command.encode()))
            if not status.ok:
                raise ReaderError("card-damaged", path=image_name("file-system", chip), reason=f"{command!r}: {status}")
    return card


def _select_file_system() -> CommandApdu:
    return CommandApdu(0x00, 0xA4, 0x04, 0x0C, aid.INSTANCE)


_MAKERS: Final[Mapping[str, Callable[[str], SimulatedCard]]] = {
    "blank": lambda chip: make_blank_specimen(chip=chip)[0],
    "specimen": lambda chip: make_specimen(chip=chip)[0],
    "sam": lambda chip: new_sam(specimen_keys(), _SERIAL, chip=chip),
    "file-system": _new_file_system,
}
KINDS: Final = tuple(_MAKERS)
"""Kinds of cards of which a release has images."""


def read_image(name: str, raw: bytes) -> Readable:
    """Boot an image and read what its kind has to have, with the published keys and PINs.

    Args:
        name: of the image.
        raw: the image, not compressed.

    Raises:
        ImageError: this version does not know the image.
        ReaderError: the card does not boot.
        PersonalizationError: a key, a PIN or a file is not what it was.
    """
    with SimulatedCard(NvmImage.from_snapshot(raw), boot) as card:
        with card.connect() as connection:
            number = read_card_number(connection)
        kind = kind_of(name)
        key_name = KeyName.FACTORY if kind == "blank" else KeyName.CARD
        with card.connect() as connection:
            session = SecureSession.open(connection, issuer_domain_keys(specimen_keys(), key_name, number))
        return {"card_number": number.hex().upper(), "key_version": session.key_version, **_READERS[kind](card)}


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


def _read_file_system(card: SimulatedCard) -> Readable:
    """Every file of the sample, and the one that asks for the PIN after it."""
    pin = CommandApdu(0x00, 0x20, 0x00, HOLDER_REFERENCE, pin_block(SPECIMEN_PIN)).encode()
    files: dict[str, object] = {}
    with card.connect() as connection:
        connection.transmit(_select_file_system().encode())
        tries = StatusWord.parse(connection.transmit(pin[:4])).tries_left
        connection.transmit(pin)
        for path, spec, _ in SAMPLE:
            whole = (path + spec.fid.to_bytes(2, "big")).hex().upper()
            connection.transmit(CommandApdu(0x00, 0xA4, 0x08, 0x0C, bytes.fromhex(whole)).encode())
            answer = connection.transmit(_reading(spec).encode())
            files[whole] = f"{answer[-2:].hex().upper()} {_digest(answer[:-2])}"
    return {"holder_tries": tries, "files": files}


def _reading(spec: FileSpec) -> CommandApdu:
    """What reads a whole file."""
    match spec.structure:
        case FileStructure.TRANSPARENT:
            return CommandApdu(0x00, 0xB0, 0x00, 0x00, b"", MAX_EXTENDED_NE, extended=True)
        case FileStructure.DF | FileStructure.TLV:
            return CommandApdu(0x00, 0xCA, 0x00, 0xFF, b"", MAX_EXTENDED_NE, extended=True)
        case _:
            return CommandApdu(0x00, 0xB2, 0x01, 0x05, b"", MAX_EXTENDED_NE, extended=True)


_NOT_FOR_INSPECTION: Final = frozenset({"EF.BANK"})
_READERS: Final[Mapping[str, Callable[[SimulatedCard], Readable]]] = {
    "blank": _read_blank,
    "specimen": _read_specimen,
    "sam": _read_sam,
    "file-system": _read_file_system,
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
