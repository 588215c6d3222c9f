"""Reading along secure channels and secure messaging with keys: published sessions, and our own hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from reader_bridge.connection import ReaderError
from reader_bridge.trace.keys import ChannelKeys, FileKeys, MessagingKeys
from reader_bridge.trace.messaging import MessagingReader, session_of_mutual
from reader_bridge.trace.opening import Opener
from reader_bridge.trace.secure_channel import ChannelReader, MacCheck, begin

SYSMO_AES = {
    size: ChannelKeys(
        bytes.fromhex("000102030405060708090a0b0c0d0e0f" * 2)[:size],
        bytes.fromhex("101112131415161718191a1b1c1d1e1f" * 2)[:size],
    )
    for size in (16, 24, 32)
}
"""Test keys of sysmocom's cards."""

PLAIN = ("80F22002", "80CA006600", "80F220020A4F0212345C054F9F70C5", "80F28002024F0000")
GET_EID = "80E2910006BF3E035C015A00"
EID = "BF3E125A1089882119900000000000000000000005"

Session = tuple[int, int, str, str, str, str, str, tuple[str, ...]]

SCP03: list[Session] = [
    (16, 0x11, "B13E5F938FC108C4", "000000000000000000003003703EB51047495B249F66C484C1D2EF1948000002",
     "84821100107D5F5826A993EBC89EEA24957FA0B3CE", "84E291000EBF3E035C015A558D036518A2829700",
     "BF3E125A1089882119900000000000000000000005971BE68992DBBDFA",
     ("84F220020863A63F8959827FB2", "84CA006608A0C6A4A74166F7CE00",
      "84F22002124F0212345C054F9F70C52249B50272656536", "84F280020A4F00E91443F6DCE6B8ED00")),
    (16, 0x03, "8E1552D0513C60F3", "0000000000000000000030037030760CD2C47C1DD395065FE5EAD8A9D7000001",
     "8482030010FD4721A14D9B07003C451D2F8AE6BB21", "84E2910018CA9C00F6713D79BC8BAA642BDFF51C3F6A4082D3BD9AD26C00", EID,
     ("84F2200208C9811B11F1264CF1", "84CA006608E10AB60B3054798800",
      "84F22002184E2908BDB48B2315A55482E9E936CA122D6ECFAE7D17416E",
      "84F28002180DD10A6B6193E5340B9E77D32D5A179CD710AC2773AEFB2800")),
    (16, 0x33, "FDF38259A1E0DE44", "000000000000000000003003703B1ACA81E821F219081CDC01C26B372D000003",
     "84823300108C36F96BCC00724A4E13AD591D7DA3F0", "84E2910018267A85DFE4A98FCA6FB0527E0DFECCE4914E40401433C87F00",
     "F3BA2B1013AA6224F5E1C138D71805C569E5439B47576260B75FC021B25097CB2E68F8A0144975B9",
     ("84F2200208AC6A59024BED84CC", "84CA006608409912AD8FB7AED000",
      "84F22002185F3DAFC3AC14C381536A488BF44E06D056DF9D74DBD21E5A",
      "84F280021865165105BE3373347D0424D4400AF2AC393F569EC779389E00")),
    (24, 0x33, "9B3F2EEF0E8C9374", "00000000000000000000310370F6BB305A15BAE1A68F79FB08212FBED7000002",
     "84823300109100BC22D58B45B86A26365CE39FF3CF", "84E29100188F7F946C84F70D17994BC6E8791251BB1BB1BF02CF8DE58900",
     "C05176C1B6F72AAE50C32CBEE63B0E95998928FD4DFB2BE9F27FFDE8C8476F5909B4805CC4039599",
     ("84F2200208D5D97754B6B3D2BA", "84CA006608516C82B8E30ADBEB00",
      "84F2200218CC247F4761E6944277A4E0D6E32E44025B1E31537E2FC668",
      "84F2800218BA22B63D509BEF5D093B43E5EAED03ED23144AB2D9CB51DE00")),
    (32, 0x33, "97B2055FE58599FD", "00000000000000000000320370A8439A22CEDF045FA9F1903B2834F26E000002",
     "8482330010508A0FD959D2E547C6B33154A6BE2057", "84E29100187A5EF717EAF1E135AE92FE54429D0E465DECDA65F5FE5AEA00",
     "EA90DBFA648A67C5EB6ABC57F8530B97D0CD5647C5E8732016B55203B078DD2ACE7F8BC5D1C1CD99",
     ("84F2200208BCC5C17275545D93", "84CA00660804806ABA9D543BB600",
      "84F2200218717222491556EC81A45F49CE48BE33320024801A1C4CB0E0",
      "84F2800218561F105BCCD3A1642904B251CCC1228BEB80A82370A8637000")),
]  # fmt: skip
"""Sessions with real cards, published as test data of pySim (osmocom/pysim, tests/unittests/test_globalplatform.py).

Key length, level, host challenge, answer to INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, STORE DATA and its response, then
four commands that follow.
"""

