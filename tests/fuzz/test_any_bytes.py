"""Any bytes to any state of the card, on both interfaces: a defined status word, no fault, no secret given away."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applet.permit.applet import PermitApplet
from applet.sam.applet import SamApplet
from card_os.applet_api import Instruction
from card_os.card import Card
from card_os.files.spec import FileSpec, FileStructure
from card_os.globalplatform.registry import CardLifeCycle
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW, StatusWord
from card_os.port import Port, PortMute
from card_os.storage.store import ObjectKind
from personalization.errors import PersonalizationError
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from personalization.terminal.authentication import MutualAuthentication, get_challenge, mutual_authenticate
from personalization.terminal.channel import PlainChannel, ProtectedChannel
from personalization.terminal.session import select
from reader_bridge.connection import Interface
from tests.doubles.recording_applet import FIRST, RULES, SECOND, RecordingApplet, blank_memory, install
from tests.unit.applet.workbench import (
    CONTENT,
    FACTORY_KEYS,
    HOLDER_PIN,
    IDENTITY,
    PERMIT,
    SAM,
    Bench,
    blank,
    new_permit,
    new_sam,
    open_permit,
    permit_groupings,
    personalize,
    pin_block,
    terminal_key,
    windows,
)

NAMED: Final = {int(value) for value in vars(SW).values() if isinstance(value, StatusWord)} - {0x6F00}
EVERY_WORD: Final = frozenset(StatusWord(value) for value in range(0x10000))
SECRET_RUN: Final = 8
FUZZ: Final = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

Step = tuple[str, bytes]


def defined(word: int) -> bool:
    return word in NAMED or word >> 8 in (0x61, 0x6C) or word & 0xFFF0 == 0x63C0


# ---- what is sent

PERMIT_NAME: Final = bytes(PERMIT.application.instance)
NAMES: Final = (PERMIT_NAME, bytes(SAM.application.instance), bytes.fromhex("A000000151000000"), FIRST, SECOND, b"")
FIDS: Final = (*(row.fid for row in PERMIT.files), 0x3F00, 0x3FFF, 0x5000)
INSTRUCTIONS: Final = sorted(
    {ins for applet in (PermitApplet, SamApplet, RecordingApplet) for _, ins in applet.instructions}
    | {0x50, 0x82, 0xCA, 0xD8, 0xE2, 0xE4, 0xE6, 0xF0, 0xF2, 0x70, 0xC0, 0xA4}
)
BYTE: Final = st.integers(0, 255)
DATA: Final = st.one_of(
    st.binary(max_size=20),
    st.binary(min_size=50, max_size=300),
    st.sampled_from(NAMES),
    st.sampled_from(FIDS).map(lambda fid: fid.to_bytes(2, "big")),
    st.sampled_from([pin_block("000000"), pin_block("12345678"), bytes(8), bytes(16), bytes(64)]),
    st.builds(lambda offset, data: tlv.encode(0x54, offset) + tlv.encode(0x53, data), st.binary(), st.binary()),
    st.builds(
        lambda fid, size, sfi: FileSpec(fid, FileStructure.TRANSPARENT, size, sfi, rules=RULES).encode(),
        st.sampled_from(FIDS),
        st.integers(0, 400),
        st.integers(0, 30),
    ),
    st.builds(lambda first, second: tlv.encode(0x87, first) + tlv.encode(0x8E, second), st.binary(), st.binary()),
)
COMMAND: Final = st.builds(
    CommandApdu,
    st.one_of(st.sampled_from([0x00, 0x80, 0x0C, 0x84, 0x10, 0x90, 0x01, 0x04]), BYTE),
    st.one_of(st.sampled_from(INSTRUCTIONS), BYTE),
    st.one_of(st.sampled_from([0, 1, 2, 4, 8, 0x0C, 0x20, 0x60, 0x80, 0x81, 0x82, 0x9F, 0xDF]), BYTE),
    st.one_of(st.sampled_from([0, 2, 4, 0x0C, 0x14, 0x20, 0x21, 0x22, 0x66, 0x7F, 0x81, 0x82, 0xA0, 0xFF]), BYTE),
    DATA,
    st.one_of(st.sampled_from([0, 1, 16, 256, 65_536]), st.integers(0, 65_536)),
)
VALID: Final = [
    CommandApdu(0x00, 0xB0, 0x81, 0x00, b"", 256),
    CommandApdu(0x00, 0xB1, 0x01, 0x03, b"\x54\x02\x00\x10", 256),
    CommandApdu(0x00, 0xB2, 0x01, 0x64, b"", 256),
    CommandApdu(0x00, 0xD6, 0x8D, 0x00, b"\x01"),
    CommandApdu(0x00, 0xE2, 0x00, 0x60, bytes(32)),
    CommandApdu(0x00, 0x20, 0x00, 0x81, pin_block("111111")),
    CommandApdu(0x00, 0x24, 0x00, 0x81, pin_block("111111") + pin_block("222222")),
    CommandApdu(0x00, 0x82, 0x00, 0x81, bytes(64), 256),
    CommandApdu(0x00, 0xDA, 0xDF, 0x22, b"20260601"),
    CommandApdu(0x80, 0x50, 0x00, 0x00, bytes(8), 256),
    CommandApdu(0x84, 0x82, 0x33, 0x00, bytes(16)),
    CommandApdu(0x80, 0xE2, 0x68, 0x00, b"\x80\x00\x10" + bytes(16)),
    CommandApdu(0x80, 0xE2, 0x88, 0x00, b"\x9f\x01\x03abc"),
    CommandApdu(0x80, 0xE6, 0x20, 0x00, b"\x00\x00\x07" + PERMIT_NAME + bytes(3)),
    CommandApdu(0x80, 0xE4, 0x00, 0x00, b"\x4f\x07" + PERMIT_NAME),
    CommandApdu(0x80, 0xF0, 0x40, 0x80, PERMIT_NAME),
    CommandApdu(0x80, 0xD8, 0x00, 0x81, b"\x01" + (b"\x88\x11\x10" + bytes(16) + b"\x03\x01\x02\x03") * 3, 256),
    CommandApdu(0x80, 0x54, 0x00, 0x00, bytes(57), 256),
]


def with_bit_changed(raw: bytes, bit: int) -> bytes:
    at = bit // 8 % len(raw)
    return raw[:at] + bytes((raw[at] ^ 1 << bit % 8,)) + raw[at + 1 :]


NEARLY_VALID: Final = st.builds(
    with_bit_changed,
    st.sampled_from(VALID).map(lambda command: command.encode()),
    st.one_of(st.integers(0, 39), st.integers(0, 2047)),
)
RAW: Final = st.one_of(COMMAND.map(lambda command: command.encode()), NEARLY_VALID, st.binary(max_size=40))
SELECTION: Final = st.sampled_from(NAMES).map(lambda name: CommandApdu(0, 0xA4, 4, 0, name, 256).encode())
STEP: Final = st.one_of(
    st.tuples(st.sampled_from(["contact", "contactless"]), st.one_of(RAW, RAW, RAW, SELECTION)),
    st.tuples(st.sampled_from(["reset contact", "reset contactless", "off contact", "off contactless"]), st.just(b"")),
)
STEPS: Final = st.lists(STEP, min_size=1, max_size=25)


def walk(card: Card, steps: list[Step]) -> list[bytes]:
    """Send everything; every answer has a defined status word. Gives the answers."""
    ports = {"contact": card.contact, "contactless": card.contactless}
    answers: list[bytes] = []
    for what, command in steps:
        action, _, name = what.rpartition(" ")
        port = ports[name]
        if action == "off":
            port.power_off()
        elif action == "reset" or not port.powered:
            port.power_on()
        if not action:
            answers.append(port.process(command))
            assert defined(int.from_bytes(answers[-1][-2:], "big")), (command.hex(), answers[-1].hex())
    assert card.faults == 0, repr(card.last_fault)
    return answers


# ---- the cards


class QuietApplet(RecordingApplet):
    """The recording applet without its command that fails on purpose."""

    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = {
        key: row for key, row in RecordingApplet.instructions.items() if row.name != "FAULT"
    }


@cache
def recording_image() -> NvmImage:
    image = blank_memory()
    card = Card(image.nvm(), [QuietApplet])
    install(card, FIRST)
    install(card, SECOND)
    return image


HALF_MADE: Final = {"half: files": 1, "half: keys": -3, "half: chip key": -1}
"""Permits whose personalization stopped, by how many of the data groupings they got."""
CARD_STATES: Final = {
    "secured": CardLifeCycle.SECURED,
    "locked": CardLifeCycle.CARD_LOCKED,
    "terminated": CardLifeCycle.TERMINATED,
}


@cache
def permit(name: str) -> Bench:
    if name == "empty":
        return blank(PERMIT)
    if name.startswith("half"):
        bench = blank(PERMIT)
        groupings = permit_groupings(bench.card_number)
        return personalize(bench, groupings[: HALF_MADE[name]])
    bench = new_permit()
    if name in CARD_STATES:
        bench.card.platform.registry.set_card_life_cycle(CARD_STATES[name])
    return bench


@cache
def sam() -> Bench:
    return new_sam()


def secrets(bench: Bench) -> set[bytes]:
    """Every run of eight bytes of keys, PINs and personal content that is on the card."""
    platform = bench.card.platform
    found: set[bytes] = set()
    for owner in (1, bench.application.owner):
        for kind in (ObjectKind.KEY, ObjectKind.PIN):
            for item in platform.store.owned(owner, kind):
                found.update(windows(platform.store.read(item), SECRET_RUN))
    found.update(windows(pin_block(HOLDER_PIN), SECRET_RUN))
    for content in (IDENTITY, CONTENT[0x0301]):
        found.update(windows(content, SECRET_RUN))
    return {run for run in found if len(set(run)) > 3}


# ---- the properties


@FUZZ
@given(STEPS)
def test_a_card_with_files_and_every_path_of_the_dispatcher(steps: list[Step]) -> None:
    card = Card(recording_image().fork().nvm(), [QuietApplet], randomness=SeededRandomness(1))
    walk(card, steps)


@pytest.mark.parametrize("name", ["empty", *HALF_MADE, "personalized", "secured", "locked", "terminated"])
@FUZZ
@given(steps=STEPS)
def test_a_permit_gives_no_secret_away(name: str, steps: list[Step]) -> None:
    bench = permit(name).fork()
    hidden = secrets(bench)
    answers = walk(bench.card, steps)
    bench = bench.fork()
    probe: list[Step] = []
    for interface in ("contact", "contactless"):
        probe.append((interface, CommandApdu(0, 0xA4, 4, 0, PERMIT_NAME, 256).encode()))
        probe += [(interface, CommandApdu(0, 0xB0, 0x80 | sfi, 0, b"", 256).encode()) for sfi in range(1, 31)]
        probe += [(interface, CommandApdu(0, 0xB2, 1, sfi << 3 | 4, b"", 256).encode()) for sfi in range(1, 31)]
    answers += walk(bench.card, probe)
    for answer in answers:
        assert not hidden.intersection(windows(answer, SECRET_RUN))


@FUZZ
@given(steps=STEPS)
def test_a_sam_gives_no_secret_away(steps: list[Step]) -> None:
    bench = sam().fork()
    hidden = secrets(bench)
    for answer in walk(bench.card, steps):
        assert not hidden.intersection(windows(answer, SECRET_RUN))


@pytest.mark.parametrize("role", ["inspection", "service_desk", "bank_branch", "issuer"])
@settings(FUZZ, max_examples=25)
@given(commands=st.lists(COMMAND.filter(lambda command: len(command.data) < 200), min_size=1, max_size=12))
def test_an_authenticated_terminal_may_send_anything(role: str, commands: list[CommandApdu]) -> None:
    """The plain commands come through valid secure messaging, so that they reach the handlers with a role."""
    bench = permit("personalized").fork()
    keys = {
        run
        for item in bench.card.platform.store.owned(bench.application.owner, ObjectKind.KEY)
        for run in windows(bench.card.platform.store.read(item), SECRET_RUN)
        if len(set(run)) > 3
    }
    session = open_permit(bench, sam().fork(), role, Interface.CONTACTLESS)
    for command in commands:
        try:
            response = session.channel.exchange(command._replace(cla=0))
        except PersonalizationError:
            break  # the card ended secure messaging, as after a selection
        assert defined(response.sw), (command, response.sw)
        assert not keys.intersection(windows(response.data, SECRET_RUN))
    assert bench.card.faults == 0, repr(bench.card.last_fault)


@settings(FUZZ, max_examples=60)
@given(commands=st.lists(COMMAND.filter(lambda command: len(command.data) < 200), min_size=1, max_size=12))
def test_the_terminal_of_a_sam_may_send_anything(commands: list[CommandApdu]) -> None:
    """Whoever owns the module uses its keys and never sees one."""
    bench = sam().fork()
    hidden = secrets(bench)
    bench.contact.power_on()
    plain = PlainChannel(bench.contact)
    select(plain, bytes(SAM.application.instance))
    run = MutualAuthentication(terminal_key(bench.card_number), 0x85, get_challenge(plain), SeededRandomness(3).bytes)
    channel = ProtectedChannel(bench.contact, run.complete(mutual_authenticate(plain, 0x85, run.command())))
    for command in commands:
        try:
            response = channel.exchange(command._replace(cla=command.cla & 0x80))
        except PersonalizationError:
            break  # the card ended secure messaging, as after a selection
        assert defined(response.sw), (command, response.sw)
        assert not hidden.intersection(windows(response.data, SECRET_RUN))
    assert bench.card.faults == 0, repr(bench.card.last_fault)


@settings(FUZZ, max_examples=60)
@given(commands=st.lists(COMMAND.filter(lambda command: len(command.data) < 200), min_size=1, max_size=12))
def test_an_authenticated_station_may_send_anything(commands: list[CommandApdu]) -> None:
    bench = permit("personalized").fork()
    bench.contact.power_on()
    factory = StaticKeys(FACTORY_KEYS.version, FACTORY_KEYS.enc, FACTORY_KEYS.mac, FACTORY_KEYS.dek)
    session = SecureSession.open(bench.contact, factory, randomness=SeededRandomness(3).bytes)
    for command in commands:
        try:
            response = session.transmit(
                command._replace(cla=command.cla & 0x80, ne=min(command.ne, 256)), accept=EVERY_WORD
            )
        except PersonalizationError:
            break
        assert defined(response.sw), (command, response.sw)
    assert bench.card.faults == 0, repr(bench.card.last_fault)


@settings(FUZZ, max_examples=60)
@given(steps=STEPS, unit=st.integers(1, 400))
def test_anything_may_be_torn(steps: list[Step], unit: int) -> None:
    """A cut anywhere: the port is mute, and after power comes back the card works without a fault."""
    bench = permit("personalized").fork()
    bench.power.arm(unit)
    try:
        walk(bench.card, steps)
    except PortMute:
        assert not bench.card.contact.powered
        assert not bench.card.contactless.powered
    bench.power.restore()
    walk(bench.card, steps)


# ---- the seeds are worth something: each of them reaches a success


@pytest.mark.parametrize(
    "command",
    [
        CommandApdu(0, 0xA4, 4, 0, PERMIT_NAME, 256),
        CommandApdu(0, 0x84, 0, 0, b"", 16),
        CommandApdu(0, 0xCA, 0xDF, 0x20, b"", 256),
        CommandApdu(0, 0xCA, 0xDF, 0x21, b"", 256),
        CommandApdu(0, 0x70, 0, 0, b"", 1),
        CommandApdu(0, 0xA4, 0, 0x0C, b"\x01\x01"),
    ],
)
def test_seeds_reach_9000(command: CommandApdu) -> None:
    port: Port = permit("personalized").fork().card.contact
    port.power_on()
    assert port.process(CommandApdu(0, 0xA4, 4, 0x0C, PERMIT_NAME).encode()) == b"\x90\x00"
    assert port.process(command.encode())[-2:] == b"\x90\x00"
