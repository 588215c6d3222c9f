"""What GlobalPlatform programs send, byte by byte, to the card that ``card new --profile test-keys`` makes.

The sequences are those of GlobalPlatformPro as its source shows them: SELECT without a name, GET
DATA before any authentication, INITIALIZE UPDATE with Le, GET STATUS in all scopes, CAP files in the order of their
components, privileges of one byte and of three.
"""

from __future__ import annotations

import hashlib

import pytest

from card_os.card import Card
from card_os.globalplatform.card_profile import load_profile
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.manufacture import manufacture_profile
from card_os.transport.events import Command
from card_os.transport.t0_card import T0Card
from personalization.globalplatform import commands
from personalization.globalplatform.aes_messaging import SecureMessaging
from personalization.globalplatform.scp03 import (
    StaticKeys,
    derive_session_keys,
    host_cryptogram,
    parse_initialize_update,
)
from tests.doubles.issuer_card import NotebookApplet, PortConnection, boot, issuer_image
from tests.doubles.load_files import cap_components

TEST_KEY = bytes(range(0x40, 0x50))
KEYS = StaticKeys(1, TEST_KEY, TEST_KEY, TEST_KEY)
PACKAGE = bytes.fromhex("D27600012401")
APPLET = PACKAGE + b"\x01"
FCI = "6F108408A000000151000000A5049F6501FF"
SSD = bytes.fromhex("A00000015153504101")


@pytest.fixture
def connection() -> PortConnection:
    image = NvmImage.create()
    manufacture_profile(image.nvm(), load_profile("test-keys"), 7)
    card = Card(image.nvm(), [NotebookApplet], randomness=SeededRandomness(3))
    connection = PortConnection(card.contact)
    connection.power_on()
    return connection


def send(connection: PortConnection, text: str) -> str:
    return connection.transmit(bytes.fromhex(text)).hex().upper()


class Program:
    """A host that opens a session in its own way and wraps commands as they are given."""

    def __init__(self, connection: PortConnection, *, level: int = 0x01, with_le: bool = False) -> None:
        self.connection = connection
        challenge = bytes(range(8))
        answer = connection.transmit(bytes.fromhex("8050000008") + challenge + b"\x00")
        assert answer[-2:] == b"\x90\x00"
        card = parse_initialize_update(answer[:-2])
        session = derive_session_keys(KEYS, challenge, card.challenge)
        self.messaging = SecureMessaging(session, level)
        command = self.messaging.external_authenticate(host_cryptogram(session, challenge, card.challenge))
        assert connection.transmit(command + (b"\x00" if with_le else b"")) == b"\x90\x00"

    def send(self, text: str) -> str:
        command = CommandApdu.parse(bytes.fromhex(text))
        answer = self.connection.transmit(self.messaging.wrap(command))
        return self.messaging.unwrap(answer).encode().hex().upper() if answer[:-2] else answer.hex().upper()


# ---- before authentication


@pytest.mark.parametrize("select", ["00A4040000", "00A4040008A00000015100000000", "00A4040007A0000001510000" + "00"])
def test_select_the_issuer_domain(connection: PortConnection, select: str) -> None:
    """Without a name and Le 00, with the name, and with the beginning of the name."""
    assert send(connection, select) == FCI + "9000"


def test_select_without_le(connection: PortConnection) -> None:
    """GPShell sends it so over T=1; where the issuer's policy is another, the command is told how much there is."""
    assert send(connection, "00A4040008A000000151000000") == FCI + "9000"
    assert send(connection, "80CA9F7F") == send(connection, "80CA9F7F00")
    other = PortConnection(boot(issuer_image()).contact)
    other.power_on()
    assert send(other, "00A4040008A000000151000000") == "6112"
    assert send(other, "00C0000012") == FCI + "9000"


def test_over_the_line_of_t_0_an_answer_is_announced(connection: PortConnection) -> None:
    """ISO/IEC 7816-3:2006, 12.2.5: a command with data has its answer by GET RESPONSE, whatever the policy."""
    card = T0Card()
    card.receive(bytes.fromhex("00A4040008"))
    event = card.receive(bytes.fromhex("A000000151000000"))
    assert isinstance(event, Command)
    assert card.answer(connection.transmit(event.apdu)).data == bytes.fromhex("6112")


