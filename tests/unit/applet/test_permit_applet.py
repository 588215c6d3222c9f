"""The permit once it is personalized: what it tells whom, over which interface."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from applet.permit.commands import PERMIT_INSTRUCTIONS
from applet.sam.commands import SAM_INSTRUCTIONS
from card_os.applet_api import ALWAYS, AccessRule, Instruction
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.profile import FILE_ACCESS, CardProfile
from personalization.profile_rows import FileRow
from personalization.terminal.authentication import get_challenge, mutual_authenticate
from personalization.terminal.channel import CardChannel, CardRefused, PlainChannel, ProtectedChannel
from personalization.terminal.files import CardFiles
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession, get_data, select
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import (
    CONTENT,
    HOLDER_PIN,
    PERMIT,
    SAM,
    Bench,
    new_permit,
    new_sam,
    open_permit,
    open_sam,
    pin_block,
)

BOTH = pytest.mark.parametrize("interface", list(Interface))
ROLES = ("inspection", "service_desk", "bank_branch", "issuer")
FIDS = [row.fid for row in PERMIT.files]


@pytest.fixture(scope="module")
def made() -> Bench:
    return new_permit()


@pytest.fixture(scope="module")
def made_sam() -> Bench:
    return new_sam()


@pytest.fixture
def card(made: Bench) -> Bench:
    return made.fork()


@pytest.fixture
def module(made_sam: Bench) -> Bench:
    return made_sam.fork()


def plain(bench: Bench, interface: Interface) -> PlainChannel:
    channel = PlainChannel(bench.on(interface))
    select(channel, PERMIT.application.instance)
    return channel


def read(channel: CardChannel, fid: int) -> int:
    row = PERMIT.file(fid)
    if row.records:
        return channel.exchange(CommandApdu(0, 0xB2, 1, row.sfi << 3 | 4, b"", 32)).sw
    return channel.exchange(CommandApdu(0, 0xB0, 0x80 | row.sfi, 0, b"", 1)).sw


def read_whole(session: TerminalSession, row: FileRow) -> bytes | list[bytes]:
    return session.files.read_records(row) if row.records else session.files.read(row)


def write(session: TerminalSession, row: FileRow) -> None:
    if row.records:
        session.files.append_record(row, b"20260601" * 4)
    else:
        session.files.update(row, b"\x01")


@BOTH
def test_every_file_is_refused_without_authentication(card: Bench, interface: Interface) -> None:
    channel = plain(card, interface)
    assert {read(channel, fid) for fid in FIDS} == {SW.SECURITY_STATUS_NOT_SATISFIED}


@BOTH
@pytest.mark.parametrize("role", ROLES)
def test_each_role_reads_what_the_table_says(card: Bench, module: Bench, interface: Interface, role: str) -> None:
    session = open_permit(card, module, role, interface)
    secure_role = PERMIT.mask(role) | PERMIT.mask("secure_messaging")
    for row in PERMIT.files:
        allowed = any(mask & secure_role == mask for mask in PERMIT.alternatives(row.access["read"]))
        if not allowed:
            with pytest.raises(CardRefused, match="6982"):
                read_whole(session, row)
        elif row.records:
            assert read_whole(session, row) == []
        else:
            content = CONTENT.get(row.fid, b"")
            assert session.files.read(row) == (content if row.size is None else content.ljust(row.size, b"\x00"))
    assert card.card.faults == 0


@BOTH
@pytest.mark.parametrize("role", ROLES)
def test_each_role_updates_what_the_table_says(card: Bench, module: Bench, interface: Interface, role: str) -> None:
    session = open_permit(card, module, role, interface)
    secure_role = PERMIT.mask(role) | PERMIT.mask("secure_messaging")
    for row in PERMIT.files:
        rule = row.access.get("append" if row.records else "update", ())
        allowed = any(mask & secure_role == mask for mask in PERMIT.alternatives(rule))
        if allowed:
            write(session, row)
        else:
            with pytest.raises(CardRefused, match="6982"):
                write(session, row)


def test_the_holder_reads_over_contact_after_the_pin(card: Bench) -> None:
    card.contact.power_on()
    holder = HolderSession.open(card.contact, PERMIT)
    holder.verify(HOLDER_PIN)
    for row in PERMIT.files:
        if row.records is None:
            content = CONTENT.get(row.fid, b"")
            assert holder.files.read(row) == (content if row.size is None else content.ljust(row.size, b"\x00"))
    assert holder.read_records("EF.ENDORSEMENTS") == []
    with pytest.raises(CardRefused, match="6982"):
        holder.files.update(PERMIT.file_named("EF.STATUS"), b"\x01")


def test_a_pin_over_the_field_in_plain_is_refused_and_costs_no_try(card: Bench) -> None:
    """A PIN that can be overheard is none."""
    channel = plain(card, Interface.CONTACTLESS)
    command = CommandApdu(0, 0x20, 0, 0x81, pin_block(HOLDER_PIN))
    assert channel.exchange(command).sw == SW.SECURITY_STATUS_NOT_SATISFIED
    card.contact.power_on()
    assert HolderSession.open(card.contact, PERMIT).tries_left() == 3


def test_a_pin_under_secure_messaging_over_the_field_opens_the_account(card: Bench, module: Bench) -> None:
    session = open_permit(card, module, "inspection", Interface.CONTACTLESS)
    response = session.channel.exchange(CommandApdu(0, 0x20, 0, 0x81, pin_block(HOLDER_PIN)))
    assert response.sw == SW.OK
    assert session.read("EF.BANK") == CONTENT[0x0301]


def test_a_plain_command_ends_the_session_and_its_role(card: Bench, module: Bench) -> None:
    """Contract 1.1: one layer a command, a plain one ends it."""
    session = open_permit(card, module, "inspection", Interface.CONTACT)
    session.read("EF.STATUS")
    assert read(PlainChannel(card.contact), 0x0101) == SW.SECURITY_STATUS_NOT_SATISFIED
    with pytest.raises(Exception, match="response-not-authentic"):
        session.read("EF.STATUS")


def test_a_session_of_one_interface_gives_nothing_to_the_other(card: Bench, module: Bench) -> None:
    session = open_permit(card, module, "inspection", Interface.CONTACT)
    other = plain(card, Interface.CONTACTLESS)
    assert read(other, 0x0101) == SW.SECURITY_STATUS_NOT_SATISFIED
    assert session.read("EF.IDENTITY") == CONTENT[0x0101]


def test_external_authentication_in_plain_opens_no_file(card: Bench, module: Bench) -> None:
    """Every role rule of the profile asks for secure messaging besides."""
    channel = plain(card, Interface.CONTACT)
    concealed = channel.exchange(CommandApdu(0, 0xCA, 0xDF, 0x20, b"", 256)).data
    challenge = channel.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16)).data
    prepared = open_sam(module).prepare_external(concealed, 0x81, challenge)
    assert channel.exchange(CommandApdu(0, 0x82, 0, 0x81, prepared.data)).sw == SW.OK
    assert read(channel, 0x0101) == SW.SECURITY_STATUS_NOT_SATISFIED


@BOTH
def test_a_relayed_external_authentication_lends_its_role_to_nobody(
    card: Bench, module: Bench, interface: Interface
) -> None:
    """An inspection terminal stands between a service desk and the card: it may inspect, as before, and no more."""
    channel = PlainChannel(card.on(interface))
    select(channel, PERMIT.application.instance)
    sam = open_sam(module)
    concealed = get_data(channel, 0xDF20)
    desk = sam.prepare_external(concealed, 0x82, get_challenge(channel))
    assert channel.exchange(CommandApdu(0, 0x82, 0, 0x82, desk.data)).sw == SW.OK
    inspection = sam.prepare(concealed, 0x81, get_challenge(channel))
    keys = sam.complete(mutual_authenticate(channel, 0x81, inspection.data))
    protected = ProtectedChannel(card.on(interface), keys)
    assert read(protected, 0x0101) == SW.OK
    assert protected.exchange(CommandApdu(0, 0xD6, 0x8D, 0, b"\x03")).sw == SW.SECURITY_STATUS_NOT_SATISFIED


def test_a_wrong_key_costs_a_try_and_blocks_in_the_end(card: Bench) -> None:
    channel = plain(card, Interface.CONTACT)
    seen: list[int] = []
    for _ in range(11):
        channel.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16))
        seen.append(int(channel.exchange(CommandApdu(0, 0x82, 0, 0x81, bytes(64), 64)).sw))
    assert seen == [0x63C0 | left for left in range(9, -1, -1)] + [0x6983]
    channel.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16))
    assert channel.exchange(CommandApdu(0, 0x82, 0, 0x82, bytes(64), 64)).sw == 0x63C9


@pytest.mark.parametrize("reference", [0x90, 0xA0, 0x85, 0x00])
def test_other_keys_authenticate_nobody(card: Bench, reference: int) -> None:
    channel = plain(card, Interface.CONTACT)
    channel.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16))
    command = CommandApdu(0, 0x82, 0, reference, bytes(64), 64)
    assert channel.exchange(command).sw == SW.REFERENCE_DATA_NOT_FOUND


@BOTH
def test_the_chip_proves_that_it_is_no_copy(card: Bench, module: Bench, interface: Interface) -> None:
    session = open_permit(card, module, "bank_branch", interface)
    challenge, signature = session.internal_authenticate()
    point = open_permit(card, module, "inspection", interface).read("EF.CHIPKEY")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    halves = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(encode_dss_signature(*halves), b"permitcard chip" + challenge, ec.ECDSA(SHA256()))


@BOTH
def test_the_chip_signs_nothing_in_plain(card: Bench, interface: Interface) -> None:
    channel = plain(card, interface)
    command = CommandApdu(0, 0x88, 0, 0xA0, bytes(32), 64)
    assert channel.exchange(command).sw == SW.SECURITY_STATUS_NOT_SATISFIED


def test_records_are_appended_and_read_back(card: Bench, module: Bench) -> None:
    session = open_permit(card, module, "service_desk", Interface.CONTACTLESS)
    row = PERMIT.file_named("EF.ENDORSEMENTS")
    records = [f"202606{day:02d}20270601330381DESK0001".encode("ascii").ljust(32, b"\x00") for day in range(1, 13)]
    for record in records:
        session.files.append_record(row, record)
    assert session.read_records("EF.ENDORSEMENTS") == records
    with pytest.raises(CardRefused, match="6A84"):
        session.files.append_record(row, records[0])
    session.files.update_record(row, 12, records[0])
    assert session.read_records("EF.ENDORSEMENTS")[11] == records[0]


def test_a_connection_without_extended_length_reads_the_same(card: Bench, module: Bench) -> None:
    card.contact._extended = False
    session = open_permit(card, module, "inspection", Interface.CONTACT)
    assert session.read("EF.PORTRAIT") == CONTENT[0x0103]
    assert max(len(command) for command, _ in card.contact.trace) <= 261
    assert max(len(response) for _, response in card.contact.trace) <= 258


def test_get_data_of_another_tag_is_not_found(card: Bench) -> None:
    channel = plain(card, Interface.CONTACT)
    for tag in (0xDF23, 0xDF25, 0x9F7F, 0x0042):
        assert channel.exchange(CommandApdu(0, 0xCA, tag >> 8, tag & 0xFF, b"", 256)).sw == SW.REFERENCE_DATA_NOT_FOUND
    assert channel.exchange(CommandApdu(0, 0xCA, 0xDF, 0x21, b"x", 256)).sw == SW.WRONG_LENGTH


def test_the_fci_is_the_same_on_every_card(card: Bench) -> None:
    other = new_permit(serial=2, seed=5)
    names = [
        PlainChannel(bench.on(interface)).exchange(CommandApdu(0, 0xA4, 4, 0, PERMIT.application.instance, 256)).data
        for bench in (card, other)
        for interface in Interface
    ]
    assert len(set(names)) == 1
    assert names[0] == bytes.fromhex("6F1D8407F05A4A4A5A0101A51250105245534944454E4345205045524D4954")


@BOTH
@pytest.mark.parametrize(("role", "allowed"), [("inspection", True), ("service_desk", True), ("bank_branch", False)])
def test_who_may_tell_the_date(card: Bench, module: Bench, interface: Interface, role: str, allowed: bool) -> None:
    session = open_permit(card, module, role, interface)
    if allowed:
        session.tell_date(dt.date(2026, 6, 1))
    else:
        with pytest.raises(CardRefused, match="6982"):
            session.tell_date(dt.date(2026, 6, 1))


PROFILE_TABLES = pytest.mark.parametrize(
    ("profile", "table"), [(PERMIT, PERMIT_INSTRUCTIONS), (SAM, SAM_INSTRUCTIONS)], ids=["permit", "sam"]
)


@PROFILE_TABLES
def test_the_published_command_table_is_the_one_in_the_code(
    profile: CardProfile, table: dict[tuple[bool, int], Instruction]
) -> None:
    states = {row.name: row.state for row in profile.life_cycle}
    published = {(row.cla >= 0x80, row.ins): row for row in profile.commands if row.name != "SELECT by name"}
    assert set(published) == set(table)
    for key, instruction in table.items():
        row = published[key]
        assert instruction.states == frozenset(states[name] for name in row.states), row.name
        if isinstance(row.access, str) and row.access.startswith(FILE_ACCESS):
            assert instruction.access == ALWAYS
        else:
            assert sorted(instruction.access.alternatives) == sorted(profile.alternatives(row.access)), row.name
        assert AccessRule.decode(instruction.access.encode())[0] == instruction.access


def test_reprs_tell_no_secret(card: Bench, module: Bench) -> None:
    session = open_permit(card, module, "inspection", Interface.CONTACT)
    number = card.card_number.hex()
    shown = repr(session) + repr(session.channel) + repr(open_sam(module))
    assert number not in shown.lower()
    assert isinstance(session, TerminalSession)
    assert session.card_number.hex() == number


def test_files_of_a_plain_channel_are_refused_with_the_name_of_the_file(card: Bench) -> None:
    files = CardFiles(plain(card, Interface.CONTACT))
    with pytest.raises(CardRefused, match=r"READ BINARY EF\.IDENTITY.*6982"):
        files.read(PERMIT.file_named("EF.IDENTITY"))
