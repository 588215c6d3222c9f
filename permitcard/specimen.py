"""The specimen: a complete permit card with published keys and PINs, for testing readers, terminals and this suite.

Its keys are derived from public words, so that anybody can administer it; it must never be taken for a real card. The
citizen number is the example of GB 11643-1999, the person does not exist.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from card_os.hardware.chip import DEFAULT_CHIP
from card_os.hardware.image import OWNER_ONLY, ImageError, NvmImage
from permitcard.blanks import domain_keys, factory_keys, make_blank, room_on
from permitcard.products import boot, permit_profile, specimen_profile
from permitcard.recipes import SPECIMEN_PIN, permit_recipe, untimed
from permitcard.testing.target import Target
from personalization.errors import PersonalizationError
from personalization.folder_rights import rights_in
from personalization.intake.applicant import Applicant, Residence
from personalization.keys.file_store import FileKeyStore, certify, vendor_sam_load_key
from personalization.keys.keystore import KEY_LENGTHS, KEY_PAIRS, KeyName, KeyStore
from personalization.preparation.prepare import Preparer
from personalization.preparation.record import PreparedRecord
from personalization.production.maker import GlobalPlatformMaker
from personalization.terminal.holder import pin_block
from reader_bridge.connection import Interface, ReaderError
from reader_bridge.simulated import SimulatedCard

HOLDER_PIN: Final = SPECIMEN_PIN
"""Published holder PIN."""

UNBLOCKING_PIN: Final = "86420975"
"""Published unblocking PIN."""

SPECIMEN_BATCH: Final = 0xFE00
"""IC batch of specimen chips."""

_IC_BATCH: Final = slice(4, 6)
_WORD: Final = "permitcard specimen key, public: "
_NOT_BEFORE: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_LABORATORY_BOUND: Final = dt.timedelta(days=36_524)
"""A laboratory tells any date of a century without a signed bound."""
_FABRICATED: Final = dt.date(2026, 1, 1)
_SCALAR_BYTES: Final = 64
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@cache
def specimen_keys() -> FileKeyStore:
    """The store of published keys; never written to a file."""
    return published_keys(_WORD)


def published_keys(word: str) -> FileKeyStore:
    """A store whose keys follow from a word that anybody may know; never written to a file."""

    def public_bytes(name: str, length: int) -> bytes:
        return hashlib.shake_256((word + name).encode()).digest(length)

    pairs = {
        name: ec.derive_private_key(
            1 + int.from_bytes(public_bytes(name, _SCALAR_BYTES), "big") % (_P256_ORDER - 1), ec.SECP256R1()
        )
        for name in KEY_PAIRS
    }
    symmetric = {name: public_bytes(name, length) for name, length in KEY_LENGTHS.items()}
    symmetric[KeyName.SAM_LOAD] = vendor_sam_load_key(symmetric[KeyName.FACTORY])
    return FileKeyStore(symmetric, pairs, certify(pairs, _NOT_BEFORE))


def specimen_applicant() -> Applicant:
    """The person on the specimen, who does not exist."""
    from personalization.intake.sample.faces import draw_portrait  # brings the spreadsheets

    return Applicant(
        row_number=1,
        permit_number="330381263000000001",
        name="样𠮷卡",
        birth_date=dt.date(1949, 12, 31),
        sex="2",
        ethnic_group="01",
        citizen_number="11010519491231002X",
        registered_address="北京市朝阳区样本路1号样本小区2幢3单元401室",
        issue_date=dt.date(2026, 1, 1),
        issuing_authority="瑞安市公安局",
        service_hotline="0577-12345",
        bank_account="9999900000000000017",
        endorsement_due=dt.date(2027, 1, 1),
        area_code="330381",
        production_date=dt.date(2026, 1, 1),
        citizen_card_number="Z00000001",
        citizen_card_account="9999900000000000025",
        portrait=draw_portrait(random.Random("specimen")),
        residence=Residence("浙江省瑞安市样本街道样本路9号", "330381202600001", dt.date(2025, 6, 1), "样本派出所"),
    )


def make_specimen(
    path: Path | None = None, serial: int = 1, *, chip: str = DEFAULT_CHIP, letter_pin: bool = False
) -> tuple[SimulatedCard, Target]:
    """Make a specimen; it stays open.

    Args:
        path: card file; None keeps the card in memory.
        serial: IC serial number.
        chip: name of the chip geometry, or the file of another one.
        letter_pin: the holder's PIN has to be changed first, as on a citizen's card.

    Raises:
        ReaderError: the file exists or cannot be made, no such chip, or no room on it.
    """
    keys = specimen_keys()
    image, card_number = make_blank(path, keys, SPECIMEN_BATCH, serial, _FABRICATED, chip=chip)
    card = SimulatedCard(image, boot, "sim" if path is None else f"sim:{path}")
    with room_on(image), card.connect(Interface.CONTACT) as connection:
        profile = permit_profile() if letter_pin else specimen_profile()
        maker = GlobalPlatformMaker(permit_recipe(keys, profile))
        maker.make(connection, specimen_record(keys), card_number, untimed)
    return card, specimen_target(card_number)


def require_specimen(card_number: bytes) -> None:
    """Refuse to try published keys and PINs on a card that is none of ours: tries of its holder would be spent.

    Args:
        card_number: 10 bytes.

    Raises:
        PersonalizationError: "not-a-specimen", exit 2.
    """
    if int.from_bytes(card_number[_IC_BATCH], "big") != SPECIMEN_BATCH:
        raise PersonalizationError("not-a-specimen", exit_code=2, card_id=card_number.hex().upper())


def specimen_record(keys: KeyStore) -> PreparedRecord:
    """The specimen's data, with the published PINs, prepared with ``keys``."""
    record = Preparer(permit_profile(), keys, first_bound=_LABORATORY_BOUND).prepare(specimen_applicant()).record
    return replace(record, pin_blocks=((1, pin_block(HOLDER_PIN)), (2, pin_block(UNBLOCKING_PIN))))


