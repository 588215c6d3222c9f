"""The issuer domain on a card: keys, content, personalization, life cycles (GPC 2.3.1, clause 11)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform.life_cycle import CARD_TRANSITIONS
from card_os.globalplatform.registry import ISSUER_DOMAIN, CardLifeCycle, Privilege
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW, StatusWord
from card_os.storage.store import ObjectKind
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.aes_messaging import SECURITY_LEVELS
from personalization.globalplatform.commands import CardState, DataGrouping, StatusScope
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from tests.doubles.issuer_card import (
    CARD_NUMBER,
    DOMAIN,
    FACTORY,
    INSTANCE,
    MODULE,
    OURS,
    PACKAGE,
    PRODUCTION,
    PortConnection,
    ShortConnection,
    boot,
    install_notebook,
    issuer_image,
)

ANY_STATUS = tuple(
    StatusWord(value) for value in (0x9000, 0x6310, 0x6982, 0x6983, 0x6985, 0x6A80, 0x6A84, 0x6A86, 0x6A88)
)
WRONG_KEYS = StaticKeys(0xFF, bytes(16), bytes(16), bytes(16))
SELECT = commands.select(DOMAIN).encode()


@pytest.fixture
def card() -> Card:
    return boot(issuer_image())


@pytest.fixture
def connection(card: Card) -> PortConnection:
    connection = PortConnection(card.contact)
    connection.power_on()
    return connection


@pytest.fixture
def session(connection: PortConnection) -> SecureSession:
    return SecureSession.open(connection, FACTORY)


def send(connection: PortConnection, text: str) -> str:
    return connection.transmit(bytes.fromhex(text)).hex().upper()


def status(session: SecureSession, text: str) -> int:
    """Status word of a command under the session."""
    return session.transmit(CommandApdu.parse(bytes.fromhex(text)), accept=ANY_STATUS).sw


def tries(card: Card, version: int = 0xFF) -> int:
    return card_keys.tries_left(card.platform.store, ISSUER_DOMAIN, version)


def sequence(card: Card, version: int = 0xFF) -> int | None:
    return card_keys.sequence_counter(card.platform.store, ISSUER_DOMAIN, version)


def false_external_authenticate(connection: PortConnection, command: str = "8482330010" + "00" * 16) -> str:
    assert send(connection, "8050FF0008000000000000000000")[-4:] == "9000"
    return send(connection, command)


def application_state(card: Card) -> int:
    application = card.platform.registry.by_aid(INSTANCE)
    assert application is not None
    return application.life_cycle


# ---- SELECT, GET DATA (11.3, 11.9)


def test_fci_names_the_domain_and_nothing_of_the_card(connection: PortConnection) -> None:
    assert send(connection, SELECT.hex()) == "6F108408A000000151000000A5049F6501FF9000"


def test_card_data(connection: PortConnection) -> None:
    """Tag 66 (H.2): GlobalPlatform 2.3.1, card identification, SCP03 with i = 70; class 00: its value (11.3.3.1)."""
    rows = (
        "06072A864886FC6B01",
        "600C060A2A864886FC6B02020301",
        "630906072A864886FC6B03",
        "640B06092A864886FC6B040370",
    )
    expected = "6631732F" + "".join(rows)
    assert send(connection, "80CA006600") == expected + "9000"
    assert send(connection, "00CA006600") == expected[4:] + "9000"


def test_key_information(connection: PortConnection) -> None:
    assert send(connection, "80CA00E000") == "E012C00401FF8810C00402FF8810C00403FF88109000"


def test_sequence_counter(connection: PortConnection) -> None:
    assert send(connection, "80CA00C100") == "C1030000009000"
    send(connection, "8050000008000000000000000000")
    assert send(connection, "80CA00C100") == "C1030000019000"


@pytest.mark.parametrize("tag", ["0042", "0045", "0000", "FFFF"])
def test_data_that_is_not_there(connection: PortConnection, tag: str) -> None:
    assert send(connection, f"80CA{tag}00") == "6A88"


def test_issuer_numbers_come_by_store_data(session: SecureSession, connection: PortConnection) -> None:
    assert status(session, "80E290000A42031122334503AABBCC") == SW.OK
    send(connection, SELECT.hex())
    assert send(connection, "80CA004200") == "42031122339000"
    session = SecureSession.open(connection, FACTORY)
    assert status(session, "80E290000442024455") == SW.OK
    send(connection, SELECT.hex())
    assert send(connection, "80CA004200") == "420244559000"


@pytest.mark.parametrize(
    "text",
    [
        "80E2900003410111",
        "80E29000024203",
        "80E29000",
        "80E28800",
        "80E2880006007103420111",
        "80E2880005007002" + "4202",
        "80E2880003007000",
        "80E290000A42FFFFFFFFFFFFFFFFFF",
    ],
)
def test_other_data_of_the_domain_is_refused(session: SecureSession, text: str) -> None:
    assert status(session, text) == SW.WRONG_DATA


@pytest.mark.parametrize("header", ["80E2F000", "80E29001", "80E29200", "80E29800", "80E2B000"])
def test_other_forms_of_store_data_for_the_domain(session: SecureSession, header: str) -> None:
    """Table 11-89: only plain groupings and data objects, in turn; reserved bits and codings are refused."""
    assert status(session, header + "03420111") == SW.INCORRECT_P1_P2


def test_data_without_structure_are_data_objects(session: SecureSession) -> None:
    """Table 11-89: "no general data structure information", as versions before 2.2 had it."""
    assert status(session, "80E2800003420111") == SW.OK
    assert session.transmit(commands.get_data(0x42)).data == bytes.fromhex("420111")


def test_personalizers_complete_the_production_data_once(session: SecureSession) -> None:
    """9F67 and 9F66, 8 bytes each: maker, date and equipment of the pre-personalizer and the personalizer."""
    assert status(session, "80E290000A9F6707" + "11" * 7) == SW.WRONG_DATA
    for tag, offset in (("9F67", 26), ("9F66", 34)):
        assert status(session, f"80E290000B{tag}08" + "1122334455667788") == SW.OK
        assert status(session, f"80E290000B{tag}08" + "8877665544332211") == SW.CONDITIONS_NOT_SATISFIED
        told = session.transmit(commands.get_data(0x9F7F)).data[3:]
        assert told[offset : offset + 8].hex() == "1122334455667788"


@pytest.mark.parametrize(
    "blocks",
    [
        ["80E2910003420111"],
        ["80E2880006007003420111"],
        ["80E210000142", "80E29001020111"],
        ["80E208000400700342", "80E28801020111"],
    ],
)
def test_data_objects_come_in_every_form(session: SecureSession, blocks: list[str]) -> None:
    """11.11.2.3: BER-TLV, or inside the grouping 0070; cut anywhere; P1 b1 says that an answer is welcome."""
    assert [status(session, block) for block in blocks] == [SW.OK] * len(blocks)
    assert session.transmit(commands.get_data(0x42)).data.hex() == "420111"


def test_a_cut_data_object_that_fails_is_forgotten(session: SecureSession) -> None:
    assert status(session, "80E21000024202") == SW.OK
    assert status(session, "80E290010111") == SW.WRONG_DATA
    assert status(session, "80E290010111") == SW.INCORRECT_P1_P2
    assert status(session, "80E2900003420122") == SW.OK
    assert session.transmit(commands.get_data(0x42)).data.hex() == "420122"


def test_production_data_is_guarded_once_the_card_is_secured(
    session: SecureSession, connection: PortConnection
) -> None:
    whole = "9F7F2A" + PRODUCTION.encode().hex().upper() + "9000"
    session.set_card_state(CardState.SECURED)
    assert session.transmit(commands.get_data(0x9F7F)).data.hex().upper() + "9000" == whole
    assert send(connection, "80CA9F7F00") == "6982"


def test_production_data_is_open_in_the_factory(connection: PortConnection) -> None:
    assert send(connection, "80CA9F7F00") == "9F7F2A" + PRODUCTION.encode().hex().upper() + "9000"


# ---- INITIALIZE UPDATE, EXTERNAL AUTHENTICATE (Amendment D, 7.1)


def test_initialize_update_names_the_card(connection: PortConnection) -> None:
    answer = bytes.fromhex(send(connection, "8050000008000000000000000000"))
    assert answer[:13] == CARD_NUMBER + b"\xff\x03\x70"
    assert answer[29:] == b"\x00\x00\x01\x90\x00"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("8050010008000000000000000000", "6A88"),
        ("8050FF0108000000000000000000", "6A86"),
        ("8050FF00070000000000000000", "6700"),
        ("8050FF00", "6700"),
        ("0050FF0008000000000000000000", "6E00"),
    ],
)
def test_initialize_update_refuses(connection: PortConnection, card: Card, command: str, sw: str) -> None:
    assert send(connection, command) == sw
    assert sequence(card) == 0


def test_every_challenge_is_another_one(connection: PortConnection) -> None:
    answers = {send(connection, "8050FF0008000000000000000000")[26:42] for _ in range(20)}
    assert len(answers) == 20


def test_the_sequence_counter_survives_power(connection: PortConnection) -> None:
    first = send(connection, "8050FF0008000000000000000000")
    connection.power_off()
    connection.power_on()
    assert int(send(connection, "8050FF0008000000000000000000")[58:64], 16) == int(first[58:64], 16) + 1


def test_a_used_up_sequence_counter_gives_no_session(connection: PortConnection, card: Card) -> None:
    store = card.platform.store
    item = store.find(ISSUER_DOMAIN, ObjectKind.COUNTER, 0x01FF)
    assert item is not None
    store.write_through(item, 0, b"\xff\xff\xff")
    assert send(connection, "8050FF0008000000000000000000") == "6985"


@pytest.mark.parametrize(("link", "blocks"), [(PortConnection, 2), (ShortConnection, 3)])
@pytest.mark.parametrize("level", sorted(SECURITY_LEVELS))
def test_a_session_of_every_level(card: Card, link: type[PortConnection], blocks: int, level: int) -> None:
    connection = link(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY, level=level)
    assert [entry.aid for entry in session.get_status(StatusScope.ISSUER_DOMAIN)] == [DOMAIN]
    install_notebook(session)
    groupings = [DataGrouping(1, b"\x01" * 300), DataGrouping(2, b"\x02", encrypted=True)]
    assert session.personalize(INSTANCE, groupings) == blocks


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("8482330010" + "00" * 16, "6300"),
        ("8482020010" + "00" * 16, "6A86"),
        ("8482330110" + "00" * 16, "6A86"),
        ("8482330008" + "00" * 8, "6700"),
        ("84823300", "6700"),
        ("8082330010" + "00" * 16, "6985"),
    ],
)
def test_false_external_authenticate(connection: PortConnection, command: str, sw: str) -> None:
    assert false_external_authenticate(connection, command) == sw
    assert send(connection, "8482330010" + "00" * 16) == "6985"


def test_a_failed_authentication_is_counted_and_a_success_forgives(connection: PortConnection, card: Card) -> None:
    assert tries(card) == 10
    assert false_external_authenticate(connection) == "6300"
    assert false_external_authenticate(connection) == "6300"
    assert tries(card) == 8
    SecureSession.open(connection, FACTORY)
    assert tries(card) == 10


def test_a_form_that_is_refused_costs_no_try(connection: PortConnection, card: Card) -> None:
    false_external_authenticate(connection, "8482020010" + "00" * 16)
    assert tries(card) == 10


def test_tries_survive_power_and_the_tenth_blocks(connection: PortConnection, card: Card) -> None:
    for count in range(10):
        assert tries(card) == 10 - count
        assert false_external_authenticate(connection) == "6300"
        connection.power_off()
        connection.power_on()
    assert tries(card) == 0
    assert false_external_authenticate(connection) == "6983"
    with pytest.raises(PersonalizationError, match=r"external-authenticate-refused.*6983"):
        SecureSession.open(connection, FACTORY)


def test_wrong_keys_cost_the_card_nothing(connection: PortConnection, card: Card) -> None:
    with pytest.raises(PersonalizationError, match="card-cryptogram-wrong"):
        SecureSession.open(connection, WRONG_KEYS)
    assert tries(card) == 10
    assert [command[1] for command in connection.sent] == [0xA4, 0x50]


def test_another_command_ends_the_challenge(connection: PortConnection) -> None:
    send(connection, "8050FF0008000000000000000000")
    send(connection, "80CA006600")
    assert send(connection, "8482330010" + "00" * 16) == "6985"


def test_a_false_mac_aborts_the_session(session: SecureSession, connection: PortConnection) -> None:
    assert send(connection, "84F280020A4F00" + "00" * 8 + "00") == "6982"
    with pytest.raises(PersonalizationError, match=r"card-refused.*6982"):
        session.get_status(StatusScope.ISSUER_DOMAIN)


def test_a_plain_command_aborts_the_session(session: SecureSession, connection: PortConnection) -> None:
    """Amendment D, 5.6: also one that needs no session at all."""
    assert send(connection, "80CA006600") == "6982"
    with pytest.raises(PersonalizationError, match="6982"):
        session.get_status(StatusScope.ISSUER_DOMAIN)


@pytest.mark.parametrize("end", [SELECT.hex(), "8050FF0008000000000000000000", "00A4040000"])
def test_what_ends_an_aborted_session(session: SecureSession, connection: PortConnection, end: str) -> None:
    """Amendment D, 5.6: an aborted session is not over; a new one, or SELECT, ends it."""
    assert session.key_version == 0xFF
    send(connection, "80CA006600")
    assert send(connection, "80CA006600") == "6982"
    assert send(connection, "0070000001") == "019000"
    assert send(connection, "80CA006600") == "6982"
    assert send(connection, end)[-4:] == "9000"
    assert send(connection, "80CA006600")[-4:] == "9000"


def test_select_and_manage_channel_need_no_protection(session: SecureSession, connection: PortConnection) -> None:
    assert send(connection, "0070000001") == "019000"
    assert send(connection, "00708001") == "9000"
    session.get_status(StatusScope.ISSUER_DOMAIN)
    assert send(connection, SELECT.hex())[-4:] == "9000"
    with pytest.raises(PersonalizationError, match="6882"):
        session.get_status(StatusScope.ISSUER_DOMAIN)


def test_external_authenticate_in_an_open_session(session: SecureSession) -> None:
    assert status(session, "8082330010" + "00" * 16) == SW.CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize(
    "command",
    [
        "80D8008103010203",
        "80E2880003000100",
        "80E40000094F07F05A4A4A5A0101",
        "80E60C0003010203",
        "80F0800F",
        "80F28002024F0000",
    ],
)
def test_nothing_is_managed_without_a_session(connection: PortConnection, command: str) -> None:
    """Table 11-2: all of these need at least authentication."""
    assert send(connection, command) == "6982"


# ---- PUT KEY (11.8)


def test_put_key_takes_the_place_of_the_factory_set(session: SecureSession, connection: PortConnection) -> None:
    session.put_keys(OURS, replace=0xFF)
    send(connection, SELECT.hex())
    assert send(connection, "80CA00E000") == "E012C00401018810C00402018810C004030188109000"
    with pytest.raises(PersonalizationError, match="key-version-mismatch"):
        SecureSession.open(connection, FACTORY)
    assert SecureSession.open(connection, OURS).key_version == 1
    assert SecureSession.open(connection, lambda _: OURS).card == CARD_NUMBER


def test_the_session_goes_on_after_its_keys_are_replaced(session: SecureSession) -> None:
    session.put_keys(OURS, replace=0xFF)
    install_notebook(session)
    assert session.personalize(INSTANCE, [DataGrouping(1, b"\x01", encrypted=True)]) == 1


@pytest.mark.parametrize("length", [24, 32])
def test_longer_keys(session: SecureSession, connection: PortConnection, length: int) -> None:
    keys = StaticKeys(0x02, bytes(length), b"\x01" * length, b"\x02" * length)
    session.put_keys(keys, replace=0)
    session = SecureSession.open(connection, keys)
    install_notebook(session)
    session.personalize(INSTANCE, [DataGrouping(1, b"\x01", encrypted=True)])


def test_sets_are_added_replaced_and_renumbered(session: SecureSession, connection: PortConnection) -> None:
    session.put_keys(OURS, replace=0xFF)
    session = SecureSession.open(connection, OURS)
    second = StaticKeys(0x02, OURS.mac, OURS.enc, OURS.dek)
    session.put_keys(second, replace=0)
    third = StaticKeys(0x02, OURS.dek, OURS.enc, OURS.dek)
    session.put_keys(third, replace=2)
    fourth = StaticKeys(0x03, OURS.dek, OURS.dek, OURS.dek)
    session.put_keys(fourth, replace=1)
    for keys in (third, fourth):
        SecureSession.open(connection, keys)
    with pytest.raises(PersonalizationError, match="6A88"):
        SecureSession.open(connection, OURS)


def test_a_replaced_set_counts_from_the_start(session: SecureSession, connection: PortConnection, card: Card) -> None:
    session.put_keys(OURS, replace=0xFF)
    assert false_external_authenticate_of(connection, 1) == "6300"
    session = SecureSession.open(connection, OURS)
    session.put_keys(OURS, replace=1)
    assert (sequence(card, 1), tries(card, 1)) == (0, 10)


def false_external_authenticate_of(connection: PortConnection, version: int) -> str:
    send(connection, f"8050{version:02X}0008000000000000000000")
    return send(connection, "8482330010" + "00" * 16)


def test_key_data_without_a_clear_length(session: SecureSession, connection: PortConnection) -> None:
    """GPC table 11-71: an AES key of whole blocks may come without the length byte of Amendment D."""
    data = commands.put_key(OURS, FACTORY.dek, replace=0xFF).data
    fields = [data[1 + at : 1 + at + 23] for at in (0, 23, 46)]
    short = data[:1] + b"".join(b"\x88\x10" + field[3:] for field in fields)
    assert session.transmit(CommandApdu(0x80, 0xD8, 0, 0x81, short)).sw == SW.OK
    SecureSession.open(connection, OURS)


def key_data(version: int = 1, dek: bytes = FACTORY.dek) -> bytes:
    return commands.put_key(StaticKeys(version, OURS.enc, OURS.mac, OURS.dek), dek, replace=0).data


@pytest.mark.parametrize(
    ("p1", "p2", "data", "sw"),
    [
        (0x00, 0x01, key_data(), 0x6A80),
        (0x00, 0xFE, key_data(), 0x6A86),
        (0x05, 0x81, key_data(), 0x6A88),
        (0x00, 0x81, key_data(0x00), 0x6A80),
        (0x00, 0x81, key_data(0x80), 0x6A80),
        (0x00, 0x81, key_data()[:-1], 0x6A80),
        (0x00, 0x81, key_data() + b"\x00", 0x6A80),
        (0x00, 0x81, key_data()[:45], 0x6A80),
        (0x00, 0x81, b"", 0x6A80),
        (0x00, 0x81, b"\x01", 0x6A80),
        (0x00, 0x81, key_data(dek=bytes(16)), 0x6982),
        (0x00, 0x81, key_data()[:-1] + b"\x00", 0x6982),
        (0x00, 0x81, key_data().replace(b"\x88", b"\x80"), 0x6982),
        (0x00, 0x81, key_data().replace(b"\x88", b"\x89"), 0x6A80),
        (0x00, 0x81, key_data().replace(b"\x88\x11\x10", b"\x88\x11\x0f"), 0x6A80),
    ],
)
def test_put_key_refuses_and_changes_nothing(
    session: SecureSession, connection: PortConnection, p1: int, p2: int, data: bytes, sw: int
) -> None:
    send(connection, SELECT.hex())
    before = send_keys(connection)
    session = SecureSession.open(connection, FACTORY)
    assert session.transmit(CommandApdu(0x80, 0xD8, p1, p2, data), accept=ANY_STATUS).sw == sw
    send(connection, SELECT.hex())
    assert send_keys(connection) == before


def send_keys(connection: PortConnection) -> str:
    return send(connection, "80CA00E000")


def test_a_version_that_is_taken(session: SecureSession, connection: PortConnection) -> None:
    session.put_keys(OURS, replace=0xFF)
    session = SecureSession.open(connection, OURS)
    assert session.transmit(commands.put_key(OURS, OURS.dek, replace=0), accept=ANY_STATUS).sw == SW.WRONG_DATA


# ---- INSTALL and DELETE, clauses 11.2 and 11.5


def test_install_then_make_selectable(session: SecureSession, connection: PortConnection, card: Card) -> None:
    install_notebook(session, selectable=False)
    assert application_state(card) == 0x03
    session.transmit(commands.make_selectable(INSTANCE))
    assert application_state(card) == 0x07
    assert send(connection, commands.select(INSTANCE).encode().hex()) == "6F009000"


def test_parameters_reach_the_application(session: SecureSession, connection: PortConnection) -> None:
    session.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE, parameters=b"\x12\x34")
    send(connection, commands.select(INSTANCE).encode().hex())
    assert send(connection, "80B0000000") == "12349000"


def lv(*fields: bytes) -> str:
    data = b"".join(bytes((len(field),)) + field for field in fields)
    return f"{len(data):02X}{data.hex()}"


@pytest.mark.parametrize(
    ("p1", "p2", "data", "sw"),
    [
        (0x02, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b"", b""), 0x6A80),
        (0x06, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b"", b""), 0x6A86),
        (0x0C, 1, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b"", b""), 0x6A86),
        (0x0C, 0, lv(PACKAGE, INSTANCE, INSTANCE, b"\x00", b"", b""), 0x6A88),
        (0x0C, 0, lv(MODULE, MODULE, INSTANCE, b"\x00", b"", b""), 0x6A88),
        (0x0C, 0, lv(PACKAGE, MODULE, b"", b"\x00", b"", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE[:4], b"\x00", b"", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"", b"", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x80", b"", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00\x00", b"", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b"\xc9", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b"\xca\x00", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b"", b"\x01"), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b""), 0x6A80),
        (0x0C, 0, lv(PACKAGE, MODULE, INSTANCE, b"\x00", b"", b"", b""), 0x6A80),
        (0x0C, 0, "0209AA", 0x6A80),
        (
            0x0C,
            0,
            lv(bytes.fromhex("A0000001515350"), bytes.fromhex("A000000151535041"), INSTANCE, b"\x00", b"", b""),
            0x6A80,
        ),
        (0x08, 0, lv(b"", b"", INSTANCE, b"\x00", b"", b""), 0x6A88),
        (0x20, 0, lv(b"", b"", INSTANCE, b"", b"", b""), 0x6A88),
        (0x20, 0, lv(b"", b"", DOMAIN, b"", b"", b""), 0x6985),
    ],
)
def test_install_refuses(session: SecureSession, card: Card, p1: int, p2: int, data: str, sw: int) -> None:
    assert status(session, f"80E6{p1:02X}{p2:02X}{data}") == sw
    assert len(card.platform.registry) == 1


@pytest.mark.parametrize(
    ("purpose", "fields", "sw"),
    [
        (0x08, (b"", b"", INSTANCE, b"\x00", b"", b""), 0x6985),
        (0x08, (PACKAGE, b"", INSTANCE, b"\x00", b"", b""), 0x6A80),
        (0x20, (b"", b"", INSTANCE, b"\x00", b"", b""), 0x6A80),
        (0x20, (b"", MODULE, INSTANCE, b"", b"", b""), 0x6A80),
    ],
)
def test_install_of_what_is_there_refuses(
    session: SecureSession, purpose: int, fields: tuple[bytes, ...], sw: int
) -> None:
    install_notebook(session)
    assert status(session, f"80E6{purpose:02X}00{lv(*fields)}") == sw


def test_an_aid_that_is_taken(session: SecureSession) -> None:
    install_notebook(session)
    with pytest.raises(PersonalizationError, match="6A8A"):
        install_notebook(session)


def test_one_application_only_is_selected_by_default(session: SecureSession, card: Card) -> None:
    session.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE, privileges=b"\x04")
    default = card.platform.registry.default_selected
    assert default is not None
    assert default.privileges == Privilege.CARD_RESET
    with pytest.raises(PersonalizationError, match="6985"):
        session.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=MODULE, privileges=b"\x04")


def test_delete_takes_all_that_the_application_owns(session: SecureSession, card: Card) -> None:
    free = card.platform.store.free
    install_notebook(session)
    session.personalize(INSTANCE, [DataGrouping(1, bytes(500))])
    session.delete(INSTANCE)
    assert len(card.platform.registry) == 1
    assert card.platform.store.free == free
    assert status(session, "80E400000A4F08" + INSTANCE.hex()) == SW.REFERENCE_DATA_NOT_FOUND


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("80E400000A4F08" + DOMAIN.hex(), 0x6985),
        ("80E40080084F06" + PACKAGE.hex(), 0x6985),
        ("80E400000A4F08" + "A0" * 8, 0x6A88),
        ("80E401000A4F08" + INSTANCE.hex(), 0x6A86),
        ("80E400010A4F08" + INSTANCE.hex(), 0x6A86),
        ("80E400000A5008" + INSTANCE.hex(), 0x6A80),
        ("80E40000034F08F0", 0x6A80),
    ],
)
def test_delete_refuses(session: SecureSession, card: Card, command: str, sw: int) -> None:
    install_notebook(session)
    assert status(session, command) == sw
    assert len(card.platform.registry) == 2


def test_an_application_selected_on_another_channel_is_not_deleted(
    session: SecureSession, connection: PortConnection
) -> None:
    install_notebook(session)
    assert send(connection, "0070000100") == "9000"
    session = SecureSession.open(connection, FACTORY)
    send(connection, "01A4040008" + INSTANCE.hex())
    assert status(session, "80E400000A4F08" + INSTANCE.hex()) == SW.CONDITIONS_NOT_SATISFIED


# ---- STORE DATA (11.11)


@pytest.fixture
def open_target(session: SecureSession) -> SecureSession:
    install_notebook(session)
    session.transmit(commands.install_for_personalization(INSTANCE))
    return session


def stored(connection: PortConnection, identifier: int) -> str:
    send(connection, commands.select(INSTANCE).encode().hex())
    return send(connection, f"80B0{identifier:04X}00")


@pytest.mark.parametrize(("link", "blocks"), [(PortConnection, 3), (ShortConnection, 8)])
def test_groupings_reach_the_application_whole_and_decrypted(
    card: Card, link: type[PortConnection], blocks: int
) -> None:
    connection = link(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY)
    install_notebook(session)
    groupings = [
        DataGrouping(0x0101, b"\x11" * 100),
        DataGrouping(0x0102, bytes(range(250)) * 4),
        DataGrouping(0x8000, b"\x33" * 33, encrypted=True),
        DataGrouping(0x8001, b"", encrypted=True),
        DataGrouping(0x9F01, b"end"),
    ]
    assert session.personalize(INSTANCE, groupings) == blocks
    assert application_state(card) == 0x0F
    assert stored(connection, 0x0101) == "11" * 100 + "9000"
    assert stored(connection, 0x0102)[:20] == bytes(range(10)).hex().upper()
    assert stored(connection, 0x8000) == "33" * 33 + "9000"
    assert stored(connection, 0x8001) == "9000"
    assert stored(connection, 0x9F01) == b"end".hex().upper() + "9000"


def test_several_encrypted_groupings_over_two_commands(session: SecureSession, connection: PortConnection) -> None:
    install_notebook(session)
    session.personalize(INSTANCE, [DataGrouping(0x8000 + n, bytes((n,)) * 130, encrypted=True) for n in range(3)])
    assert stored(connection, 0x8002) == "02" * 130 + "9000"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("80E208010400010111", 0x6A86),
        ("80E218000400010111", 0x6A86),
        ("80E228000400010111", 0x6A86),
        ("80E248000400010111", 0x6A86),
        ("80E20A000400010111", 0x6A86),
        ("80E28800", 0x6A80),
        ("80E28800030001FF", 0x6A80),
        ("80E288000300010A", 0x6A80),
        ("80E268000400010111", 0x6A80),
        ("80E26800130001" + "10" + "00" * 16, 0x6A80),
        ("80E20800" + "0700010111BAD000", 0x6A80),
    ],
)
def test_store_data_refuses_and_may_be_sent_again(
    open_target: SecureSession, connection: PortConnection, card: Card, command: str, sw: int
) -> None:
    assert status(open_target, command) == sw
    assert application_state(card) == 0x07
    assert status(open_target, "80E288000400010122") == SW.OK
    assert stored(connection, 0x0001) == "229000"


def test_a_grouping_does_not_go_on_with_another_encryption(open_target: SecureSession) -> None:
    assert status(open_target, "80E2080004000102AA") == SW.OK
    assert status(open_target, "80E2680110" + "00" * 16) == SW.WRONG_DATA
    assert status(open_target, "80E2880101BB") == SW.OK


def test_a_grouping_that_never_ends(open_target: SecureSession) -> None:
    assert status(open_target, "80E20800EF0001FFFFFF" + "00" * 234) == SW.OK
    answers = [status(open_target, f"80E208{block:02X}EF" + "00" * 239) for block in range(1, 19)]
    assert answers[:16] == [SW.OK] * 16  # 239 × 17 = 4063 bytes are kept
    assert answers[16] == SW.NOT_ENOUGH_MEMORY


def test_after_the_last_block_data_is_not_for_the_application(open_target: SecureSession) -> None:
    assert status(open_target, "80E288000400010111") == SW.OK
    assert status(open_target, "80E288010400020111") == SW.INCORRECT_P1_P2


def test_the_target_does_not_outlive_the_session(open_target: SecureSession, connection: PortConnection) -> None:
    session = SecureSession.open(connection, FACTORY, aid=None)
    assert status(session, "80E288000400010111") == SW.WRONG_DATA


def test_deleting_another_application_leaves_the_target(open_target: SecureSession, connection: PortConnection) -> None:
    """11.5.2.3.6: it ends with its last block, with the session, with another INSTALL, or with the application."""
    other = INSTANCE + b"\x01"
    open_target.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=other)
    open_target.transmit(commands.install_for_personalization(INSTANCE))
    assert status(open_target, "80E208000400010111") == SW.OK
    open_target.delete(other)
    assert status(open_target, "80E288010400020122") == SW.OK
    assert stored(connection, 1) == "119000"
    assert stored(connection, 2) == "229000"


def test_the_target_is_gone_with_its_application(open_target: SecureSession) -> None:
    open_target.delete(INSTANCE)
    assert status(open_target, "80E288000400010111") == SW.WRONG_DATA


def test_an_interrupted_personalization_is_taken_up_again(
    open_target: SecureSession, connection: PortConnection
) -> None:
    assert status(open_target, "80E208000400010111") == SW.OK
    connection.power_off()
    connection.power_on()
    session = SecureSession.open(connection, FACTORY)
    session.personalize(INSTANCE, [DataGrouping(2, b"\x22")])
    assert stored(connection, 1) == "119000"
    assert stored(connection, 2) == "229000"


def test_another_application_under_the_same_number_is_not_the_target(
    open_target: SecureSession, connection: PortConnection, card: Card
) -> None:
    send(connection, "0070000100")
    session = SecureSession.open(connection, FACTORY)
    session.transmit(commands.install_for_personalization(INSTANCE))
    old = card.platform.registry.by_aid(INSTANCE)
    assert old is not None
    card.platform.remove(old)
    card.platform.install(
        package_aid=PACKAGE, module_aid=MODULE, aid=MODULE, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    new = card.platform.registry.by_aid(MODULE)
    assert new is not None
    assert new.owner == old.owner
    assert status(session, "80E288000400010111") == SW.REFERENCE_DATA_NOT_FOUND


def test_a_locked_application_takes_no_data(open_target: SecureSession) -> None:
    open_target.set_application_state(INSTANCE, 0x80)
    assert status(open_target, "80E288000400010111") == SW.CONDITIONS_NOT_SATISFIED
    assert status(open_target, "80E62000" + lv(b"", b"", INSTANCE, b"", b"", b"")) == SW.CONDITIONS_NOT_SATISFIED


# ---- SET STATUS, GET STATUS (11.4, 11.10)


@pytest.mark.parametrize("old", list(CardLifeCycle))
@pytest.mark.parametrize("new", list(CardLifeCycle))
def test_card_transitions(old: CardLifeCycle, new: CardLifeCycle) -> None:
    card = boot(issuer_image())
    connection = PortConnection(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY)
    with card.platform.store.transaction():
        card.platform.registry.set_card_life_cycle(old)
    allowed = (old, new) in CARD_TRANSITIONS
    assert status(session, f"80F080{new:02X}") == (SW.OK if allowed else SW.CONDITIONS_NOT_SATISFIED)
    assert card.platform.registry.card_life_cycle == (new if allowed else old)


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("80F0800E", 0x6A80),
        ("80F0200F", 0x6A86),
        ("80F0C00F", 0x6A86),
        ("80F0608008" + DOMAIN.hex(), 0x6985),
        ("80F0600F", 0x6A88),
        ("80F0408008" + INSTANCE.hex(), 0x6A88),
        ("80F0408008" + DOMAIN.hex(), 0x6985),
        ("80F04080", 0x6A88),
    ],
)
def test_set_status_refuses(session: SecureSession, command: str, sw: int) -> None:
    assert status(session, command) == sw


def test_a_locked_card(session: SecureSession, connection: PortConnection) -> None:
    """Table 5-1: a locked card authenticates, tells and unlocks; nothing else."""
    install_notebook(session)
    session.set_card_state(CardState.SECURED)
    session.set_card_state(CardState.CARD_LOCKED)
    assert status(session, "80E400000A4F08" + INSTANCE.hex()) == SW.CONDITIONS_NOT_SATISFIED
    assert status(session, "80F0408008" + INSTANCE.hex()) == SW.CONDITIONS_NOT_SATISFIED
    assert send(connection, commands.select(INSTANCE).encode().hex())[-4:] == "6A82"
    connection.reset()
    session = SecureSession.open(connection, FACTORY)
    session.set_card_state(CardState.SECURED)
    assert send(connection, commands.select(INSTANCE).encode().hex()) == "6F009000"


def test_application_is_locked_and_unlocked(session: SecureSession, connection: PortConnection, card: Card) -> None:
    install_notebook(session)
    session.personalize(INSTANCE, [DataGrouping(1, b"\x01")])
    session.set_application_state(INSTANCE, 0x80)
    assert application_state(card) == 0x8F
    assert status(session, "80F0408008" + INSTANCE.hex()) == SW.CONDITIONS_NOT_SATISFIED
    assert send(connection, commands.select(INSTANCE).encode().hex()) == "6A82"
    session = SecureSession.open(connection, FACTORY)
    session.set_application_state(INSTANCE, 0x0F)
    assert application_state(card) == 0x0F
    assert send(connection, commands.select(INSTANCE).encode().hex()) == "6F009000"


def test_an_application_that_is_locked_stays_selected_where_it_is(
    session: SecureSession, connection: PortConnection, card: Card
) -> None:
    """9.6.2: to the end of its session on that channel; after that it is selected nowhere, until it is unlocked."""
    install_notebook(session)
    session.personalize(INSTANCE, [DataGrouping(1, b"\x01")])
    select = "01" + commands.select(INSTANCE).encode().hex()[2:]
    assert send(connection, "0070000001") == "019000"
    assert send(connection, select) == "6F009000"
    session.set_application_state(INSTANCE, 0x80)
    assert application_state(card) == 0x8F
    assert send(connection, "81B0000100") == "019000"
    assert send(connection, "0070800100") == "9000"
    assert send(connection, "0070000001") == "019000"
    assert send(connection, select) == "6A82"
    session.set_application_state(INSTANCE, 0x0F)
    assert send(connection, select) == "6F009000"


def test_a_card_that_is_locked_ends_sessions_at_once(session: SecureSession, connection: PortConnection) -> None:
    """Other than 9.6.3 lets it: nothing runs on a locked card but the session that locked it."""
    install_notebook(session)
    session.personalize(INSTANCE, [DataGrouping(1, b"\x01")])
    session.set_card_state(CardState.SECURED)
    assert send(connection, "0070000001") == "019000"
    assert send(connection, "01" + commands.select(INSTANCE).encode().hex()[2:]) == "6F009000"
    assert send(connection, "81B0000100") == "019000"
    session.set_card_state(CardState.CARD_LOCKED)
    assert send(connection, "81B0000100") == "6D00"


def test_get_status_of_everything(session: SecureSession) -> None:
    install_notebook(session)
    (domain,) = session.get_status(StatusScope.ISSUER_DOMAIN)
    assert (domain.aid, domain.life_cycle) == (DOMAIN, CardLifeCycle.INITIALIZED)
    (application,) = session.get_status(StatusScope.APPLICATIONS)
    assert application[:6] == (INSTANCE, 0x07, bytes(3), PACKAGE, DOMAIN, ())
    packages = session.get_status(StatusScope.PACKAGES_AND_MODULES)
    assert [(entry.aid, entry.modules) for entry in packages][1] == (PACKAGE, (MODULE,))
    assert [entry.aid for entry in session.get_status(StatusScope.PACKAGES)] == [entry.aid for entry in packages]


def test_get_status_goes_on(session: SecureSession) -> None:
    aids = [MODULE + bytes((number,)) for number in range(20)]
    for aid in aids:
        session.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=aid)
    first = session.transmit(commands.get_status(StatusScope.APPLICATIONS), accept=ANY_STATUS)
    assert first.sw == SW.MORE_DATA_FOLLOWS
    assert len(first.data) <= 239
    assert [entry.aid for entry in session.get_status(StatusScope.APPLICATIONS)] == aids
    assert [entry.aid for entry in session.get_status(StatusScope.APPLICATIONS, MODULE + b"\x05")] == [aids[5]]


def test_get_status_with_a_tag_list(session: SecureSession) -> None:
    answer = session.transmit(CommandApdu.parse(bytes.fromhex("80F28002074F005C039F70C5"))).data
    assert answer.hex() == "e3134f08a0000001510000009f700107c503" + answer[-3:].hex()
    answer = session.transmit(CommandApdu.parse(bytes.fromhex("80F28002064F005C029F70"))).data
    assert answer.hex() == "e30e4f08a0000001510000009f700107"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("80F28004024F0000", 0x6A86),
        ("80F28006024F0000", 0x6A86),
        ("80F21102024F0000", 0x6A86),
        ("80F24002024F0000", 0x6A88),
        ("80F24002034F01FF00", 0x6A88),
        ("80F28003024F0000", 0x6985),
        ("80F2800200", 0x6A80),
        ("80F28002014F00", 0x6A80),
        ("80F28002025C0000", 0x6A80),
        ("80F28002054F005C019F00", 0x6A80),
    ],
)
def test_get_status_refuses(session: SecureSession, command: str, sw: int) -> None:
    assert status(session, command) == sw


@settings(max_examples=200, deadline=None)
@given(
    ins=st.sampled_from([0x50, 0x82, 0xCA, 0xD8, 0xE2, 0xE4, 0xE6, 0xE8, 0xF0, 0xF2]),
    p1=st.sampled_from([0x00, 0x01, 0x08, 0x0C, 0x20, 0x40, 0x80, 0x88, 0xE8, 0xFF]),
    p2=st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x0F, 0x80, 0x81]),
    data=st.one_of(
        st.binary(max_size=239),
        st.lists(st.sampled_from([PACKAGE, MODULE, INSTANCE, b"", b"\x00", b"\xc9\x00"]), max_size=7).map(
            lambda fields: b"".join(bytes((len(field),)) + field for field in fields)
        ),
        st.sampled_from([b"\x4f\x00", b"\x4f\x08" + INSTANCE, b"\x4f\x08" + DOMAIN, b"\x00\x01\x01\x11"]),
    ),
    prepared=st.booleans(),
)
def test_any_data_is_answered(ins: int, p1: int, p2: int, data: bytes, *, prepared: bool) -> None:
    card = boot(issuer_image())
    connection = PortConnection(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY, level=0x01)
    if prepared:
        install_notebook(session)
        session.transmit(commands.install_for_personalization(INSTANCE))
    answer = connection.transmit(session._messaging.wrap(CommandApdu(0x80, ins, p1, p2, data)))
    assert answer[-2] in {0x61, 0x62, 0x63, *range(0x67, 0x6F), 0x90}
    assert card.faults == 0


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x4f\x00", bytes(40), b"\xff" * 239])
def test_whatever_comes_under_a_session_is_answered(connection: PortConnection, card: Card, data: bytes) -> None:
    accept = [StatusWord(value) for value in range(0x6200, 0x9001)]
    for ins in range(0x00, 0x100, 2):
        for p1 in (0x00, 0x20, 0x80, 0x88, 0xE8):
            session = SecureSession.open(connection, FACTORY, level=0x01)
            answer = connection.transmit(session._messaging.wrap(CommandApdu(0x80, ins, p1, 0x81, data)))
            assert StatusWord.parse(answer) in accept
    assert card.faults == 0
