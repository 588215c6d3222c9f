"""What a finished permit has to refuse, tried without spending a try and without changing a sound card.

Source: card specification, "Who may do what"; GlobalPlatform Card Specification 2.3.1, clauses 5.1.1 (card life
cycle), 11.11 (STORE DATA); Amendment D 1.1.2, clause 7.1.1 (INITIALIZE UPDATE).
"""

from __future__ import annotations

import secrets
from typing import Final

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW, StatusWord
from personalization.globalplatform import commands
from personalization.globalplatform.scp03 import CHALLENGE_LENGTH
from personalization.inspection.checks import CheckList
from personalization.preparation.card_keys import CARD_NUMBER_LENGTH, CARD_VERSION, FACTORY_VERSION
from personalization.profile import CardProfile
from personalization.profile_rows import FileRow, FileStructure
from personalization.terminal.channel import CardChannel
from reader_bridge.connection import Interface

_GET_DATA: Final = 0xCA
_VERIFY: Final = 0x20
_INTERNAL_AUTHENTICATE: Final = 0x88
_READ_BINARY: Final = 0xB0
_READ_RECORD: Final = 0xB2
_UPDATE_BINARY: Final = 0xD6
_UPDATE_RECORD: Final = 0xDC
_APPEND_RECORD: Final = 0xE2
_STORE_DATA: Final = 0xE2
_PROPRIETARY: Final = 0x80
_LAST_BLOCK: Final = 0x88
_SHORT_IDENTIFIER: Final = 0x80
_BY_NUMBER: Final = 0x04
_SFI_SHIFT: Final = 3
_HOLDER_PIN: Final = 1
_TAG_CONCEALED: Final = 0xDF20
_TAG_PRODUCTION_DATA: Final = 0x9F7F
_CONCEALED_LENGTH: Final = 40
_PIECE: Final = 8
_SIGNATURE_LENGTH: Final = 64
_CHIP_CHALLENGE: Final = bytes(16)
_IDENTIFICATION_GROUPING: Final = bytes.fromhex("9F010178")


def before_authentication(checks: CheckList, channel: CardChannel, profile: CardProfile, interface: Interface) -> None:
    """With the permit selected in plain: nothing personal, nothing that traces the card, no signature is given."""
    for row in profile.files:
        checks.refused(
            f"refused.read.{row.name}", _status(channel, read_command(row)), SW.SECURITY_STATUS_NOT_SATISFIED
        )
    chip = profile.key("chip").reference
    signature = CommandApdu(0x00, _INTERNAL_AUTHENTICATE, 0, chip, _CHIP_CHALLENGE, _SIGNATURE_LENGTH)
    checks.refused("refused.chip-signature", _status(channel, signature), SW.SECURITY_STATUS_NOT_SATISFIED)
    personalization = CommandApdu(_PROPRIETARY, _STORE_DATA, _LAST_BLOCK, 0, _IDENTIFICATION_GROUPING)
    checks.refused("refused.store-data", _status(channel, personalization))
    production_data = CommandApdu(_PROPRIETARY, _GET_DATA, *divmod(_TAG_PRODUCTION_DATA, 256), b"", 256)
    checks.refused("refused.production-data", _status(channel, production_data))
    _try_counter(checks, channel, profile, interface)
    _concealment(checks, channel)


def _try_counter(checks: CheckList, channel: CardChannel, profile: CardProfile, interface: Interface) -> None:
    """VERIFY without data asks for a PIN's state and costs no try; over the field not even that is told.

    A PIN that the holder has to change first says so while no try is missing; another tells the tries that are left.
    """
    pin = next((row for row in profile.pins if row.number == _HOLDER_PIN), None)
    if pin is None:
        return
    answered = _status(channel, CommandApdu(0x00, _VERIFY, 0, pin.reference))
    if interface is Interface.CONTACT:
        fresh = SW.CONDITIONS_NOT_SATISFIED if pin.change_first else StatusWord.retries_left(pin.try_limit)
        checks.refused("pin.holder", answered, fresh)
    else:
        checks.refused("refused.pin-in-plain", answered, SW.SECURITY_STATUS_NOT_SATISFIED)