SCP02_KEYS = ChannelKeys(
    bytes.fromhex("100102030405060708090a0b0c0d0e0f"), bytes.fromhex("101102030405060708090a0b0c0d0e0f")
)
SCP02_CHALLENGE = bytes.fromhex("40A62C37FA6304F8")
SCP02_ANSWER = bytes.fromhex("00000000000000000000700200016B4524ABEE7CF32EA3838BC148F3")
SCP02_COMMANDS = (
    "84F220020814DB34FA4341DCA8",
    "84CA00660855ED7C5FF069512B00",
    "84F22002124F0212345C054F9F70C58FC1B380C4228AF8",
    "84F280020A4F003B95F09317DE6A4E00",
)
"""The session of the same source with an SCP02 card, i = 15: the initial vector of each MAC is encrypted."""


def parse(text: str) -> CommandApdu:
    return CommandApdu.parse(bytes.fromhex(text))


def plain(text: str) -> CommandApdu:
    return parse(text)


def begun(keys: ChannelKeys, challenge: bytes, answer: bytes) -> ChannelReader:
    reader = begin(keys, challenge, answer)
    assert reader is not None
    return reader


@pytest.mark.clause("GlobalPlatform SCP03 1.1.1, 6 and 7")
@pytest.mark.parametrize("session", SCP03, ids=lambda session: f"AES-{8 * session[0]} level {session[1]:02X}")
def test_sessions_of_real_cards_open_by_scp03(session: Session) -> None:
    size, level, challenge, answer, authenticate, store, response, commands = session
    reader = begun(SYSMO_AES[size], bytes.fromhex(challenge), bytes.fromhex(answer))
    assert reader.name == "SCP03"
    assert reader.authenticate(parse(authenticate)) is MacCheck.RIGHT
    opened = reader.open_command(parse(store), hidden=False)
    assert (opened.command, opened.mac) == (plain(GET_EID), MacCheck.RIGHT)
    answered = reader.open_response(ResponseApdu.parse(bytes.fromhex(response + "9000")), hidden=False)
    assert answered.response.data == bytes.fromhex(EID)
    assert answered.mac is (MacCheck.RIGHT if level & 0x10 else MacCheck.NONE)
    for wrapped, expected in zip(commands, PLAIN, strict=True):
        opened = reader.open_command(parse(wrapped), hidden=False)
        assert opened.mac is MacCheck.RIGHT
        assert opened.command == plain(expected)


@pytest.mark.clause("GlobalPlatform Card Specification 2.3.1, E")
def test_a_session_of_a_real_card_opens_by_scp02() -> None:
    reader = begun(SCP02_KEYS, SCP02_CHALLENGE, SCP02_ANSWER)
    assert reader.name == "SCP02"
    assert reader.authenticate(parse("8482010010BA6961667737C5BCEBECE14C7D6A4376")) is MacCheck.RIGHT
    for wrapped, expected in zip(SCP02_COMMANDS, PLAIN, strict=True):
        opened = reader.open_command(parse(wrapped), hidden=False)
        assert opened.mac is MacCheck.RIGHT
        assert opened.command == plain(expected)


