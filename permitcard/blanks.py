"""Blank simulated cards, as a chip vendor would deliver them: issuer domain, factory keys, nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from card_os.answers import DEFAULT_ATR, DEFAULT_ATS
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.hardware.chip import DEFAULT_CHIP
from card_os.hardware.image import LOCK_SUFFIX, OWNER_ONLY, ImageError, NvmImage
from card_os.iso7816.errors import CardError
from card_os.iso7816.status import SW
from card_os.manufacture import manufacture
from permitcard.products import permit_profile
from personalization.folder_rights import make_folder, rights_in
from personalization.keys.keystore import KeyName, KeyStore
from personalization.production.work import CardFault
from personalization.profile_answers import answer_to_reset, answer_to_select
from reader_bridge.connection import ReaderError

if TYPE_CHECKING:
    from personalization.production.stock import NewBlank
    from personalization.profile_rows import Interfaces

FACTORY_KEY_VERSION: Final = 0xFF
"""Key version of the first set, by custom of GlobalPlatform cards."""

_VENDOR: Final = 0x4A5A
_CHIP_TYPE: Final = 0x0144
_OPERATING_SYSTEM: Final = 0x5043
_KEY_BYTES: Final = 16
_DECIMAL: Final = 10


def production_data(batch: int, serial: int, day: dt.date) -> ProductionData:
    """CPLC of a chip of our own make-believe vendor.

    Args:
        batch: IC batch, 0..65,535.
        serial: IC serial number, four bytes.
        day: fabrication date.
    """
    date = _cplc_date(day)
    return ProductionData(
        ic_fabricator=_VENDOR,
        ic_type=_CHIP_TYPE,
        os_identifier=_OPERATING_SYSTEM,
        os_release_date=date,
        os_release_level=1,
        ic_fabrication_date=date,
        ic_serial_number=serial,
        ic_batch=batch,
        module_fabricator=_VENDOR,
        module_packaging_date=date,
        icc_manufacturer=_VENDOR,
        ic_embedding_date=date,
    )


def _cplc_date(day: dt.date) -> int:
    """YDDD in BCD: last digit of the year, day of the year."""
    return int(f"{day.year % _DECIMAL}{day.timetuple().tm_yday:03d}", 16)


def factory_keys(keys: KeyStore, card_number: bytes) -> KeySet:
    """The factory set of one chip, derived from the vendor's master."""
    enc, mac, dek = (
        keys.derive(KeyName.FACTORY, f"SCP03 {use}", card_number, _KEY_BYTES) for use in ("ENC", "MAC", "DEK")
    )
    return KeySet(FACTORY_KEY_VERSION, enc, mac, dek)


def domain_keys(keys: KeyStore, card_number: bytes, domain: str) -> KeySet:
    """The factory set of another domain of one chip, derived from the vendor's master."""
    enc, mac, dek = (
        keys.derive(KeyName.FACTORY, f"SCP03 {use} {domain}", card_number, _KEY_BYTES) for use in ("ENC", "MAC", "DEK")
    )
    return KeySet(FACTORY_KEY_VERSION, enc, mac, dek)


def make_blank(
    path: Path | None, keys: KeyStore, batch: int, serial: int, day: dt.date, *, chip: str = DEFAULT_CHIP
) -> tuple[NvmImage, bytes]:
    """Make one blank card.

    Args:
        path: card file; None keeps the card in memory.
        keys: store with the factory master.
        batch: IC batch.
        serial: IC serial number, unique in the batch.
        day: fabrication date.
        chip: name of the chip geometry.

    Returns:
        The open image and the card number, 10 bytes.

    Raises:
        ReaderError: the file exists or cannot be made, no such chip, or no room on it.
    """
    data = production_data(batch, serial, day)
    try:
        image = NvmImage.create(path, chip, OWNER_ONLY if path is None else rights_in(path.parent).file)
    except ImageError as error:
        raise ReaderError(error.code, **error.parameters) from error
    atr, ats = profile_answers(permit_profile().interfaces)
    with room_on(image):
        manufacture(image.nvm(), data, factory_keys(keys, data.card_number), atr=atr, ats=ats)
    return image, data.card_number


@contextmanager
def room_on(image: NvmImage) -> Generator[None]:
    """What is put on a new image has to fit; when it does not, the image is closed and its file is gone.

    Raises:
        ReaderError: "chip-too-small".
    """
    try:
        yield
    except (CardError, CardFault) as error:
        if isinstance(error, CardFault) and f"{SW.NOT_ENOUGH_MEMORY:X}" not in error.reason:
            raise
        image.close()
        if image.path is not None:
            image.path.unlink()
            Path(f"{image.path}{LOCK_SUFFIX}").unlink(missing_ok=True)
        raise ReaderError("chip-too-small", chip=image.chip.name, size=image.chip.size) from error


def profile_answers(interfaces: Interfaces) -> tuple[bytes, bytes]:
    """ATR and ATS for manufacture, from a card profile; empty where the card says the same of its own accord."""
    atr, ats = answer_to_reset(interfaces), answer_to_select(interfaces)
    return (b"" if atr == DEFAULT_ATR else atr), (b"" if ats == DEFAULT_ATS else ats)


def make_blanks(
    folder: Path, keys: KeyStore, batch: int, count: int, day: dt.date, *, chip: str = DEFAULT_CHIP
) -> Iterator[NewBlank]:
    """Make ``count`` blank card files below ``folder`` while they are booked into stock."""
    from personalization.production.stock import NewBlank  # brings the database

    make_folder(folder)
    for serial in range(1, count + 1):
        path = folder / f"{batch:04X}-{serial:06d}.card"
        image, card_number = make_blank(path, keys, batch, serial, day, chip=chip)
        image.close()
        yield NewBlank(card_number, f"sim:{folder.name}/{path.name}")
