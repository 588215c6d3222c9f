"""A card with supplementary security domains, and the commands that manage it in the specification's own words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from card_os.card import Card
from card_os.globalplatform.registry import Application
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import StatusWord
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from tests.doubles.issuer_card import DOMAIN, FACTORY, NotebookApplet, PortConnection, issuer_image

DOMAIN_PACKAGE: Final = bytes.fromhex("A0000001515350")
DOMAIN_MODULE: Final = bytes.fromhex("A000000151535041")
BANK: Final = bytes.fromhex("F05A4A4A5AD001")
POLICE: Final = bytes.fromhex("F05A4A4A5AD002")
PARTNER: Final = bytes.fromhex("F05A4A4A5AD003")

MANAGER: Final = bytes.fromhex("80C000")
"""Security domain, trusted path, authorized management."""
DELEGATE: Final = bytes.fromhex("A08000")
"""Security domain, delegated management, trusted path."""
PLAIN_DOMAIN: Final = bytes.fromhex("808000")

LOADED_PACKAGE: Final = bytes.fromhex("F05A4A4A5AF2")
LOADED_MODULE: Final = bytes.fromhex("F05A4A4A5AF201")

ANY: Final = (*(StatusWord(value) for value in range(0x6200, 0x7000)), StatusWord(0x9000))


class LoadedNotebook(NotebookApplet):
    """The notebook as code that runs once its load file was loaded."""

    package_aid = LOADED_PACKAGE
    module_aid = LOADED_MODULE


def keys_of(seed: int, version: int = 1, length: int = 16) -> StaticKeys:
    """A key set that is told apart by a number."""
    return StaticKeys(version, *(bytes(((seed * 16 + index) & 0xFF,)) * length for index in range(3)))


BANK_KEYS: Final = keys_of(1)
POLICE_KEYS: Final = keys_of(2)
PARTNER_KEYS: Final = keys_of(3)


def boot(image: object = None) -> Card:
    """Boot a card with the notebook in read-only memory and another one that can be loaded."""
    nvm = (image or issuer_image()).nvm()  # type: ignore[attr-defined]  # an NvmImage, whatever its chip
    return Card(nvm, [NotebookApplet], loadable=[LoadedNotebook], randomness=SeededRandomness(b"domains"))


def powered(card: Card) -> PortConnection:
    connection = PortConnection(card.contact)
    connection.power_on()
    return connection


def fields(*values: bytes) -> bytes:
    """Length-value fields; the last two of INSTALL have BER lengths."""
    return b"".join(
        (tlv.encode_length(len(value)) if index >= len(values) - 2 else bytes((len(value),))) + value
        for index, value in enumerate(values)
    )


def install_command(
    package: bytes,
    module: bytes,
    instance: bytes,
    privileges: bytes = b"\x00",
    parameters: bytes = b"\xc9\x00",
    token: bytes = b"",
    *,
    p1: int = 0x0C,
) -> CommandApdu:
    return CommandApdu(0x80, 0xE6, p1, 0, fields(package, module, instance, privileges, parameters, token), 256)


def extradite_command(domain: bytes, what: bytes, token: bytes = b"", parameters: bytes = b"") -> CommandApdu:
    return install_command(domain, b"", what, b"", parameters, token, p1=0x10)


def update_command(
    what: bytes, privileges: bytes = b"", parameters: bytes = b"", domain: bytes = b"", token: bytes = b""
) -> CommandApdu:
    return install_command(domain, b"", what, privileges, parameters, token, p1=0x40)


def load_request(
    package: bytes, domain: bytes = b"", digest: bytes = b"", parameters: bytes = b"", token: bytes = b""
) -> CommandApdu:
    return CommandApdu(0x80, 0xE6, 0x02, 0, fields(package, domain, digest, parameters, token), 256)


def load_commands(load_file: bytes, size: int = 200) -> list[CommandApdu]:
    """LOAD commands for a whole load file, its tags included."""
    starts = range(0, len(load_file), size)
    return [
        CommandApdu(
            0x80,
            0xE8,
            0x80 if start == starts[-1] else 0x00,
            number & 0xFF,
            load_file[start : start + size],
            256,
        )
        for number, start in enumerate(starts)
    ]


def delete_command(aid: bytes, *, related: bool = False, rest: bytes = b"") -> CommandApdu:
    return CommandApdu(0x80, 0xE4, 0, 0x80 if related else 0, tlv.encode(0x4F, aid) + rest, 256)


def status_command(p1: int, p2: int, data: bytes) -> CommandApdu:
    return CommandApdu(0x80, 0xF0, p1, p2, data)


def sw(session: SecureSession, command: CommandApdu) -> int:
    """Status word of a command under the session."""
    return int(session.transmit(command, accept=ANY).sw)


def answers(session: SecureSession, commands: Iterable[CommandApdu]) -> list[int]:
    """Status words of commands up to the first that is not 9000."""
    found: list[int] = []
    for command in commands:
        found.append(sw(session, command))
        if found[-1] != StatusWord(0x9000):
            break
    return found


def issuer_session(connection: PortConnection) -> SecureSession:
    return SecureSession.open(connection, FACTORY)


def domain_session(connection: PortConnection, aid: bytes, keys: StaticKeys) -> SecureSession:
    return SecureSession.open(connection, keys, aid=aid)


def make_domain(
    connection: PortConnection,
    aid: bytes,
    keys: StaticKeys,
    privileges: bytes = MANAGER,
    parent: tuple[bytes, StaticKeys] = (DOMAIN, FACTORY),
) -> None:
    """Install a domain below another one and give it its keys, which makes it PERSONALIZED."""
    above, above_keys = parent
    session = domain_session(connection, above, above_keys)
    session.transmit(install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, aid, privileges))
    domain_session(connection, aid, above_keys).put_keys(keys, replace=0)


def entry(card: Card, aid: bytes) -> Application:
    found = card.platform.registry.by_aid(aid)
    assert found is not None, aid.hex()
    return found