@pytest.mark.parametrize("at", range(1, 4))
def test_a_damaged_command_of_scp02_is_said(at: int) -> None:
    reader = begun(SCP02_KEYS, SCP02_CHALLENGE, SCP02_ANSWER)
    reader.authenticate(parse("8482010010BA6961667737C5BCEBECE14C7D6A4376"))
    raw = bytearray.fromhex(SCP02_COMMANDS[2])
    for wrapped in SCP02_COMMANDS[:2]:
        reader.open_command(parse(wrapped), hidden=False)
    raw[at] ^= 1
    assert reader.open_command(CommandApdu.parse(bytes(raw)), hidden=False).mac is MacCheck.WRONG


def test_other_keys_open_nothing() -> None:
    _, _, challenge, answer, *_ = SCP03[0]
    wrong = ChannelKeys(bytes(16), bytes(16))
    assert begin(wrong, bytes.fromhex(challenge), bytes.fromhex(answer)) is None
    assert begin(wrong, SCP02_CHALLENGE, SCP02_ANSWER) is None
    assert begin(ChannelKeys(bytes(32), bytes(32)), SCP02_CHALLENGE, SCP02_ANSWER) is None
    assert begin(wrong, b"", b"") is None
    assert begin(wrong, b"", bytes(10) + b"\x01\x09\x00") is None


@pytest.mark.parametrize("at", range(5, 14))
def test_each_damaged_byte_of_external_authenticate_is_found(at: int) -> None:
    size, _, challenge, answer, authenticate, *_ = SCP03[2]
    reader = begun(SYSMO_AES[size], bytes.fromhex(challenge), bytes.fromhex(answer))
    raw = bytearray.fromhex(authenticate)
    raw[at] ^= 1
    assert reader.authenticate(CommandApdu.parse(bytes(raw))) is MacCheck.WRONG


def test_after_a_hidden_command_macs_cannot_be_checked_but_data_still_open() -> None:
    size, _, challenge, answer, authenticate, store, _, commands = SCP03[2]
    reader = begun(SYSMO_AES[size], bytes.fromhex(challenge), bytes.fromhex(answer))
    reader.authenticate(parse(authenticate))
    assert reader.open_command(parse(store), hidden=True).mac is MacCheck.UNKNOWN
    for wrapped, expected in zip(commands, PLAIN, strict=True):
        opened = reader.open_command(parse(wrapped), hidden=False)
        assert (opened.command, opened.mac) == (plain(expected), MacCheck.UNKNOWN)


def test_what_cannot_be_of_the_session_is_refused() -> None:
    size, _, challenge, answer, authenticate, *_ = SCP03[2]
    reader = begun(SYSMO_AES[size], bytes.fromhex(challenge), bytes.fromhex(answer))
    reader.authenticate(parse(authenticate))
    with pytest.raises(ValueError, match="MAC is missing"):
        reader.open_command(parse("84E29100020102"), hidden=False)
    with pytest.raises(ValueError, match="not whole blocks"):
        reader.open_command(parse("84E2910009010203040506070809"), hidden=False)
    with pytest.raises(ValueError, match="response MAC is missing"):
        reader.open_response(ResponseApdu.parse(b"\x01\x90\x00"), hidden=False)


ICAO = MessagingKeys(
    bytes.fromhex("979EC13B1CBFE9DCD01AB0FED307EAE5"),
    bytes.fromhex("F1CB1F1FB5ADF208806B89DC579DC1F8"),
    int("887022120C06C226", 16),
    tdes=True,
)
ICAO_SESSION = [
    ("0CA4020C158709016375432908C044F68E08BF8B92D635FF24F800", "00A4020C02011E",
     "990290008E08FA855A5D4C50A8ED9000", ""),
    ("0CB000000D9701048E08ED6705417E96BA5500", "00B0000004",
     "8709019FF0EC34F9922651990290008E08AD55CC17140B2DED9000", "60145F01"),
    ("0CB000040D9701128E082EA28A70F3C7B53500", "00B0000412",
     "871901FB9235F4E4037F2327DCC8964F1F9B8C30F42C8E2FFF224A990290008E08C8B2787EAEA07D749000",
     "04303130365F36063034303030305C026175"),
]  # fmt: skip


