"""Traces in words: names of the standards and of the card, secure messaging opened, and nothing trusted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.hardware.image import NvmImage
from permitcard.products import boot, permit_profile
from permitcard.specimen import HOLDER_PIN, make_specimen
from permitcard.testing.laboratory_sam import LaboratorySam
from permitcard.testing.target import Target
from permitcard.trace_names import StoreKeys, card_names
from personalization.globalplatform.commands import StatusScope
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import CardConnection, Interface, Protocol7816
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import standard_stack
from reader_bridge.trace.decode import Decoded, decode
from reader_bridge.trace.record import Entry, Header, Hidden, Kind, Octets, Trace
from reader_bridge.trace.recorder import TraceRecorder
from reader_bridge.trace.text import parse, to_text
from reader_bridge.wired import WiredConnection

PERMIT = "F05A4A4A5A0101"


@pytest.fixture(scope="module")
def snapshot() -> tuple[bytes, Target]:
    card, target = make_specimen()
    with card:
        return card.image.snapshot(), target


@pytest.fixture
def card(snapshot: tuple[bytes, Target]) -> Iterator[SimulatedCard]:
    with SimulatedCard(NvmImage.from_snapshot(snapshot[0]), boot) as card:
        yield card


@pytest.fixture
def target(snapshot: tuple[bytes, Target]) -> Target:
    return snapshot[1]


def listed(*pairs: tuple[str, str]) -> Trace:
    """A trace of these commands and responses."""
    entries = (Entry(Kind.APDU, Octets(bytes.fromhex(a)), Octets(bytes.fromhex(b))) for a, b in pairs)
    return Trace(Header(), tuple(entries))


def one(command: str, response: str) -> Decoded:
    return decode(listed(("00A4040007" + PERMIT, "9000"), (command, response)), card_names())[1]


@pytest.mark.parametrize(
    ("command", "response", "title", "status"),
    [
        ("00A4040007" + PERMIT, "9000", "SELECT Zhejiang residence permit", "9000 done"),
        ("00A4040008A000000151000000", "6A82", "SELECT issuer security domain", "6A82 no such application or file"),
        ("00A404000E325041592E5359532E4444463031", "9000", "SELECT proximity payment system environment", "9000 done"),
        ("00A40000023F00", "9000", "SELECT MF", "9000 done"),
        ("00A4020C020101", "9000", "SELECT EF.IDENTITY", "9000 done"),
        ("00B0810000", "6282", "READ BINARY EF.IDENTITY, offset 0", "6282 end of file reached before Le bytes"),
        ("00B0010400", "6986", "READ BINARY current EF, offset 260", "6986 no current ef"),
        ("00B201FC00", "6A83", "READ RECORD SFI 1F, record 1", "6A83 no such record"),
        ("0020008108" + "00" * 8, "63C2", "VERIFY Holder PIN", "63C2 verification failed, 2 tries left"),
        ("00200081", "63C3", "VERIFY Holder PIN, tries left", "63C3 verification failed, 3 tries left"),
        ("0082008140" + "00" * 64 + "40", "6983", "MUTUAL AUTHENTICATE Inspection terminal", "6983 the key is blocked"),
        ("0082008210" + "00" * 16, "6300", "EXTERNAL AUTHENTICATE Service desk", "6300 the authentication failed"),
        ("00CADF2000", "6A88", "GET DATA DF20 concealed card number", "6A88 reference data not found"),
        ("80CA9F3600", "9F360200019000", "GET DATA 9F36 application transaction counter", "9000 done"),
        ("0070000001", "019000", "MANAGE CHANNEL open", "9000 done"),
        ("01A4040007" + PERMIT, "9000", "SELECT Zhejiang residence permit [channel 1]", "9000 done"),
        ("80F28002024F00", "6310", "GET STATUS issuer security domain", "6310 more entries follow"),
        ("80D80181020101", "9485", "PUT KEY version 01, key 01", "9485 invalid key check value"),
        ("80E60400", "6A88", "INSTALL [for install]", "6A88 load file or module is not on the card"),
        ("80E2800500", "9000", "STORE DATA block 5, last", "9000 done"),
        ("80AE80000100", "9000", "GENERATE AC ARQC", "9000 done"),
        ("002A9E9A0100", "9000", "PERFORM SECURITY OPERATION compute digital signature", "9000 done"),
        ("FFCA000000", "019000", "GET DATA (reader)", "9000 done"),
        ("00F70000", "6D00", "INS F7", "6D00 ins not supported"),
        ("00A404000512", "6700", "SELECT, malformed: Lc does not fit the length of the command", "6700 wrong length"),
        ("00A4", "6700", "no command APDU", "6700 wrong length"),
        ("00B0000005", "6C10", "READ BINARY current EF, offset 0", "6C10 wrong Le, exact length 16"),
    ],
)  # fmt: skip
def test_commands_and_status_words_have_names(command: str, response: str, title: str, status: str) -> None:
    decoded = one(command, response)
    assert (decoded.title, decoded.status) == (title, status)


def test_the_fci_of_a_payment_application_is_a_tree() -> None:
    fci = "6F1C8407A0000003330101A511500A50424F432044454249549F38020102"
    decoded = one("00A4040007A0000003330101", fci + "9000")
    assert decoded.response == (
        "6F file control information",
        "  84 DF name: A0000003330101",
        "  A5 proprietary information",
        '    50 application label: 50424F43204445424954 "PBOC DEBIT"',
        "    9F38 PDOL: 0102",
    )


def test_a_registry_entry_is_named_by_its_own_table() -> None:
    entry = "E3164F08A0000001510000009F70010FC5039EFE80C40102"
    assert one("80F28002024F00", entry + "9000").response == (
        "E3 GlobalPlatform registry data",
        "  4F application identifier: A000000151000000",
        "  9F70 life-cycle state: 0F",
        "  C5 privileges: 9EFE80",
        "  C4 load file of the application: 02",
    )


def test_install_fields_are_named_by_their_purpose() -> None:
    data = "06" + PERMIT[:-2] + "07" + PERMIT + "07" + PERMIT + "0100" + "02C900" + "00"
    decoded = one(f"80E60C00{len(data) // 2:02X}{data}", "9000")
    assert decoded.command[:4] == (
        f"load file: {PERMIT[:-2]}",
        f"module: {PERMIT}",
        f"application: {PERMIT}",
        "privileges: 00",
    )
    assert "  C9 application specific parameters:" in decoded.command[5]
    loaded = one("80E602000B06" + PERMIT[:-2] + "00000000" + "00", "9000")
    assert loaded.command == (f"load file: {PERMIT[:-2]}",)


def test_groupings_of_store_data_are_named_by_the_profile() -> None:
    decoded = one("80E288000880000101" + "81010133", "9000")
    assert [line.split(":")[0] for line in decoded.command] == ["DGI 8000 Keys", "DGI 8101 Chip private key"] or len(
        decoded.command
    ) == 2


def test_a_response_in_pieces_is_read_as_one() -> None:
    fci = bytes.fromhex("6F0984" + "07" + PERMIT)
    trace = listed(
        ("00A4040007" + PERMIT, "6105"),
        ("00C0000005", fci[:5].hex() + "6106"),
        ("00C0000006", fci[5:].hex() + "9000"),
        ("00B0810000", "9000"),
    )
    decoded = decode(trace, card_names())
    assert [item.title for item in decoded] == [
        "SELECT Zhejiang residence permit",
        "GET RESPONSE, SELECT Zhejiang residence permit",
        "GET RESPONSE, SELECT Zhejiang residence permit",
        "READ BINARY EF.IDENTITY, offset 0",
    ]
    assert decoded[2].response == ("6F file control information", f"  84 DF name: {PERMIT}")


def test_a_chain_of_commands_is_read_as_one() -> None:
    decoded = decode(listed(("10E0000002620A", "9000"), ("00E000000A82020121830201018A00", "6A80")), card_names())
    assert decoded[0].title == "CREATE FILE, more follows"
    assert decoded[1].command == (
        "62 file control parameters",
        "  82 file descriptor: 0121",
        "  83 file identifier: 0101",
        "  8A life-cycle status: empty",
    )


def heard(card: SimulatedCard, use: object, *, hidden: Hidden = Hidden.NOTHING) -> Trace:
    recorder = TraceRecorder(hidden)
    with recorder.watch(card.connect()) as connection:
        assert callable(use)
        use(connection)
    return parse(to_text(recorder.trace()))  # what is decoded went through a file


def test_what_a_terminal_reads_is_opened_with_the_keys_of_its_centre(card: SimulatedCard, target: Target) -> None:
    def inspect(connection: CardConnection) -> None:
        TerminalSession.open(connection, LaboratorySam(target.keys), permit_profile(), "inspection").read("EF.IDENTITY")

    trace = heard(card, inspect, hidden=Hidden.SECRETS | Hidden.CONTENT)
    opened = decode(trace, card_names(), StoreKeys(target.keys))
    read = next(item for item in opened if item.title.startswith("READ BINARY EF.IDENTITY"))
    assert read.protection == "secure messaging, MAC right; response MAC right"
    assert any("Citizen number" in line and "11010519491231002X" in line for line in read.response)
    assert read.plain_command is not None
    assert read.plain_command.startswith(b"\x00\xb0")
    closed = decode(trace, card_names())
    assert not any("11010519491231002X" in line for item in closed for line in item.response)
    assert any(item.protection == "secure messaging, no keys for it; response no keys for it" or
               item.protection.startswith("secure messaging, no keys") for item in closed)  # fmt: skip


def test_a_plain_reading_of_the_holder_shows_the_fields_of_a_file(card: SimulatedCard) -> None:
    def read(connection: CardConnection) -> None:
        session = HolderSession.open(connection, permit_profile())
        session.verify(HOLDER_PIN)
        session.read("EF.STATUS")

    decoded = decode(heard(card, read), card_names())
    status = next(item for item in decoded if item.title.startswith("READ BINARY EF.STATUS"))
    assert 'Next endorsement due: 3230323730313031 "20270101"' in status.response
    hidden = decode(heard(card, read, hidden=Hidden.SECRETS | Hidden.CONTENT), card_names())
    assert next(item for item in hidden if "EF.STATUS" in item.title).response == ("hidden",)


@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x11, 0x13, 0x33])
def test_a_session_of_the_issuer_is_opened_at_every_level(card: SimulatedCard, target: Target, level: int) -> None:
    keys = issuer_domain_keys(target.keys, KeyName.CARD, target.card_number)

    def administer(connection: CardConnection) -> None:
        session = SecureSession.open(connection, keys, level=level)
        session.get_status(StatusScope.ISSUER_DOMAIN)
        session.put_keys(keys, replace=keys.version)

    decoded = decode(heard(card, administer), card_names(), StoreKeys(target.keys))
    begun = next(item for item in decoded if item.title.startswith("INITIALIZE UPDATE"))
    assert "keys known" in begun.response
    secured = [item for item in decoded if item.entry.sent.data[:1] == b"\x84"]
    assert len(secured) >= (3 if level else 1)
    assert {item.protection for item in secured[1:]} <= {
        "SCP03, MAC right; response no MAC",
        "SCP03, MAC right; response MAC right",
    }
    listing = next(item for item in decoded if item.title.startswith("GET STATUS") and item.response)
    assert any("application identifier" in line for line in listing.response)


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        (Protocol7816.T0, ["PPS T=0, PPS1 96", "header or data", "procedure byte", "data", "status"]),
        (Protocol7816.T1, ["PPS T=1, PPS1 96", "S(IFS_REQUEST,254)", "S(IFS_RESPONSE,254)", "I(0,0)", "I(1,0)"]),
        (
            Protocol7816.TCL,
            ["REQA", "ATQA", "ANTICOLLISION", "UID, BCC", "SELECT", "SAK, ISO/IEC 14443-4", "RATS", "ATS", "I(0)1"],
        ),
    ],
)  # fmt: skip
def test_what_went_over_the_line_has_the_names_of_its_standard(
    card: SimulatedCard, protocol: Protocol7816, names: list[str]
) -> None:
    recorder = TraceRecorder(Hidden.NOTHING)
    contactless = protocol is Protocol7816.TCL
    line = WiredConnection(
        card.card.contactless if contactless else card.card.contact,
        Interface.CONTACTLESS if contactless else Interface.CONTACT,
        protocol=protocol,
        disturbance=recorder.disturbance(),
        watch=recorder.line_seen,
    )
    with recorder.watch(standard_stack(recorder.watch(line, Kind.TPDU))) as connection:
        connection.transmit(bytes.fromhex("00A4040007" + PERMIT + "00"))
        connection.transmit(bytes.fromhex("0084000010"))
    titles = [item.title for item in decode(recorder.trace(), card_names())]
    assert [name for name in names if name not in titles] == []
    assert "no valid block" not in titles
    assert "no valid frame" not in titles


def test_with_two_levels_each_command_counts_once(card: SimulatedCard, target: Target) -> None:
    keys = issuer_domain_keys(target.keys, KeyName.CARD, target.card_number)
    recorder = TraceRecorder(Hidden.NOTHING)
    with recorder.watch(standard_stack(recorder.watch(card.connect(), Kind.TPDU))) as connection:
        SecureSession.open(connection, keys).get_status(StatusScope.ISSUER_DOMAIN)
    decoded = decode(recorder.trace(), card_names(), StoreKeys(target.keys))
    assert not any("WRONG" in item.protection or "wrong" in item.protection for item in decoded)


raw = st.binary(max_size=40)
any_entry = st.builds(
    lambda kind, sent, received: Entry(kind, Octets(sent or b"\x00"), Octets(received + b"\x90\x00")),
    st.sampled_from((Kind.APDU, Kind.TPDU, Kind.TO_CARD, Kind.TO_READER)),
    st.builds(
        lambda cla, ins, rest: bytes((cla, ins)) + rest,
        st.sampled_from((0x00, 0x0C, 0x10, 0x80, 0x84, 0xFF, 0x40)),
        st.sampled_from((0xA4, 0xB0, 0xC0, 0x50, 0x82, 0xE6, 0xE2, 0xF2, 0xCA, 0x20)),
        raw,
    )
    | raw,
    raw,
)


@settings(deadline=None)
@given(st.lists(any_entry, max_size=8), st.sampled_from(Protocol7816))
def test_any_bytes_are_decoded_to_something(entries: list[Entry], protocol: Protocol7816) -> None:
    decoded = decode(Trace(Header(protocol=protocol), tuple(entries)), card_names())
    assert len(decoded) == len(entries)
    assert all(item.title for item in decoded)