@pytest.mark.parametrize(
    ("command", "head"),
    [
        ("80CA9F7F00", "9F7F2A4A5A0144"),
        ("00CA9F7F00", "4A5A0144"),
        ("80CA004200", "4205"),
        ("80CA004500", "4507"),
        ("80CA006600", "6631732F06072A864886FC6B01600C060A2A864886FC6B02020301"),
        ("80CA006700", "67"),
        ("80CA00E000", "E012C00401018810C00402018810C00403018810"),
        ("80CA00C100", "C103000000"),
        ("80CA00C200", "C2020000"),
        ("80CA004F00", "4F08A000000151000000"),
        ("80CAFF2100", "FF21"),
        ("80CA2F00025C0000", "610A4F08A000000151000000"),
        ("00CB2F00025C0000", "610A4F08A000000151000000"),
    ],
)
def test_get_data_before_authentication(connection: PortConnection, command: str, head: str) -> None:
    answer = send(connection, command)
    assert answer.startswith(head)
    assert answer.endswith("9000")


@pytest.mark.parametrize("command", ["80CA5F5000", "80CA00CF00", "80CA7F2100", "80CADF2A00"])
def test_data_that_the_card_has_not(connection: PortConnection, command: str) -> None:
    assert send(connection, command) == "6A88"


def test_capabilities_are_well_formed(connection: PortConnection) -> None:
    """Table H-5: SCP03 with i = 70 and three key lengths, privileges, hashes, ciphers, signatures."""
    raw = bytes.fromhex(send(connection, "80CA006700"))[:-2]
    values = {item.tag: item.value for item in tlv.parse_one(raw).children()}
    assert values[0xA0].hex() == "8001038101708201" + "07"
    assert set(values) == {0xA0, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87}


@pytest.mark.parametrize("with_le", [False, True])
@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x13, 0x33])
def test_a_session(connection: PortConnection, level: int, *, with_le: bool) -> None:
    """EXTERNAL AUTHENTICATE with and without Le, at every level that programs choose."""
    program = Program(connection, level=level, with_le=with_le)
    assert program.send("80F28002024F0000").endswith("9000")


# ---- list


def test_list_of_an_empty_card(connection: PortConnection) -> None:
    program = Program(connection)
    issuer = "E3134F08A0000001510000009F700101C5039EFE80"
    assert program.send("80F28002024F0000") == issuer + "9000"
    assert program.send("80F24002024F0000") == "6A88"
    packages = program.send("80F21002024F0000")
    assert packages.startswith("E3")
    assert "4F07A0000001515350" in packages
    assert "8408A000000151535041" in packages
    assert program.send("80F22002024F0000").endswith("9000")


def test_list_in_the_old_form(connection: PortConnection) -> None:
    """Programs for older cards: AID with length, state, first privilege byte, then modules."""
    program = Program(connection)
    assert program.send("80F28000024F0000") == "08A000000151000000019E" + "9000"
    assert program.send("80F24000024F0000") == "6A88"
    assert program.send("80F22000024F0000").startswith("07A00000015153500100")
    assert "010008A000000151535041" not in program.send("80F22000024F0000")
    assert "07A0000001515350010001" + "08A000000151535041" in program.send("80F21000024F0000")


# ---- load, install, delete


def load_commands(code: bytes, size: int = 239) -> list[str]:
    whole = tlv.encode(0xC4, code)
    blocks = [whole[at : at + size] for at in range(0, len(whole), size)]
    return [
        f"80E8{0x80 if block is blocks[-1] else 0:02X}{number:02X}{len(block):02X}{block.hex()}00"
        for number, block in enumerate(blocks)
    ]


def load_request(digest: bytes = b"") -> str:
    data = b"\x06" + PACKAGE + b"\x08" + bytes.fromhex("A000000151000000")
    data += bytes((len(digest),)) + digest + b"\x00\x00"
    return f"80E60200{len(data):02X}{data.hex()}00"


def install_request(privileges: str, parameters: str = "C900", p1: str = "0C") -> str:
    data = b"\x06" + PACKAGE + b"\x07" + APPLET + b"\x07" + APPLET
    raw, params = bytes.fromhex(privileges), bytes.fromhex(parameters)
    data += bytes((len(raw),)) + raw + bytes((len(params),)) + params + b"\x00"
    return f"80E6{p1}00{len(data):02X}{data.hex()}00"