def specimen_target(card_number: bytes) -> Target:
    """What is known of a specimen with that number."""
    return Target(specimen_keys(), card_number, pin_block(HOLDER_PIN), pin_block(UNBLOCKING_PIN))


def make_blank_specimen(
    path: Path | None = None, serial: int = 1, *, chip: str = DEFAULT_CHIP
) -> tuple[SimulatedCard, bytes]:
    """Make a blank card with published factory keys; it stays open. Returns it and its card number, 10 bytes.

    Args:
        path: card file; None keeps the card in memory.
        serial: IC serial number.
        chip: name of the chip geometry, or the file of another one.

    Raises:
        ReaderError: the file exists or cannot be made, no such chip, or no room on it.
    """
    image, card_number = make_blank(path, specimen_keys(), SPECIMEN_BATCH, serial, _FABRICATED, chip=chip)
    return SimulatedCard(image, boot, "sim" if path is None else f"sim:{path}"), card_number


def make_profile_specimen(
    profile: str, path: Path | None = None, serial: int = 1, *, chip: str = DEFAULT_CHIP
) -> tuple[SimulatedCard, bytes]:
    """Make the card of a profile; it stays open. Returns it and its card number, 10 bytes.

    Domains take keys derived from the published factory master where the profile has none.

    Args:
        profile: name of a profile that comes with the product, or the file of another one.
        path: card file; None keeps the card in memory.
        serial: IC serial number.
        chip: name of the chip geometry, or the file of another one.

    Raises:
        PersonalizationError: "card-profile-unreadable" or "card-profile-wrong", exit 2.
        ReaderError: the file exists or cannot be made, no such chip, or no room on it.
    """
    from card_os.globalplatform.card_profile import CardProfileError, load_profile, profile_names
    from card_os.manufacture import manufacture_profile

    try:
        known = load_profile(profile)
    except CardProfileError as error:
        raise PersonalizationError(
            "card-profile-wrong", exit_code=2, path=profile, where=error.where, reason=error.reason
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PersonalizationError(
            "card-profile-unreadable", exit_code=2, path=profile, known=", ".join(profile_names()), reason=str(error)
        ) from error
    number = replace(known.production, ic_serial_number=serial).card_number
    try:
        image = NvmImage.create(path, chip, OWNER_ONLY if path is None else rights_in(path.parent).file)
    except ImageError as error:
        raise ReaderError(error.code, **error.parameters) from error
    keys = specimen_keys()
    with room_on(image):
        manufacture_profile(
            image.nvm(),
            known,
            serial,
            factory_keys=factory_keys(keys, number),
            domain_keys={row.name: domain_keys(keys, number, row.name) for row in known.domains},
        )
    return SimulatedCard(image, boot, "sim" if path is None else f"sim:{path}"), number
