"""The centre's SAMs where they lie: chips in readers that were named, or card files of a rehearsal's own.

    centre/sams/sam-01.card, sam-02.card, …

A station takes the first of the named ones that nobody else has open, and that has the keys of today. A desk takes one
of each generation, for it meets cards of all of them. In a rehearsal without names both take the first card file with
the keys of today, or make another.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.blanks import make_blank
from permitcard.products import boot, open_simulated, permit_profile, sam_profile
from permitcard.reaching import card_factory
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.globalplatform import commands
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.card_keys import CardKeys, issuer_domain_keys
from personalization.production.card_kind import refuse_other_kind
from personalization.production.journal.database import Journal
from personalization.sams.generations import SamsOfGenerations
from personalization.sams.maker import SamMaker
from personalization.sams.office import OpenSam, SamOffice, open_session
from personalization.sams.proof import prove_sam
from personalization.terminal.channel import CardRefused
from personalization.terminal.sam import CardAuthenticator, SamSession
from reader_bridge.addresses import AddressKind, CardAddress
from reader_bridge.connection import CardConnection, Interface, ReaderError
from reader_bridge.simulated import SimulatedCard

SAM_BATCH: Final = 0xFF00
"""IC batch of SAM chips, apart from those of permits."""

STATION_ROLES: Final = ("inspection", "bank_branch")
"""Roles in which a station inspects cards."""

_MOST_SAMS: Final = 99
_IN_USE: Final = frozenset({"image-in-use", "reader-in-use", "card-in-use", "sam-in-use"})
_NOT_OF_TODAY: Final = frozenset({"card-refused", "card-not-genuine", "response-not-authentic", "sam-other-keys"})
_ENVIRONMENT: Final = 3


def sam_office(journal: Journal, keys: KeyStore) -> SamOffice:
    """What the centre does with its SAMs."""
    return SamOffice(journal, keys, sam_profile(), permit_profile())


def connect_sam(address: str) -> CardConnection:
    """The reader with a SAM, for us alone; without power.

    Raises:
        ReaderError: "bad-address", or the card file cannot be used.
    """
    return card_factory(exclusive=True).connect(address)


def require_sams(sams: Sequence[str], users: int, *, production: bool) -> None:
    """Refuse, before anything is begun, what could not have a SAM for each of its users.

    Raises:
        PersonalizationError: exit 2: "sams-not-named", a production store has none of its own; "sam-named-twice";
            "sams-too-few"; a card file under production keys.
        ReaderError: "bad-address".
    """
    if not sams:
        if production:
            raise PersonalizationError("sams-not-named", exit_code=2)
        return
    twice = next((address for address in sams if sams.count(address) > 1), None)
    if twice is not None:
        raise PersonalizationError("sam-named-twice", exit_code=2, reader=twice)
    for address in sams:
        if CardAddress.parse(address).kind is AddressKind.SIMULATED:
            refuse_other_kind(production=production, simulated=True, card=address)
    if users > len(sams):
        raise PersonalizationError("sams-too-few", exit_code=2, sams=len(sams), stations=users)


@contextmanager
def open_named(
    office: SamOffice, sams: Sequence[str], roles: Sequence[str], *, every_generation: bool = False
) -> Generator[CardAuthenticator]:
    """The first of the named SAMs that is of use and that nobody else has open; or the first of each generation.

    Raises:
        PersonalizationError: "no-sam-free", all are in use; else why the first that nobody has is of no use:
            "sam-missing", or as `SamOffice.open`.
    """
    useless: PersonalizationError | None = None
    opened: list[OpenSam] = []
    with ExitStack() as held:
        for address in sams:
            with ExitStack() as own:
                try:
                    sam = own.enter_context(office.open(connect_sam(address), roles, former=every_generation))
                except (ReaderError, PersonalizationError) as error:
                    if error.code not in _IN_USE:
                        useless = useless or _told(error, address)
                    continue
                if all(sam.masters.values != other.masters.values for other in opened):
                    opened.append(sam)
                    held.push(own.pop_all())
            if not every_generation:
                break
        if not opened:
            raise useless or PersonalizationError("no-sam-free", exit_code=_ENVIRONMENT, path=", ".join(sams))
        yield SamsOfGenerations(opened) if every_generation else opened[0]


def _told(error: ReaderError | PersonalizationError, address: str) -> PersonalizationError:
    if isinstance(error, PersonalizationError):
        return error
    return PersonalizationError("sam-missing", exit_code=_ENVIRONMENT, reader=address, reason=error.code)


@contextmanager
def a_sam(
    folder: Path,
    sams: Sequence[str],
    journal: Journal,
    keys: KeyStore,
    roles: Sequence[str],
    *,
    every_generation: bool = False,
) -> Generator[CardAuthenticator]:
    """A SAM for one user: one of the named, or a rehearsal's own card file.

    Args:
        folder: card files of a rehearsal.
        sams: addresses of readers; empty where none were named.
        journal: the open journal.
        keys: the centre's keys.
        roles: what it is wanted for.
        every_generation: of the named take one of each generation, for cards of all of them.

    Raises:
        PersonalizationError, ReaderError: as `require_sams`, `open_named` and `own_sam`.
    """
    require_sams(sams, 1, production=keys.production)
    if sams:
        with open_named(sam_office(journal, keys), sams, roles, every_generation=every_generation) as sam:
            yield sam
    else:
        with own_sam(folder, keys, roles) as own:
            yield own


def blank_chip(path: Path | None, keys: KeyStore, serial: int, *, chip: str = DEFAULT_CHIP) -> SimulatedCard:
    """A simulated SAM chip as it leaves a rehearsal's make-believe vendor; it stays open.

    Args:
        path: card file; None keeps it in memory.
        keys: store with the factory master.
        serial: IC serial number among the SAM chips.
        chip: name of the chip geometry.
    """
    image, _ = make_blank(path, keys, SAM_BATCH, serial, dt.datetime.now(dt.UTC).date(), chip=chip)
    return SimulatedCard(image, boot, f"sim:{path}" if path else "sim")


def deliver_chip(path: Path, keys: KeyStore) -> None:
    """Make a simulated SAM chip file as a vendor delivers it: factory keys, the application begun, its load key in it.

    Args:
        path: card file; it appears whole.
        keys: a rehearsal's store, which knows what its make-believe vendor does.

    Raises:
        FileExistsError: it is there already.
    """
    profile = sam_profile()
    application = profile.application
    with blank_chip(None, keys, secrets.randbits(31)) as card:
        with card.connect(Interface.CONTACT) as connection:
            session = SecureSession.open(
                connection, lambda answer: issuer_domain_keys(keys, KeyName.FACTORY, answer.diversification)
            )
            session.install(
                package_aid=application.package,
                module_aid=application.module,
                instance_aid=application.instance,
                parameters=profile.install_parameters,
            )
            session.transmit(commands.install_for_personalization(application.instance))
            load_key = CardKeys(profile, keys).load_key_grouping()
            for block in commands.store_data([load_key], dek=session.data_key, max_data=session.max_data):
                session.transmit(block._replace(p1=block.p1 & ~commands.StoreDataFlag.LAST_BLOCK))
        write_atomically(path, card.image.snapshot(), replace=False)


def new_sam(keys: KeyStore, serial: int, *, chip: str = DEFAULT_CHIP) -> SimulatedCard:
    """A SAM card in memory; it stays open.

    Args:
        keys: store with the masters, which leave it for this card only.
        serial: IC serial number among the SAM chips.
        chip: name of the chip geometry.

    Raises:
        PersonalizationError: the card refuses a step.
    """
    card = blank_chip(None, keys, serial, chip=chip)
    with card.connect(Interface.CONTACT) as connection:
        SamMaker(sam_profile(), keys).make(connection)
    return card


def make_sam_specimen(path: Path, serial: int = 1, *, chip: str = DEFAULT_CHIP) -> bytes:
    """Make a SAM with the keys of specimens, in a card file that appears whole; returns its card number, 10 bytes.

    Args:
        path: card file.
        serial: IC serial number among the SAM chips.
        chip: name of the chip geometry, or the file of another one.

    Raises:
        ReaderError: the file exists or cannot be made, no such chip, or no room on it.
    """
    from permitcard.specimen import specimen_keys
    from permitcard.testing.access import read_card_number

    with new_sam(specimen_keys(), serial, chip=chip) as card:
        with card.connect(Interface.CONTACT) as connection:
            number = read_card_number(connection)
        try:
            write_atomically(path, card.image.snapshot(), replace=False)
        except FileExistsError as error:
            raise ReaderError("image-exists", path=str(path)) from error
        except OSError as error:
            raise ReaderError("image-unwritable", path=str(path), reason=error.strerror) from error
    return number


def make_sam(path: Path, keys: KeyStore, serial: int) -> None:
    """Make a SAM card file; it appears whole, so that nobody opens one that is half made, also after a kill.

    Args:
        path: card file.
        keys: store with the masters, which leave it for this card only.
        serial: IC serial number among the SAM chips.

    Raises:
        FileExistsError: another station was faster.
        PersonalizationError: the card refuses a step.
    """
    with new_sam(keys, serial) as card:
        write_atomically(path, card.image.snapshot(), replace=False)


def take_sam(folder: Path, keys: KeyStore) -> SimulatedCard:
    """Open the first SAM that nobody else has open; make one when there is none.

    Raises:
        ReaderError: "no-sam-free", all are in use.
    """
    for card in _own_files(folder, keys):
        return card
    raise ReaderError("no-sam-free", path=str(folder))


@contextmanager
def own_sam(folder: Path, keys: KeyStore, roles: Sequence[str]) -> Generator[SamSession]:
    """The first of a rehearsal's own SAMs that nobody else has open and that has the keys of today.

    One that was made before a key was replaced, or that is used up, stays where it is.

    Raises:
        ReaderError: "no-sam-free".
    """
    for card in _own_files(folder, keys):
        with card, card.connect(Interface.CONTACT) as connection:
            session = _of_today(connection, keys, roles)
            if session is not None:
                yield session
                return
    raise ReaderError("no-sam-free", path=str(folder))


def _own_files(folder: Path, keys: KeyStore) -> Iterator[SimulatedCard]:
    """The card files that nobody else has open; where there is none, it is made."""
    make_folder(folder)
    for serial in range(1, _MOST_SAMS + 1):
        path = folder / f"sam-{serial:02d}.card"
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                make_sam(path, keys, serial)
        try:
            card = open_simulated(path)
        except ReaderError as error:
            if error.code not in _IN_USE:
                raise
        else:
            yield card


def _of_today(connection: CardConnection, keys: KeyStore, roles: Sequence[str]) -> SamSession | None:
    """A session with a SAM that was proved; None when it has other keys or nothing left."""
    try:
        session = open_session(connection, sam_profile(), keys)
        prove_sam(session, keys, permit_profile(), roles)
    except (CardRefused, PersonalizationError) as error:
        if error.code not in _NOT_OF_TODAY:
            raise
        return None
    return session


@contextmanager
def open_sam(card: SimulatedCard, keys: KeyStore) -> Generator[SamSession]:
    """An authenticated session with a SAM; the card is closed at the end."""
    with card, card.connect(Interface.CONTACT) as connection:
        yield open_session(connection, sam_profile(), keys)
