"""Power cut at every programming unit of the file commands, of content management and of manufacture.

Law 3: after a cut and a reboot the card is as before the command or as after it, and it works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from card_os.card import Card
from card_os.files.spec import FileSpec, FileStructure
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.registry import CardLifeCycle, Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.iso7816.errors import CardTorn
from card_os.manufacture import manufacture
from card_os.port import PortMute
from card_os.storage.store import ObjectStore
from tests.doubles.cut_points import cut_points
from tests.doubles.file_card import FILE_CARD, install_files, make_file_card
from tests.doubles.recording_applet import FIRST, RULES, SECOND, blank_memory, install, make_card

OWNERS = range(5)
MAX_UNITS = 3_000
State = dict[tuple[int, int, int], bytes]
Action = Callable[[Card], object]

DF = FileSpec(0x5000, FileStructure.DF, rules=RULES).encode()
INSIDE = FileSpec(0x5001, FileStructure.TRANSPARENT, 20, 9, rules=RULES).encode()
NEW = FileSpec(0x0999, FileStructure.TRANSPARENT, 40, rules=RULES).encode()


def state(image: NvmImage) -> State:
    store = ObjectStore(image.fork().nvm())
    return {(owner, item.kind, item.identifier): store.read(item) for owner in OWNERS for item in store.owned(owner)}


def send(card: Card, text: str) -> bytes:
    return card.contact.process(bytes.fromhex(text))


def select(card: Card) -> None:
    card.contact.power_on()
    assert send(card, f"00A4040C07{FIRST.hex()}") == b"\x90\x00"


@pytest.fixture(scope="module")
def master() -> NvmImage:
    """Two applications; every record file of the first has two records, and there is a DF with a file in it."""
    image = blank_memory()
    card = make_card(image.nvm())
    install(card, FIRST)
    select(card)
    for sfi, length in ((2, 8), (3, 5), (4, 4)):
        for number in (1, 2):
            assert send(card, f"00E200{sfi << 3:02X}{length:02X}" + f"{number:02X}" * length) == b"\x90\x00"
    for spec in (DF, INSIDE):
        assert send(card, f"00E00000{len(spec):02X}{spec.hex()}") == b"\x90\x00"
    card.contact.power_off()
    return image


def command(text: str) -> Action:
    def act(card: Card) -> None:
        select(card)
        assert send(card, text) == b"\x90\x00"

    return act


def fill_ring(card: Card) -> None:
    select(card)
    assert send(card, "00E2002004" + "03" * 4) == b"\x90\x00"
    assert send(card, "00E2002004" + "04" * 4) == b"\x90\x00"


def install_second(card: Card) -> None:
    install(card, SECOND)


def remove_first(card: Card) -> None:
    platform = card.platform
    application = platform.registry.by_aid(FIRST)
    assert application is not None
    platform.remove(application)


def secure(card: Card) -> None:
    card.platform.registry.set_card_life_cycle(CardLifeCycle.SECURED)


ONE_CHANGE = {
    "update binary": command("00D6810380" + "A5" * 128),
    "update the last byte": command("00D7010107" + "5402012B" + "5301A5"),
    "update record": command("00DC011408" + "55" * 8),
    "update variable record": command("00DC021C02" + "5555"),
    "append record": command("00E2001008" + "33" * 8),
    "append variable record": command("00E2001804" + "33333333"),
    "append to the ring": command("00E2002004" + "33" * 4),
    "create file": command(f"00E00000{len(NEW):02X}{NEW.hex()}"),
    "delete file": command("00E4000002" + "0101"),
    "delete a DF with its file": command("00E4000002" + "5000"),
    "deactivate": command("0004000002" + "0101"),
    "install": install_second,
    "remove": remove_first,
    "secure the card": secure,
}


WRITTEN: Final = {
    "write binary": "00D0880404 F0F0F0F0",
    "erase binary": "000E880502 0040",
    "erase a file longer than the commit buffer": "000E8E01",
    "write record": "00D2015C04 F0F0F0F0",
    "write record, previous of a ring": "00D2006304 01010101",
    "update part of a record": "00DD025F07 540101 53020F0F",
    "erase record": "000C015C",
    "erase every record": "000C015D",
    "put data": "00DA005A04 01020304",
    "put data objects": "00DB3FFF09 5A0101 5B04 02020202",
    "create a DF with a name": "00E0000016 6214 820138 83020500 8403A1A2A3 86067F0100000000",
    "terminate": "00E8000002 0201",
    "delete what is terminated": "00E4000002 0203",
    "terminate the card": "00FE0000",
}
"""Commands of the file card."""


def run(image: NvmImage, action: Action, power: PowerSupply) -> None:
    card = make_card(image.nvm(power=power))
    action(card)


def sweep(master: NvmImage, action: Action) -> tuple[int, list[State]]:
    """Cut everywhere; gives the number of cuts and the states that were found after the reboots."""
    whole, power = master.fork(), PowerSupply()
    run(whole, action, power)
    assert 0 < power.count < MAX_UNITS
    cuts, found = 0, []
    for unit, moment in cut_points(power.count):
        torn, supply = master.fork(), PowerSupply()
        supply.arm(unit, moment)
        with pytest.raises((PortMute, CardTorn)):
            run(torn, action, supply)
        cuts += 1
        found.append(state(torn))
    return cuts, found


@pytest.mark.parametrize("name", ONE_CHANGE)
def test_one_change_is_old_or_new(master: NvmImage, name: str) -> None:
    action = ONE_CHANGE[name]
    old, whole = state(master), master.fork()
    run(whole, action, PowerSupply())
    new = state(whole)
    assert old != new
    cuts, found = sweep(master, action)
    assert cuts == len(found)
    assert all(each in (old, new) for each in found)
    assert old in found
    assert new in found


@pytest.fixture(scope="module")
def file_card() -> NvmImage:
    """The file card with something in every file that is written."""
    image = blank_memory()
    card = make_file_card(image.nvm())
    install_files(card, Privilege.CARD_TERMINATE)
    card.contact.power_on()
    fill = ("00D6880080" + "5A" * 128, "00D68E0040" + "A5" * 64, "00D6160040" + "A5" * 64)
    records = ("00E2005804 0A0B0C0D", "00E2000004 01020304", "00E2006004 11111111", "00DA005A02 7777")
    for text in (f"00A4040C07{FILE_CARD.hex()}", *fill, *records):
        assert send(card, text) == b"\x90\x00"
    card.contact.power_off()
    return image


@pytest.mark.parametrize("name", WRITTEN)
def test_what_writes_in_place_is_old_or_new(file_card: NvmImage, name: str) -> None:
    def act(image: NvmImage, power: PowerSupply) -> None:
        card = make_file_card(image.nvm(power=power))
        card.contact.power_on()
        assert send(card, f"00A4040C07{FILE_CARD.hex()}") == b"\x90\x00"
        assert send(card, WRITTEN[name]) == b"\x90\x00"

    old, whole, power = state(file_card), file_card.fork(), PowerSupply()
    act(whole, power)
    new, units = state(whole), power.count
    assert old != new
    found = []
    for unit, moment in cut_points(units, max(1, units // 150)):
        torn, supply = file_card.fork(), PowerSupply()
        supply.arm(unit, moment)
        with pytest.raises((PortMute, CardTorn)):
            act(torn, supply)
        found.append(state(torn))
    assert all(each in (old, new) for each in found)
    assert old in found
    assert new in found


def test_two_commands_are_torn_between_them_at_most(master: NvmImage) -> None:
    """Also where the ring wraps: the oldest record gives way whole."""
    steps, image = [state(master)], master.fork()
    for value in ("03", "04"):
        card = make_card(image.nvm())
        select(card)
        send(card, "00E2002004" + value * 4)
        steps.append(state(image))
    _, found = sweep(master, fill_ring)
    assert all(each in steps for each in found)
    assert all(each in found for each in steps)


def test_a_torn_card_works_after_power_comes_back(master: NvmImage) -> None:
    image, supply = master.fork(), PowerSupply()
    card = make_card(image.nvm(power=supply))
    unit = 0
    while True:
        unit += 1
        select(card)
        supply.arm(unit, CutMoment.PROGRAMMING)
        try:
            send(card, "00D6810020" + f"{unit & 0xFF:02X}" * 32)
        except PortMute:
            continue
        break
    supply.restore()
    select(card)
    assert send(card, "00B0810020") == bytes((unit & 0xFF,)) * 32 + b"\x90\x00"
    assert unit > 1
    assert card.faults == 0


def test_a_cut_while_the_card_boots_is_survived(master: NvmImage) -> None:
    """The replay of a committed journal is torn too, at each of its units."""
    old, whole = state(master), master.fork()
    run(whole, ONE_CHANGE["update binary"], PowerSupply())
    new = state(whole)
    committed, supply = master.fork(), PowerSupply()
    supply.arm(_units_until(master, new), CutMoment.AFTER)
    with pytest.raises(PortMute):
        run(committed, ONE_CHANGE["update binary"], supply)
    assert state(committed) == new
    unit, cuts = 0, 0
    while True:
        unit += 1
        image, power = committed.fork(), PowerSupply()
        card = make_card(image.nvm(power=power))
        power.arm(unit, CutMoment.ERASING)
        try:
            card.contact.power_on()
        except PortMute:
            cuts += 1
            assert state(image) == new != old
            assert card.contact.power_on()
            continue
        break
    assert cuts > 0


def _units_until(master: NvmImage, new: State) -> int:
    """The first unit of UPDATE BINARY after which the change is committed though not yet in its place."""
    unit = 0
    while True:
        unit += 1
        torn, supply = master.fork(), PowerSupply()
        supply.arm(unit, CutMoment.AFTER)
        with pytest.raises(PortMute):
            run(torn, ONE_CHANGE["update binary"], supply)
        if state(torn) == new:
            return unit


@pytest.mark.parametrize("moment", [CutMoment.ERASING, CutMoment.AFTER])
def test_manufacture_is_whole_or_can_be_done_again(moment: CutMoment) -> None:
    keys = KeySet(0xFF, b"\x01" * 16, b"\x02" * 16, b"\x03" * 16)
    reference, power = NvmImage.create(), PowerSupply()
    manufacture(reference.nvm(power=power), ProductionData(ic_serial_number=7), keys)
    made = state(reference)
    units = power.count
    seen = set()
    for unit in [*range(1, 40), *range(40, units, 97), *range(units - 250, units + 1)]:
        image, supply = NvmImage.create(), PowerSupply()
        supply.arm(unit, moment)
        with pytest.raises(CardTorn):
            manufacture(image.nvm(power=supply), ProductionData(ic_serial_number=7), keys)
        whole = state(image) == made
        seen.add(whole)
        if not whole:
            assert state(image) == {}
            manufacture(image.nvm(), ProductionData(ic_serial_number=7), keys)
            assert state(image) == made
    assert seen == {False, True}