def _concealment(checks: CheckList, channel: CardChannel) -> None:
    """Two answers of one card have to look like those of two cards."""
    ask = CommandApdu(0x00, _GET_DATA, *divmod(_TAG_CONCEALED, 256), b"", 256)
    first, second = channel.exchange(ask), channel.exchange(ask)
    sound = all(answer.sw == SW.OK and len(answer.data) == _CONCEALED_LENGTH for answer in (first, second))
    fresh = not _pieces(first.data) & _pieces(second.data)
    checks.add("number.concealed", sound and fresh, str(second.sw))


def _pieces(concealed: bytes) -> set[bytes]:
    return {concealed[at : at + _PIECE] for at in range(0, len(concealed), _PIECE)}


def updates(checks: CheckList, channel: CardChannel, profile: CardProfile, contents: dict[str, bytes]) -> None:
    """In a session that may read only: every update is refused; one that is not would write what is there already."""
    for row in profile.files:
        content = contents.get(row.name, b"\x00")[: row.record_size or 1]
        if row.structure is FileStructure.TRANSPARENT:
            update = CommandApdu(0x00, _UPDATE_BINARY, _SHORT_IDENTIFIER | row.sfi, 0, content)
        else:
            update = CommandApdu(0x00, _UPDATE_RECORD, 1, row.sfi << _SFI_SHIFT | _BY_NUMBER, content)
            append = CommandApdu(0x00, _APPEND_RECORD, 0, row.sfi << _SFI_SHIFT, content)
            checks.refused(f"refused.append.{row.name}", _status(channel, append), SW.SECURITY_STATUS_NOT_SATISFIED)
        checks.refused(f"refused.update.{row.name}", _status(channel, update), SW.SECURITY_STATUS_NOT_SATISFIED)


def read_of(checks: CheckList, channel: CardChannel, row: FileRow, role: str) -> None:
    """In a session of a role that may not read a file."""
    answered = _status(channel, read_command(row))
    checks.refused(f"refused.read.{row.name}.{role}", answered, SW.SECURITY_STATUS_NOT_SATISFIED)


def issuer_domain_by_contact(checks: CheckList, channel: CardChannel) -> bytes:
    """The factory's keys are gone, ours answer, the card is SECURED; returns the card number that the domain tells."""
    selected = channel.exchange(commands.select(commands.ISSUER_DOMAIN_AID))
    checks.add("issuer-domain.selected", selected.sw == SW.OK, str(selected.sw), str(SW.OK))
    challenge = secrets.token_bytes(CHALLENGE_LENGTH)
    factory = channel.exchange(commands.initialize_update(FACTORY_VERSION, challenge))
    checks.refused("refused.factory-keys", factory.sw, SW.REFERENCE_DATA_NOT_FOUND)
    ours = channel.exchange(commands.initialize_update(CARD_VERSION, challenge))
    checks.add("issuer-domain.card-keys", ours.sw == SW.OK, str(ours.sw), str(SW.OK))
    # A domain tells the production data to everybody until its card is SECURED.
    production_data = CommandApdu(_PROPRIETARY, _GET_DATA, *divmod(_TAG_PRODUCTION_DATA, 256), b"", 256)
    checks.refused("refused.production-data-of-domain", _status(channel, production_data))
    stored = CommandApdu(_PROPRIETARY, _STORE_DATA, _LAST_BLOCK, 0, _IDENTIFICATION_GROUPING)
    checks.refused("refused.store-data-of-domain", _status(channel, stored))
    return ours.data[:CARD_NUMBER_LENGTH]


def issuer_domain_over_the_field(checks: CheckList, channel: CardChannel) -> None:
    """A SECURED card does not show its issuer domain to a contactless reader."""
    answered = _status(channel, commands.select(commands.ISSUER_DOMAIN_AID))
    checks.refused("refused.issuer-domain", answered, SW.FILE_NOT_FOUND)


def read_command(row: FileRow) -> CommandApdu:
    """Reading the beginning of a file."""
    if row.structure is FileStructure.TRANSPARENT:
        return CommandApdu(0x00, _READ_BINARY, _SHORT_IDENTIFIER | row.sfi, 0, b"", 1)
    return CommandApdu(0x00, _READ_RECORD, 1, row.sfi << _SFI_SHIFT | _BY_NUMBER, b"", row.record_size or 1)


def _status(channel: CardChannel, command: CommandApdu) -> StatusWord:
    return channel.exchange(command).sw
