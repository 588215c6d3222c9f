"""The whole way of a permit and a SAM: SCP03 at the issuer domain, STORE DATA, then both interfaces as a terminal."""

from __future__ import annotations

import pytest

from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.registry import ApplicationLifeCycle
from card_os.hardware.image import NvmImage
from card_os.manufacture import manufacture
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import CardState, DataGrouping
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from personalization.profile import CardProfile
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import (
    CHIP_SCALAR,
    CONTENT,
    FACTORY_KEYS,
    PERMIT,
    SAM,
    Bench,
    Grouping,
    boot,
    key_grouping,
    open_sam,
    permit_groupings,
    pin_grouping,
    sam_groupings,
)

STATION_KEYS = StaticKeys(0xFF, FACTORY_KEYS.enc, FACTORY_KEYS.mac, FACTORY_KEYS.dek)


def empty(profile: CardProfile, serial: int) -> Bench:
    image = NvmImage.create()
    production_data = ProductionData(ic_fabricator=0x4A4A, ic_type=1, ic_batch=7, ic_serial_number=serial)
    manufacture(image.nvm(), production_data, FACTORY_KEYS)
    return boot(image, profile, serial)


def make(bench: Bench, groupings: list[Grouping]) -> SecureSession:
    bench.contact.power_on()
    session = SecureSession.open(bench.contact, STATION_KEYS)
    names = bench.profile.application
    session.install(
        package_aid=names.package,
        module_aid=names.module,
        instance_aid=names.instance,
        parameters=bench.profile.install_parameters,
    )
    encrypted = {row.identifier for row in bench.profile.dgis if row.encrypted}
    session.personalize(
        names.instance,
        [DataGrouping(identifier, value, f"{identifier:04X}" in encrypted) for identifier, value in groupings],
    )
    return session


def number_of(serial: int) -> bytes:
    return bytes.fromhex("4A4A00010007") + serial.to_bytes(4, "big")


def large_groupings(serial: int) -> list[Grouping]:
    """As `permit_groupings`, with a portrait of 20 KB in groupings of 2048 bytes."""
    portrait = CONTENT[0x0103] * 5
    sizes = {fid: len(content) for fid, content in CONTENT.items() if PERMIT.file(fid).size is None}
    sizes[0x0103] = len(portrait)
    return [
        (0x0062, PERMIT.file_creation_dgi(sizes)),
        *((0x0103, at.to_bytes(2, "big") + portrait[at : at + 2048]) for at in range(0, len(portrait), 2048)),
        (0x8000, key_grouping(PERMIT, number_of(serial))),
        (0x8010, pin_grouping()),
        (0x8101, CHIP_SCALAR),
        (0x9F01, PERMIT.identification),
    ]


def test_permit_and_sam_are_made_and_meet() -> None:
    permit, module = empty(PERMIT, 0x11), empty(SAM, 0x22)
    make(permit, permit_groupings(number_of(0x11))).set_card_state(CardState.SECURED)
    make(module, sam_groupings(number_of(0x22))).set_card_state(CardState.SECURED)
    assert permit.application.life_cycle == module.application.life_cycle == ApplicationLifeCycle.PERSONALIZED
    sam = open_sam(module)
    for interface in Interface:
        session = TerminalSession.open(permit.on(interface), sam, PERMIT, "inspection")
        assert session.card_number == number_of(0x11)
        for fid in (0x0101, 0x0102, 0x0103, 0x0104, 0x0105, 0x0203):
            assert session.files.read(PERMIT.file(fid)) == CONTENT[fid]
    assert permit.card.faults == module.card.faults == 0


@pytest.mark.parametrize("extended", [True, False])
def test_the_largest_portrait_is_stored_and_read_back(extended: bool) -> None:
    permit, module = empty(PERMIT, 0x12), empty(SAM, 0x22)
    make(permit, large_groupings(0x12))
    make(module, sam_groupings(number_of(0x22)))
    permit.contactless._extended = extended
    session = TerminalSession.open(permit.on(Interface.CONTACTLESS), open_sam(module), PERMIT, "inspection")
    assert session.read("EF.PORTRAIT") == CONTENT[0x0103] * 5
    assert len(session.read("EF.PORTRAIT")) == 20_480


def test_a_personalized_permit_takes_no_more_data() -> None:
    permit = empty(PERMIT, 0x13)
    session = make(permit, permit_groupings(number_of(0x13)))
    with pytest.raises(PersonalizationError, match="6985"):
        session.personalize(PERMIT.application.instance, [DataGrouping(0x0203, b"\x00\x00\x02")])


def test_a_sam_without_limits_is_not_installed() -> None:
    module = empty(SAM, 0x23)
    module.contact.power_on()
    session = SecureSession.open(module.contact, STATION_KEYS)
    names = SAM.application
    with pytest.raises(PersonalizationError, match="6A80"):
        session.install(package_aid=names.package, module_aid=names.module, instance_aid=names.instance)
    session.install(
        package_aid=names.package,
        module_aid=names.module,
        instance_aid=names.instance,
        parameters=SAM.install_parameters,
    )