@pytest.mark.clause("ICAO Doc 9303-11, appendix D.4")
def test_the_worked_example_of_doc_9303_opens() -> None:
    reader = MessagingReader(ICAO)
    for command, expected, response, data in ICAO_SESSION:
        opened = reader.open_command(parse(command), hidden=False)
        assert (opened.command, opened.mac) == (parse(expected), MacCheck.RIGHT)
        answered = reader.open_response(ResponseApdu.parse(bytes.fromhex(response)), hidden=False)
        assert (answered.response.data.hex().upper(), answered.mac) == (data, MacCheck.RIGHT)


def test_a_command_of_the_example_out_of_turn_has_a_wrong_mac() -> None:
    reader = MessagingReader(ICAO)
    assert reader.open_command(parse(ICAO_SESSION[1][0]), hidden=False).mac is MacCheck.WRONG
    with pytest.raises(ValueError, match="no secure messaging objects"):
        reader.open_command(parse("0CA4020C0187"), hidden=False)


def test_a_mutual_authentication_with_another_key_gives_no_session() -> None:
    with pytest.raises(ValueError, match="another key"):
        session_of_mutual(bytes(32), 0x81, bytes(16), bytes(64), bytes(64))
    with pytest.raises(ValueError, match="no mutual authentication"):
        session_of_mutual(bytes(32), 0x81, bytes(16), bytes(10), bytes(64))


def test_sessions_of_a_file_are_used_in_their_order() -> None:
    opener = Opener(FileKeys(sessions=(ICAO, ICAO)))
    for _ in range(2):
        command = parse(ICAO_SESSION[0][0])
        opened, protection = opener.command(command, hidden=False)
        assert (opened, str(protection)) == (parse("00A4020C02011E"), "secure messaging, MAC right")
        opener.command(parse("00A4040000"), hidden=False)
    _, protection = opener.command(parse(ICAO_SESSION[0][0]), hidden=False)
    assert str(protection) == "secure messaging, no keys for it"


def test_a_file_of_keys_is_read_and_shows_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[[secure-channel]]\nversion = "01"\nenc = "{"40" * 16}"\nmac = "{"40" * 16}"\n'
        f'[[role]]\nreference = "81"\nkey = "{"AB" * 32}"\n'
        f'[[session]]\ncipher = "3des"\nenc = "{"11" * 16}"\nmac = "{"22" * 16}"\ncounter = "00000000000000FF"\n',
        encoding="utf-8",
    )
    keys = FileKeys.load(path)
    assert [row.version for row in keys.channel(1, bytes(10))] == [1]
    assert keys.channel(2, bytes(10)) == ()
    assert keys.role(0x81) == b"\xab" * 32
    assert keys.session(0) == MessagingKeys(b"\x11" * 16, b"\x22" * 16, 0xFF, tdes=True)
    assert keys.session(1) is None
    shown = repr(keys) + repr(keys.channels) + repr(keys.sessions)
    assert "40" * 2 not in shown
    assert "@A" not in shown
    assert "xab" not in shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[keys]]\n", "none of"),
        ("nonsense", "no TOML"),
        ('[[role]]\nreference = "81"\n', "key is missing"),
        ('[[role]]\nreference = "81"\nkey = "12"\n', "key has 32 bytes"),
        ('[[role]]\nreference = "81"\nkey = "xy"\n', "key is not hexadecimal"),
        ('[[role]]\nreference = "81"\ncolour = "12"\n', "says nothing"),
        ("role = 5\n", "list of tables"),
        ('[[session]]\ncipher = "rot13"\n', "cipher is"),
    ],
)
def test_a_wrong_file_of_keys_is_told_without_its_values(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReaderError, match="trace-keys-invalid") as caught:
        FileKeys.load(path)
    assert reason in str(caught.value)
    assert "12" not in str(caught.value.parameters["reason"])


def test_a_missing_file_of_keys_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="trace-keys-unreadable"):
        FileKeys.load(tmp_path / "none.toml")