@pytest.mark.parametrize("privileges", ["00", "000000", "04", "040000"])
@pytest.mark.parametrize("digest", ["", "sha1", "sha256"])
def test_a_cap_file_is_loaded_installed_and_deleted(connection: PortConnection, privileges: str, digest: str) -> None:
    """INSTALL [for load] names the domain; LOAD with Le; an applet without code becomes an opaque instance."""
    code = cap_components(PACKAGE, [APPLET], code=1500)
    program = Program(connection)
    before = program.send("80CAFF2100")
    told = hashlib.new(digest, code).digest() if digest else b""
    assert program.send(load_request(told)) == "009000"
    assert {program.send(command) for command in load_commands(code)} == {"009000"}
    assert program.send(install_request(privileges)) == "009000"
    listed = program.send("80F24002024F0000")
    assert "4F07" + APPLET.hex().upper() in listed
    assert "C406" + PACKAGE.hex().upper() in listed
    assert send(connection, f"00A4040007{APPLET.hex()}00").endswith("9000")
    assert send(connection, "00A4040000").endswith("9000")
    program = Program(connection)
    assert program.send(f"80E40000094F07{APPLET.hex()}00") == "009000"
    assert program.send(f"80E40000084F06{PACKAGE.hex()}00") == "009000"
    assert program.send("80F24002024F0000") == "6A88"
    assert program.send("80CAFF2100") == before


def test_a_package_goes_with_its_applets(connection: PortConnection) -> None:
    program = Program(connection)
    code = cap_components(PACKAGE, [APPLET])
    for command in (load_request(), *load_commands(code), install_request("00")):
        assert program.send(command) == "009000"
    assert program.send(f"80E40000084F06{PACKAGE.hex()}00") == "6985"
    assert program.send(f"80E40080084F06{PACKAGE.hex()}00") == "009000"


def test_install_and_make_selectable_apart(connection: PortConnection) -> None:
    program = Program(connection)
    for command in (load_request(), *load_commands(cap_components(PACKAGE, [APPLET])), install_request("00", p1="04")):
        assert program.send(command) == "009000"
    selectable = f"80E608000E000007{APPLET.hex()}01000000" + "00"
    assert program.send(selectable) == "009000"


def test_lock_and_unlock(connection: PortConnection) -> None:
    program = Program(connection)
    for command in (load_request(), *load_commands(cap_components(PACKAGE, [APPLET])), install_request("00")):
        assert program.send(command) == "009000"
    assert program.send(f"80F0408007{APPLET.hex()}") == "9000"
    assert send(connection, f"00A4040007{APPLET.hex()}00") == "6A82"
    program = Program(connection)
    assert program.send(f"80F0400007{APPLET.hex()}") == "9000"
    assert program.send("80F0800F08A000000151000000") == "9000"
    assert program.send("80F0807F08A000000151000000") == "9000"
    assert send(connection, "00A4040000") == FCI + "6283"
    assert Program(connection).send("80F0800F08A000000151000000") == "9000"


def test_a_supplementary_domain(connection: PortConnection) -> None:
    """INSTALL of A0000001515350 with one privilege byte or three; its list shows it; the parent's keys open it."""
    program = Program(connection)
    for number, privileges in enumerate(("80", "808000", "80C000")):
        aid = SSD[:-1] + bytes((number + 1,))
        data = bytes.fromhex("07A000000151535008A00000015153504109") + aid
        raw = bytes.fromhex(privileges)
        data += bytes((len(raw),)) + raw + bytes.fromhex("02C90000")
        assert program.send(f"80E60C00{len(data):02X}{data.hex()}00") == "009000"
    listed = program.send("80F24002024F0000")
    assert listed.count("C407A0000001515350") == 3
    assert send(connection, f"00A4040009{SSD.hex()}00").endswith("9000")
    program = Program(connection)
    assert program.send("80F28002024F0000") == "6A86"
    assert f"4F09{SSD.hex().upper()}" in program.send("80F24002024F0000")


def test_put_key_and_store_data(connection: PortConnection) -> None:
    """PUT KEY of a whole set, replacing version 01 by itself; STORE DATA of the numbers."""
    program = Program(connection)
    new = StaticKeys(1, bytes(16), bytes(16), bytes(16))
    put = commands.put_key(new, KEYS.dek, replace=1)
    assert program.send(put.encode().hex()) == "01" + commands.key_check_value(bytes(16)).hex().upper() * 3 + "9000"
    assert program.send("80E290000A42081122334455667788") == "9000"
    assert program.send("80CA004200") == "420811223344556677889000"
